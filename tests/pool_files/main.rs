//! Files of the pool that no Berth wrote: whatever is in them, they are read without a panic and within
//! bounds, and what is accepted is what a Berth could have written.
//!
//! Each input is one from `tests/fuzz-corpus`, changed at random. `BERTH_TEST_SEED` sets other changes,
//! `BERTH_TEST_ROUNDS` makes more of them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

#[path = "../common/mod.rs"]
mod common;

mod input;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use berth::store::{Error, Store, init};
use common::command::berth;
use common::mutate;
use common::random::Random;
use input::{corpus, named_json, reseal};

/// Records in a pool at once.
const RECORDS: u64 = 500;
/// What reading them all may take, in KiB.
const MOST_MEMORY: u64 = 48 << 10;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// A pool in a directory of its own.
struct Pool(tempfile::TempDir);

impl Pool {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        init(home.path()).unwrap();
        Self(home)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn records(&self) -> PathBuf {
        self.path().join(".berth/records")
    }
}

#[test]
fn records_that_no_berth_wrote_are_set_aside_or_mean_something() {
    let mut random = Random::new(from_environment("BERTH_TEST_SEED", 0xbe47));
    let (mut inputs, mut accepted, mut set_aside, mut too_new) = (0, 0, 0, 0);
    let before = resident();
    for _ in 0..from_environment("BERTH_TEST_ROUNDS", 12) {
        let pool = Pool::new();
        inputs += fill(&pool, &mut random);
        let contents = loop {
            match Store::open(pool.path()).unwrap().load() {
                Ok(contents) => break contents,
                // A newer Berth's: nothing is served until a person has had a look.
                Err(Error::TooNew { path, .. }) => {
                    std::fs::remove_file(path).unwrap();
                    too_new += 1;
                }
                Err(error) => panic!("{error}"),
            }
        };
        for record in &contents.records {
            let id = record.id.as_str();
            assert!(berth::volume::VolumeId::parse(id).is_ok(), "{id:?}");
            assert!(record.capacity.bytes() > 0 && i64::try_from(record.capacity.bytes()).is_ok());
            assert!(
                record.spec.attributes.mode <= 0o3777,
                "{:o}",
                record.spec.attributes.mode
            );
            assert!(!record.spec.capabilities.is_empty(), "usable for nothing");
        }
        accepted += contents.records.len();
        set_aside += contents.quarantined.len();
        // Commands for people read the same files, and put what is in them on a terminal.
        for command in [&["volumes"][..], &["volumes", "--output=json"], &["doctor"]] {
            let outcome = berth(command.iter().chain(&["--pool", pool.path().to_str().unwrap()]));
            assert!(outcome.code == 0 || outcome.code == 1, "{command:?}: {outcome:?}");
            assert!(!outcome.err.contains("panicked"), "{command:?}: {outcome:?}");
            assert!(!outcome.out.contains('\u{1b}'), "an escape sequence: {outcome:?}");
        }
    }
    let memory = resident() - before.min(resident());
    common::isolated::figure(&format!(
        "{inputs} records: {accepted} accepted, {set_aside} set aside, {too_new} too new; {memory} KiB more"
    ));
    assert!(accepted > 0 && set_aside > 0 && too_new > 0);
    assert!(memory < MOST_MEMORY, "{memory} KiB more");
}

/// Writes records under names that are, for the most part, theirs.
fn fill(pool: &Pool, random: &mut Random) -> u64 {
    let seeds = corpus("record");
    for at in 0..RECORDS {
        let seed = &seeds[random.within(0..seeds.len() as u64) as usize];
        let mut bytes = seed.clone();
        let mut id = format!("vol-{at}");
        match random.within(0..4) {
            // Nothing but the checksum tells.
            0 => mutate::bytes(&mut bytes, 0, random),
            // The checksum is right, and what it is of means something else, or nothing.
            1 | 2 => bytes = reseal(&bytes, &id, random),
            _ => {
                bytes = reseal(&bytes, &id, random);
                mutate::bytes(&mut bytes, 0, random);
            }
        }
        if let Some(named) = named_json(&bytes)
            && random.once_in(2)
        {
            id = named;
        }
        let mut name = match random.within(0..8) {
            0 => format!("{id}.deleted.{}", random.next() >> random.within(0..64)),
            1 => format!("{id}.purging"),
            _ => format!("{id}.json"),
        }
        .into_bytes();
        if random.once_in(10) {
            mutate::bytes(&mut name, 0, random);
        }
        name.retain(|byte| !matches!(byte, b'/' | 0));
        name.truncate(255);
        // Names that are no file's are as good as none.
        let _ = std::fs::write(pool.records().join(std::ffi::OsStr::from_bytes(&name)), bytes);
    }
    RECORDS
}

#[test]
fn a_pool_file_that_no_berth_wrote_opens_no_pool_but_its_own() {
    let mut random = Random::new(from_environment("BERTH_TEST_SEED", 0xbe47));
    let pool = Pool::new();
    let own = Store::open(pool.path()).unwrap().info().clone();
    let file = pool.path().join("berth.json");
    let original = std::fs::read(&file).unwrap();
    let seeds: Vec<_> = corpus("pool").into_iter().chain([original.clone(), original]).collect();
    let (mut inputs, mut opened) = (0, 0);
    for _ in 0..250 * from_environment("BERTH_TEST_ROUNDS", 12) {
        let mut bytes = seeds[random.within(0..seeds.len() as u64) as usize].clone();
        match random.once_in(2) {
            true => mutate::bytes(&mut bytes, 0, &mut random),
            false => bytes = reseal(&bytes, "", &mut random),
        }
        std::fs::write(&file, &bytes).unwrap();
        inputs += 1;
        if let Ok(store) = Store::open(pool.path()) {
            assert!(
                store.info().filesystem.is_same(&own.filesystem),
                "on another file system"
            );
            opened += 1;
        }
    }
    common::isolated::figure(&format!("{inputs} pool files, {opened} of them open the pool"));
    assert!(opened > 0 && opened < inputs);
}

/// Larger than anything that Berth writes, and not read into memory for that.
#[test]
fn files_without_end_are_not_read_to_their_end() {
    let pool = Pool::new();
    let before = resident();
    for at in 0..8 {
        let file = std::fs::File::create(pool.records().join(format!("vol-{at}.json"))).unwrap();
        file.set_len(1 << 40).unwrap();
    }
    let contents = Store::open(pool.path()).unwrap().load().unwrap();
    assert_eq!(contents.quarantined.len(), 8);
    std::fs::File::options()
        .write(true)
        .open(pool.path().join("berth.json"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    Store::open(pool.path()).unwrap_err();
    let memory = resident() - before.min(resident());
    assert!(memory < MOST_MEMORY, "{memory} KiB more");
}

/// The most memory that this process ever held, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
