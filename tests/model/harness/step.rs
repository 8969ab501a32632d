//! What is done to an agent and its node, and what it may answer. Every step says all that it needs
//! by itself, so that a history is still one when any of its steps is taken out.

use std::collections::BTreeSet;

use berth::volume::{VolumeId, VolumeName};
pub use csi::volume_capability::access_mode::Mode;
use tonic::Code;

use berth::proto::csi;

/// The names that volumes are made under: two as external-provisioner makes them, two as nobody should.
pub const NAMES: [&str; 4] = [
    "pvc-0f9c1f4e-8a53-4c4e-9d0a-5b8f3d7f2c11",
    "pvc-7d1a5b1c-2f64-4b7b-8f0e-6a1c9e3d4b22",
    "../../etc/Größe",
    "one\ttwo\nthree",
];

/// What a volume gets when nobody says how large it should be, in MiB.
const DEFAULT_SIZE: u64 = 1024;

/// The claims, as `namespace/name`.
pub const CLAIMS: [&str; 3] = ["one/data-mysql-0", "one/data-mysql-1", "two/data-mysql-0"];

/// A StorageClass: its parameters, and what they mean.
#[derive(Debug)]
pub struct Class {
    pub parameters: &'static [(&'static str, &'static str)],
    pub meaning: Meaning,
}

/// What a class says of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Meaning {
    pub mode: u32,
    /// Whether the volume belongs to [`owner`], and not to the agent's own user.
    pub owned: bool,
    /// Whether the trash keeps it.
    pub kept: bool,
}

/// Two of them mean the same.
pub const CLASSES: [Class; 5] = [
    class(&[], 0o770, false, false),
    class(
        &[("berth.dev/mode", "0770"), ("berth.dev/trash-retention", "0s")],
        0o770,
        false,
        false,
    ),
    class(&[("berth.dev/trash-retention", "2h")], 0o770, false, true),
    class(
        &[("berth.dev/mode", "2750"), ("berth.dev/trash-retention", "30m")],
        0o2750,
        true,
        true,
    ),
    class(&[("berth.dev/mode", "1777")], 0o1777, true, false),
];

const fn class(parameters: &'static [(&'static str, &'static str)], mode: u32, owned: bool, kept: bool) -> Class {
    let meaning = Meaning { mode, owned, kept };
    Class { parameters, meaning }
}

/// The user and the group that own volumes whose class says so. An ordinary user can give nothing away.
pub fn owner() -> (u32, u32) {
    match nix::unistd::geteuid().as_raw() {
        0 => (1234, 2345),
        user => (user, nix::unistd::getegid().as_raw()),
    }
}

/// Mount flags, and the options that a mount shows for them; `None` if they are refused.
pub const FLAGS: [(&[&str], Option<&[&str]>); 9] = [
    (&[], Some(&[])),
    (&["noatime"], Some(&["noatime"])),
    (&["ro"], Some(&["ro"])),
    (&["nosuid,noexec"], Some(&["noexec", "nosuid"])),
    (&["rw", "nodev"], Some(&[])),
    (&["sync"], Some(&[])),
    (&["relatime", "noatime"], Some(&["noatime"])),
    (&["rw,ro"], None),
    (&["bind"], None),
];

/// A way of using a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Access {
    pub mode: Mode,
    /// An index of [`FLAGS`].
    pub flags: usize,
    pub block: bool,
}

impl Access {
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            flags: 0,
            block: false,
        }
    }

    pub fn is_served(self) -> bool {
        use Mode::{SingleNodeMultiWriter, SingleNodeReaderOnly, SingleNodeSingleWriter, SingleNodeWriter};
        let single = [
            SingleNodeWriter,
            SingleNodeReaderOnly,
            SingleNodeSingleWriter,
            SingleNodeMultiWriter,
        ];
        single.contains(&self.mode) && !self.block && FLAGS[self.flags].1.is_some()
    }

    /// The options that a mount of it shows.
    pub fn options(self) -> BTreeSet<&'static str> {
        FLAGS[self.flags].1.into_iter().flatten().copied().collect()
    }

    /// What tells this way from another one: options that no mount can show count too.
    pub fn key(self) -> (Mode, BTreeSet<&'static str>) {
        let words = FLAGS[self.flags].0.iter().flat_map(|flag| flag.split(','));
        (
            self.mode,
            words.filter(|word| !matches!(*word, "rw" | "nodev")).collect(),
        )
    }
}

/// The volume that a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// The volume that has the given ID of those that a name can get, counted from 0.
    Of {
        name: usize,
        attempt: u32,
    },
    /// An ID that might be one.
    Unknown,
    /// No ID at all.
    Malformed,
    Empty,
}

