//! What a volume is: types that are parsed once at the edge and never checked again.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// What is wrong with a value that a caller or a record gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct ValueError {
    field: String,
    problem: String,
}

impl ValueError {
    /// Names the field and what is wrong with it, for example `berth.dev/mode "9"` and
    /// `is not an octal mode`.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// The ID of a volume: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`, always one path component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(Box<str>);

impl VolumeId {
    /// Makes the ID for a volume's name. `pvc-<uuid>` stays as it is; anything else is hashed.
    ///
    /// `attempt` is 0 but when the ID of that attempt is taken by a deleted volume in the trash.
    pub fn for_name(name: &VolumeName, attempt: u32) -> Self {
        if attempt == 0 && is_claim_name(name.as_str()) {
            return Self(name.as_str().into());
        }
        let mut hash = Sha256::new();
        hash.update(attempt.to_be_bytes());
        hash.update(name.as_str());
        let hex: String = hash
            .finalize()
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self(format!("vol-{hex}").into())
    }

    /// Accepts a string that has the form of an ID. Whether such a volume exists is another question.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let well_formed =
            (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-');
        if well_formed {
            Ok(Self(text.into()))
        } else {
            Err(ValueError::new(
                format!("volume ID {:?}", shorten(text)),
                "is not one that Berth makes: 1 to 63 of a-z, 0-9 and -, not at an end",
            ))
        }
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for VolumeId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Whether a name is `pvc-` and a UUID in lower case, as external-provisioner makes them.
fn is_claim_name(name: &str) -> bool {
    let Some(uuid) = name.strip_prefix("pvc-") else {
        return false;
    };
    uuid.len() == 36
        && uuid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// Cuts a hostile string down to what fits in a message.
pub fn shorten(text: &str) -> String {
    shorten_to(80, text)
}

/// Cuts a string down to `most` characters.
pub fn shorten_to(most: usize, text: &str) -> String {
    if text.chars().count() <= most {
        text.to_owned()
    } else {
        text.chars().take(most).chain("…".chars()).collect()
    }
}

/// The name a caller gives a volume: 1 to 128 characters, none of the control characters that the
/// specification bans (CSI 1.13, `CreateVolumeRequest.name`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VolumeName(Box<str>);

impl VolumeName {
    /// The longest name, in characters.
    pub const MAX_CHARACTERS: usize = 128;

    /// Accepts a name of a legal length without banned characters.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let field = || format!("name {:?}", shorten(text));
        if text.is_empty() {
            return Err(ValueError::new("name", "is required"));
        }
        if text.chars().count() > Self::MAX_CHARACTERS {
            return Err(ValueError::new(
                field(),
                format!("is longer than {} characters", Self::MAX_CHARACTERS),
            ));
        }
        match text.chars().find(|&c| is_banned(c)) {
            Some(c) => Err(ValueError::new(field(), format!("holds the banned character {c:?}"))),
            None => Ok(Self(text.into())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_banned(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}')
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The size of a volume in bytes: at least 1, at most `i64::MAX`, because CSI counts in `int64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capacity(u64);

impl Capacity {
    /// Accepts a size that CSI can express.
    pub fn new(bytes: u64) -> Result<Self, ValueError> {
        if bytes == 0 || i64::try_from(bytes).is_err() {
            return Err(ValueError::new(
                format!("capacity {bytes}"),
                "is not between 1 and 2^63-1 bytes",
            ));
        }
        Ok(Self(bytes))
    }

    /// Bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

/// The sizes a caller accepts for a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapacityRange {
    /// The least that will do; `None` leaves it to the driver.
    pub required: Option<Capacity>,
    /// The most that will do; `None` sets no bound.
    pub limit: Option<Capacity>,
}

impl CapacityRange {
    /// What a volume gets when nobody says how large it should be: 1 GiB.
    pub const DEFAULT: Capacity = Capacity(1 << 30);

    /// The size a new volume gets: what is required, or the default within the limit.
    pub fn choose(self) -> Capacity {
        let limit = self.limit.unwrap_or(Capacity(u64::MAX));
        self.required.unwrap_or_else(|| Self::DEFAULT.min(limit))
    }

    /// Whether a volume of this size satisfies the request.
    pub fn accepts(self, size: Capacity) -> bool {
        self.required.is_none_or(|required| size >= required) && self.limit.is_none_or(|limit| size <= limit)
    }
}

/// How a volume may be used, after CSI's `VolumeCapability.AccessMode`. Every mode that spans
/// nodes is refused at the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessMode {
    /// Read and write on one node (SINGLE_NODE_WRITER).
    SingleNodeWriter,
    /// Read only, on one node (SINGLE_NODE_READER_ONLY).
    SingleNodeReaderOnly,
    /// Read and write at one target on one node: ReadWriteOncePod (SINGLE_NODE_SINGLE_WRITER).
    SingleNodeSingleWriter,
    /// Read and write at several targets on one node (SINGLE_NODE_MULTI_WRITER).
    SingleNodeMultiWriter,
}

/// An option of a mount that Berth applies. `nodev` always holds, and `rw` is what no option says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MountOption {
    /// `ro`
    ReadOnly,
    /// `noatime`
    NoAtime,
    /// `nodiratime`
    NoDirAtime,
    /// `relatime`
    RelAtime,
    /// `nosuid`
    NoSuid,
    /// `noexec`
    NoExec,
    /// `sync`
    Sync,
    /// `dirsync`
    DirSync,
}

impl MountOption {
    /// Every option with its name in fstab(5).
    pub const NAMES: [(&'static str, Self); 8] = [
        ("ro", Self::ReadOnly),
        ("noatime", Self::NoAtime),
        ("nodiratime", Self::NoDirAtime),
        ("relatime", Self::RelAtime),
        ("nosuid", Self::NoSuid),
        ("noexec", Self::NoExec),
        ("sync", Self::Sync),
        ("dirsync", Self::DirSync),
    ];

    /// The name of the option in fstab(5).
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, option)| *option == self)
            .map_or("", |(name, _)| name)
    }

    /// Reads mount flags of a capability into a sorted set; `rw`, `nodev` and empty words add nothing.
    pub fn parse_all<'a>(flags: impl IntoIterator<Item = &'a str>) -> Result<Vec<Self>, ValueError> {
        let mut options = Vec::new();
        let mut writable = false;
        for word in flags.into_iter().flat_map(|flag| flag.split(',')).map(str::trim) {
            match word {
                "" | "nodev" => {}
                "rw" => writable = true,
                _ => match Self::NAMES.iter().find(|(name, _)| *name == word) {
                    Some((_, option)) => options.push(*option),
                    None => {
                        let names = Self::NAMES.map(|(name, _)| name).join(", ");
                        return Err(ValueError::new(
                            format!("mount option {:?}", shorten(word)),
                            format!("is not allowed; allowed are {names}, rw and nodev"),
                        ));
                    }
                },
            }
        }
        if writable && options.contains(&Self::ReadOnly) {
            return Err(ValueError::new("mount options rw and ro", "contradict each other"));
        }
        options.sort_unstable();
        options.dedup();
        Ok(options)
    }
}

/// One way in which a volume may be used: a mode and the options of its mounts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    /// Who may use it.
    pub mode: AccessMode,
    /// How it is mounted: sorted, without duplicates.
    pub options: Vec<MountOption>,
}

/// The claim that a volume was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Namespace: a DNS label, so one path component.
    pub namespace: Box<str>,
    /// Name: a DNS subdomain, so one path component.
    pub name: Box<str>,
}

impl Claim {
    /// Accepts names that Kubernetes would, which makes both of them single path components.
    pub fn parse(namespace: &str, name: &str) -> Result<Self, ValueError> {
        for (field, text, most) in [("namespace", namespace, 63), ("name", name, 253)] {
            let part = |part: &str| {
                !part.is_empty()
                    && !part.starts_with('-')
                    && !part.ends_with('-')
                    && part
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            };
            if text.len() > most || !text.split('.').all(part) {
                return Err(ValueError::new(
                    format!("claim {field} {:?}", shorten(text)),
                    "is not a name that Kubernetes gives (RFC 1123)",
                ));
            }
        }
        Ok(Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What the StorageClass says about a volume (parameters with the prefix `berth.dev/`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits of the volume's directory (`berth.dev/mode`, octal).
    pub mode: u32,
    /// Owner (`berth.dev/uid`); the agent's own when absent.
    pub uid: Option<u32>,
    /// Group (`berth.dev/gid`); the agent's own when absent.
    pub gid: Option<u32>,
    /// How long deleted data stays in the trash (`berth.dev/trash-retention`).
    pub trash_retention: Duration,
}

impl Attributes {
    /// Set-group-ID and sticky have a meaning on directories, set-user-ID has none.
    pub const LARGEST_MODE: u32 = 0o3777;
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            mode: 0o770,
            uid: None,
            gid: None,
            trash_retention: Duration::ZERO,
        }
    }
}

/// Everything a caller asked for when a volume was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// The caller's name for it.
    pub name: VolumeName,
    /// How it may be used: sorted, without duplicates, never empty.
    pub capabilities: Vec<Capability>,
    /// The class's parameters.
    pub attributes: Attributes,
    /// The claim, where the caller told it.
    pub claim: Option<Claim>,
}

/// A volume as the pool remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its ID, which is also the name of its directory.
    pub id: VolumeId,
    /// What was asked for.
    pub spec: VolumeSpec,
    /// The size it was given.
    pub capacity: Capacity,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
    /// Set from the moment a deletion was accepted: the record is a tombstone.
    pub deletion: Option<Deletion>,
}

/// How far the deletion of a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The trash keeps the data until this time, in seconds since 1970.
    Kept {
        /// When the trash gives the data up.
        until: u64,
    },
    /// Unlinking may have begun, so nothing can bring the volume back.
    Purging,
}

impl Deletion {
    /// When the trash gives the data up, in seconds since 1970.
    pub fn purge_at(self) -> u64 {
        match self {
            Self::Kept { until } => until,
            Self::Purging => 0,
        }
    }
}

#[cfg(test)]
mod tests;
