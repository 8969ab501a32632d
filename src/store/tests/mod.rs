//! The store on real directories, with hostile and half-made things in them.

mod ballast;
mod claims;
mod deletion;
mod init;
mod opening;
mod records;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::volume::{AccessMode, Attributes, Capability, Capacity, Claim, VolumeName, VolumeSpec};

/// A directory for a pool, with room beside it for what must stay untouched.
struct Home(TempDir);

impl Home {
    /// With an empty directory for a pool.
    fn empty() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir(home.pool()).unwrap();
        home
    }

    /// With a pool.
    fn new() -> Self {
        let home = Self::empty();
        super::init(&home.pool()).unwrap();
        home
    }

    fn pool(&self) -> PathBuf {
        self.0.path().join("pool")
    }

    fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.pool().join(inside)
    }

    /// A path outside the pool.
    fn outside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self) -> Store {
        Store::open(&self.pool()).unwrap()
    }

    /// Everything in the pool's directory, sorted.
    fn names(&self, inside: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(inside)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn record(name: &str) -> Record {
    let name = VolumeName::parse(name).unwrap();
    Record {
        id: VolumeId::for_name(&name, 0),
        spec: VolumeSpec {
            name,
            capabilities: vec![Capability {
                mode: AccessMode::SingleNodeWriter,
                options: vec![],
            }],
            attributes: Attributes::default(),
            claim: None,
        },
        capacity: Capacity::new(1 << 30).unwrap(),
        created_at: 1,
        deletion: None,
    }
}