impl Which {
    pub fn id(self) -> String {
        match self {
            Self::Of { name, attempt } => id_of(name, attempt),
            Self::Unknown => "pvc-00000000-0000-4000-8000-000000000000".to_owned(),
            Self::Malformed => "../../volumes".to_owned(),
            Self::Empty => String::new(),
        }
    }
}

/// The ID that a name gets when its first `attempt` ones are taken.
pub fn id_of(name: usize, attempt: u32) -> String {
    let name = VolumeName::parse(NAMES[name]).expect("a legal name");
    VolumeId::for_name(&name, attempt).to_string()
}

/// A path that the kubelet may name, or somebody who only claims to be it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// A directory that the kubelet made for staging.
    Staging(u8),
    /// A pod's target: its parent is there.
    Target(u8),
    /// A file.
    File,
    /// A symbolic link to a directory outside.
    Link,
    /// A directory with a file in it.
    Full,
    /// A path in a directory that is not there.
    Parentless,
    /// A path that is not beneath the kubelet's directory.
    Outside,
    Empty,
}

impl Site {
    /// Those that can be on the disk.
    pub const REAL: [Self; 9] = [
        Self::Staging(0),
        Self::Staging(1),
        Self::Target(0),
        Self::Target(1),
        Self::Target(2),
        Self::File,
        Self::Link,
        Self::Full,
        Self::Parentless,
    ];
}

/// What is asked for when a volume is made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Creation {
    /// An index of [`NAMES`].
    pub name: usize,
    /// MiB; 0 asks for nothing.
    pub required: u64,
    /// MiB; 0 sets no limit.
    pub limit: u64,
    pub accesses: Vec<Access>,
    /// An index of [`CLASSES`].
    pub class: usize,
    /// An index of [`CLAIMS`].
    pub claim: Option<usize>,
    pub flaw: Option<Flaw>,
}

impl Creation {
    /// The size that a new volume gets, in MiB.
    pub fn size(&self) -> u64 {
        match (self.required, self.limit) {
            (0, 0) => DEFAULT_SIZE,
            (0, limit) => limit.min(DEFAULT_SIZE),
            (required, _) => required,
        }
    }
}

/// What makes a creation wrong, whatever volumes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    NoName,
    LongName,
    ControlCharacter,
    NegativeSize,
    UnknownParameter,
    BadMode,
    BadClaim,
    Source,
    OtherFilesystem,
    Elsewhere,
}

impl Flaw {
    pub const ALL: [Self; 10] = [
        Self::NoName,
        Self::LongName,
        Self::ControlCharacter,
        Self::NegativeSize,
        Self::UnknownParameter,
        Self::BadMode,
        Self::BadClaim,
        Self::Source,
        Self::OtherFilesystem,
        Self::Elsewhere,
    ];
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Create(Creation),
    Delete(Which),
    Undelete(Which),
    Get(Which),
    /// ListVolumes, in pages of so many.
    List(u8),
    BadToken,
    Capacity {
        here: bool,
    },
    Validate {
        id: Which,
        accesses: Vec<Access>,
        class: Option<usize>,
    },
    Stage {
        id: Which,
        staging: Site,
        access: Access,
    },
    Publish {
        id: Which,
        staging: Site,
        target: Site,
        access: Access,
        read_only: bool,
    },
    Unpublish {
        id: Which,
        target: Site,
    },
    Unstage {
        id: Which,
        staging: Site,
    },
    Stats {
        id: Which,
        path: Site,
    },
    /// No call: somebody writes into the volume.
    Write {
        id: Which,
        content: u32,
    },
    /// No call: somebody mounts something in the volume, so that it cannot be purged.
    Obstruct(Which),
}

impl Step {
    /// The path at which it may change what is mounted.
    pub fn site(&self) -> Option<Site> {
        match self {
            Self::Stage { staging: site, .. }
            | Self::Unstage { staging: site, .. }
            | Self::Publish { target: site, .. }
            | Self::Unpublish { target: site, .. } => Some(*site),
            _ => None,
        }
    }
}

/// What a call answers, in MiB.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    Done,
    Made {
        id: String,
        size: u64,
    },
    Volume {
        id: String,
        size: u64,
        published: bool,
    },
    Volumes(Vec<(String, u64)>),
    Capacity(u64),
    Confirmed(bool),
    Refused(Code),
    /// None: the agent died.
    Lost,
    /// One that is wrong in itself.
    Nonsense(String),
}
