//! The volumes: each has a number, and from it follow its name, its class and its life.

use std::collections::HashMap;

use berth::proto::csi::CreateVolumeRequest;

use super::common::requests::{MIB, create};
use super::ledger::Call;

/// A step in the life of a volume.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Call(Call),
    /// A pod that uses the volume comes and goes.
    Mount,
    /// Somebody else syncs the whole disk.
    Sync,
    /// The reaper gives up what the trash has of the volume.
    Purged,
}

use Call::{Create, Delete, Undelete, Write};

/// Lives after which all is different for the next volume: with and without retention, written and
/// empty, made again under their names, brought back.
const LIVES: [(&str, &[Step]); 6] = [
    (
        "0",
        &[
            Step::Call(Create),
            Step::Mount,
            Step::Call(Write),
            Step::Call(Delete),
            Step::Purged,
            Step::Call(Create),
        ],
    ),
    ("0", &[Step::Call(Create), Step::Call(Delete)]),
    (
        "30d",
        &[
            Step::Call(Create),
            Step::Call(Write),
            Step::Call(Delete),
            // Now the data is in the trash for good.
            Step::Sync,
            Step::Call(Undelete),
        ],
    ),
    ("30d", &[Step::Call(Create), Step::Call(Write), Step::Call(Delete)]),
    (
        "1s",
        &[Step::Call(Create), Step::Call(Write), Step::Call(Delete), Step::Purged],
    ),
    (
        "30d",
        &[
            Step::Call(Create),
            Step::Call(Write),
            Step::Call(Delete),
            Step::Call(Undelete),
            Step::Call(Delete),
        ],
    ),
];

/// How many different lives there are; numbers go through them in turn.
pub const KINDS: u32 = LIVES.len() as u32;

fn life(number: u32) -> (&'static str, &'static [Step]) {
    LIVES[number as usize % LIVES.len()]
}

pub fn steps(number: u32) -> &'static [Step] {
    life(number).1
}

/// Whether the trash keeps the volume for longer than any test.
pub fn is_kept(number: u32) -> bool {
    life(number).0 == "30d"
}

/// A name that Berth takes for the volume's ID.
pub fn id(number: u32) -> String {
    format!("pvc-00000000-0000-4000-8000-{number:012}")
}

pub fn claim(number: u32) -> String {
    format!("data-{number}")
}

/// What a client writes into the volume.
pub fn content(number: u32) -> String {
    format!("{} ", id(number)).repeat(200)
}

/// Permission bits, owner and group of the volume's directory.
pub fn attributes(number: u32) -> (u32, u32, u32) {
    match number % 2 {
        0 => (0o770, 1000 + number, 2000),
        _ => (0o2775, 0, 3000 + number),
    }
}

pub fn request(number: u32) -> CreateVolumeRequest {
    let (mode, uid, gid) = attributes(number);
    let parameters = [
        ("csi.storage.k8s.io/pvc/namespace", "power".to_owned()),
        ("csi.storage.k8s.io/pvc/name", claim(number)),
        ("berth.dev/trash-retention", life(number).0.to_owned()),
        ("berth.dev/mode", format!("{mode:o}")),
        ("berth.dev/uid", uid.to_string()),
        ("berth.dev/gid", gid.to_string()),
    ];
    CreateVolumeRequest {
        parameters: HashMap::from(parameters.map(|(key, value)| (key.to_owned(), value))),
        ..create(&id(number), MIB / 64 + i64::from(number))
    }
}
