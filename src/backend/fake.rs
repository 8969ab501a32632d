//! Real directories, with space on paper, failures on order, and an eye on the order of calls.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{Backend, Data, DirectoryBackend, Error, Purge, Space, Usage};
use crate::faults::Faults;
use crate::sys::beneath::is_empty;
use crate::volume::{Attributes, VolumeId};

/// Panics when it is asked for what no correct engine asks for.
#[derive(Default)]
pub struct FakeBackend {
    /// What fails.
    pub faults: Faults,
    real: DirectoryBackend,
    space: Mutex<Space>,
    /// What every volume is said to use; measured when absent.
    usage: Mutex<Option<u64>>,
    /// How long it takes to measure one.
    walk: Mutex<Duration>,
    made: Mutex<HashMap<VolumeId, OwnedFd>>,
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl FakeBackend {
    /// Volumes on a disk of `total` bytes of which `used` are in use.
    pub fn with_space(total: u64, used: u64) -> Self {
        let fake = Self::default();
        fake.set_space(total, used);
        fake
    }

    /// Changes what [`Backend::space`] says.
    pub fn set_space(&self, total: u64, used: u64) {
        *self.space.lock().unwrap() = Space {
            total_bytes: total,
            used_bytes: used,
            available_bytes: total.saturating_sub(used),
            ..Space::default()
        };
    }

    /// Does this right before the next directory is opened, as another caller might.
    pub fn meanwhile(&self, work: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(work));
    }

    /// Changes what [`Backend::usage`] says of every volume.
    pub fn set_usage(&self, bytes: u64) {
        *self.usage.lock().unwrap() = Some(bytes);
    }

    /// Lets every volume take this long to measure, unless the walk is told to end.
    pub fn set_walk(&self, time: Duration) {
        *self.walk.lock().unwrap() = time;
    }
}

impl Backend for FakeBackend {
    fn create(&self, parent: BorrowedFd<'_>, id: &VolumeId, attributes: &Attributes) -> Result<Data, Error> {
        assert_eq!(name_of(parent), "volumes", "volumes are made in their place");
        if let Some(earlier) = self.made.lock().unwrap().get(id) {
            let gone = nix::sys::stat::fstat(earlier).unwrap().st_nlink == 0;
            assert!(gone || is_empty(earlier).unwrap(), "{id} is made anew, but holds data");
        }
        let error = |errno| Error::new("make the directory of volume", id, errno);
        self.faults.run("create", error, || {
            let data = self.real.create(parent, id, attributes)?;
            let made = data.directory.try_clone().unwrap();
            self.made.lock().unwrap().insert(id.clone(), made);
            Ok(data)
        })
    }

    fn open(&self, parent: BorrowedFd<'_>, id: &VolumeId) -> Result<Data, Error> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(work) = meanwhile {
            work();
        }
        let place = name_of(parent);
        assert!(
            matches!(place.as_str(), "volumes" | "trash"),
            "{id} is opened in {place}"
        );
        let error = |errno| Error::new("open the directory of volume", id, errno);
        self.faults.run("open", error, || self.real.open(parent, id))
    }

    fn space(&self, _: BorrowedFd<'_>) -> Result<Space, Error> {
        let error = |errno| Error::new("read the space of", "the pool", errno);
        self.faults.run("space", error, || Ok(*self.space.lock().unwrap()))
    }

    fn usage(&self, volume: BorrowedFd<'_>, pace: &mut dyn FnMut() -> bool) -> Result<Option<Usage>, Error> {
        let error = |errno| Error::new("measure", "the volume", errno);
        let said = *self.usage.lock().unwrap();
        let end = Instant::now() + *self.walk.lock().unwrap();
        self.faults.run("usage", error, || {
            while Instant::now() < end {
                if !pace() {
                    return Ok(None);
                }
                thread::sleep(Duration::from_millis(1));
            }
            match said {
                Some(bytes) => Ok(pace().then_some(Usage { bytes, inodes: 1 })),
                None => self.real.usage(volume, pace),
            }
        })
    }

    fn purge(&self, trash: BorrowedFd<'_>, id: &VolumeId, pace: &mut dyn FnMut() -> bool) -> Result<Purge, Error> {
        assert_eq!(name_of(trash), "trash", "only what was deleted is purged");
        let error = |errno: Errno| Error::new("remove", id, errno);
        self.faults.run("purge", error, || self.real.purge(trash, id, pace))
    }
}

/// The name of an open directory.
fn name_of(directory: BorrowedFd<'_>) -> String {
    let link = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
    let path = std::fs::read_link(link).unwrap();
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
