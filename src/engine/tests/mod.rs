//! The engine on real directories, with a disk's size and a mount table on paper.

mod capacity;
mod create;
mod delete;
mod failures;
mod lifetime;
mod publish;
mod quarantine;
mod reaper;
mod recovery;
mod walks;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::capacity::{Policy, Reserve};
use super::{Engine, Error, Kind, Pool, Settings};
use crate::backend::fake::FakeBackend;
use crate::mount::fake::FakeMounter;
use crate::mount::{KubeletDir, TargetPath};
use crate::store;
use crate::volume::{
    AccessMode, Attributes, Capability, Capacity, CapacityRange, Deletion, Record, VolumeId, VolumeName, VolumeSpec,
};

const GIB: u64 = 1 << 30;
/// How large the disk of a bench is.
const DISK: u64 = 100 * GIB;
/// Long enough for nothing to be purged during a test.
const HOUR: Duration = Duration::from_secs(3600);

/// A pool in a directory of its own, and the fakes beside it. They outlive every [`Pool`], as a
/// disk and a mount table outlive an agent.
struct Bench {
    home: TempDir,
    backend: Arc<FakeBackend>,
    mounter: Arc<FakeMounter>,
}

impl Bench {
    /// A new pool on an empty disk.
    fn new() -> Self {
        let bench = Self::without_pool();
        fs::create_dir(bench.pool_path()).unwrap();
        store::init(&bench.pool_path()).unwrap();
        bench
    }

    /// A disk that is not there yet.
    fn without_pool() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            backend: Arc::new(FakeBackend::with_space(DISK, 0)),
            mounter: Arc::new(FakeMounter::default()),
        }
    }

    fn pool_path(&self) -> PathBuf {
        self.home.path().join("pool")
    }

    fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.pool_path().join(inside)
    }

    fn open(&self) -> Pool {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<Pool, store::Error> {
        let exact = Policy {
            reserve: Reserve::Bytes(0),
            overcommit: 1.0,
        };
        Pool::open(
            &self.pool_path(),
            None,
            self.backend.clone(),
            self.mounter.clone(),
            exact,
        )
    }

    fn engine(&self, init_pool: bool) -> Engine {
        let settings = Settings {
            pool: self.pool_path(),
            init_pool,
            policy: Policy {
                reserve: Reserve::Bytes(0),
                overcommit: 1.0,
            },
        };
        let engine = Engine::new(settings, self.backend.clone(), self.mounter.clone());
        engine.open_pool();
        engine
    }

    /// The names in a directory of the pool, sorted.
    fn names(&self, inside: &str) -> Vec<String> {
        names(&self.path(inside))
    }

    /// Every name in the areas of the pool.
    fn on_disk(&self) -> BTreeMap<&'static str, Vec<String>> {
        let areas = [".berth/records", ".berth/staging", ".berth/trash", "volumes"];
        areas.map(|area| (area, self.names(area))).into()
    }

    /// Writes a file into the volume, as a pod does.
    fn write(&self, id: &VolumeId) {
        fs::write(self.path("volumes").join(id.as_str()).join("data"), "bytes").unwrap();
    }

    /// The record of a volume that is not deleted.
    fn record_path(&self, id: &VolumeId) -> PathBuf {
        self.path(format!(".berth/records/{id}.json"))
    }

    /// A path at which the kubelet wants a volume; the directory above it exists.
    fn target(&self, name: &str) -> TargetPath {
        let kubelet = KubeletDir::new(Path::new("/kubelet")).unwrap();
        self.mounter.make_directory(Path::new("/kubelet/pods"));
        kubelet.target(&format!("/kubelet/pods/{name}")).unwrap()
    }
}

/// The name of a record's file.
fn record_name(record: &Record) -> String {
    match record.deletion {
        None => format!("{}.json", record.id),
        Some(Deletion::Kept { until }) => format!("{}.deleted.{until}", record.id),
        Some(Deletion::Purging) => format!("{}.purging", record.id),
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn spec(name: &str) -> VolumeSpec {
    VolumeSpec {
        name: VolumeName::parse(name).unwrap(),
        capabilities: vec![capability(AccessMode::SingleNodeWriter)],
        attributes: Attributes::default(),
        claim: None,
    }
}

/// A volume whose data stays in the trash.
fn kept(name: &str) -> VolumeSpec {
    let mut spec = spec(name);
    spec.attributes.trash_retention = HOUR;
    spec
}

fn capability(mode: AccessMode) -> Capability {
    Capability { mode, options: vec![] }
}

/// A size and no other.
fn exactly(bytes: u64) -> CapacityRange {
    let bytes = Some(Capacity::new(bytes).unwrap());
    CapacityRange {
        required: bytes,
        limit: bytes,
    }
}

/// The first ID that a name gives.
fn id_of(name: &str) -> VolumeId {
    VolumeId::for_name(&VolumeName::parse(name).unwrap(), 0)
}

fn kind<T: Debug>(result: Result<T, Error>) -> Kind {
    result.expect_err("refused").kind()
}

/// All that a pool knows; two moments of one state are equal.
#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    records: Vec<Record>,
    counts: (usize, usize),
    committed: u64,
    available: u64,
}

fn records(pool: &Pool) -> Vec<Record> {
    pool.registry()
        .after(None)
        .map(|record| Record::clone(record))
        .collect()
}

fn snapshot(pool: &Pool) -> Snapshot {
    Snapshot {
        records: records(pool),
        counts: pool.counts(),
        committed: pool.committed_bytes(),
        available: pool.available().unwrap(),
    }
}

/// What the pool knows, what is on disk and what was promised are one and the same.
fn assert_consistent(bench: &Bench, pool: &Pool) {
    let known = records(pool);
    let ids = |deleted: bool| -> Vec<String> {
        let wanted = known.iter().filter(|record| record.deletion.is_some() == deleted);
        wanted.map(|record| record.id.to_string()).collect()
    };
    let mut records: Vec<_> = known.iter().map(record_name).collect();
    records.sort();
    let disk = bench.on_disk();
    assert_eq!(disk[".berth/records"], records);
    assert_eq!(disk["volumes"], ids(false));
    // What a purge has removed may have its tombstone still.
    let purging = |id: &str| pool.registry().get(id).unwrap().deletion == Some(Deletion::Purging);
    let in_trash = &disk[".berth/trash"];
    let mut deleted = ids(true);
    deleted.retain(|id| in_trash.contains(id) || !purging(id));
    assert_eq!(*in_trash, deleted);
    assert!(disk[".berth/staging"].is_empty(), "{disk:?}");
    let active = known.iter().filter(|record| record.deletion.is_none());
    assert_eq!(
        pool.committed_bytes(),
        active.map(|record| record.capacity.bytes()).sum::<u64>()
    );
}
