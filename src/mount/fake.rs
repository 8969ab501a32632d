//! A mount table on paper, with failures on order and an eye on the order of calls.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use nix::errno::Errno;

use super::{Error, Mounted, Mounter, Occupant, Sighting, TargetPath};
use crate::faults::Faults;
use crate::sys::stat::stat;
use crate::volume::MountOption;

/// Panics when it is asked for what no correct engine asks for.
#[derive(Default)]
pub struct FakeMounter {
    /// What fails.
    pub faults: Faults,
    /// The directories there are, with what is mounted on each, the topmost mount last.
    directories: Mutex<Directories>,
}

type Directories = BTreeMap<PathBuf, Directory>;

#[derive(Default)]
struct Directory {
    files: bool,
    dead: bool,
    mounts: Vec<Mount>,
}

struct Mount {
    mounted: Mounted,
    root: PathBuf,
}

impl FakeMounter {
    /// Makes a directory, as the kubelet does.
    pub fn make_directory(&self, path: &Path) {
        self.directories().entry(path.to_owned()).or_default();
    }

    /// Puts a file into a directory.
    pub fn make_file_in(&self, path: &Path) {
        self.directories().entry(path.to_owned()).or_default().files = true;
    }

    /// Mounts `source` over whatever is there, as a person could.
    pub fn mount_by_hand(&self, source: BorrowedFd<'_>, path: &Path) {
        let mount = Mount::new(source, &[]);
        self.directories()
            .entry(path.to_owned())
            .or_default()
            .mounts
            .push(mount);
    }

    /// Takes the disk away beneath what is mounted at a path.
    pub fn kill(&self, path: &Path) {
        self.directories().entry(path.to_owned()).or_default().dead = true;
    }

    /// How many mounts are stacked at a path.
    pub fn depth(&self, path: &Path) -> usize {
        self.directories()
            .get(path)
            .map_or(0, |directory| directory.mounts.len())
    }

    /// Whether the directory is there.
    pub fn exists(&self, path: &Path) -> bool {
        self.directories().contains_key(path)
    }

    fn directories(&self) -> MutexGuard<'_, Directories> {
        self.directories.lock().unwrap()
    }

    fn run<T>(
        &self,
        operation: &'static str,
        path: &Path,
        work: impl FnOnce(&mut Directories) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let error = |errno| Error::io(operation, path, errno);
        self.faults.run(operation, error, || work(&mut self.directories()))
    }
}

impl Mount {
    fn new(source: BorrowedFd<'_>, options: &[MountOption]) -> Self {
        Self {
            mounted: Mounted {
                directory: stat(source).unwrap().identity,
                options: shown(options),
            },
            root: std::fs::read_link(format!("/proc/self/fd/{}", source.as_raw_fd())).unwrap(),
        }
    }
}

/// What the mount itself does not carry is not seen, and what the disk is mounted with is.
fn shown(options: &[MountOption]) -> Vec<MountOption> {
    let mut shown = vec![MountOption::RelAtime];
    let carried = |option: &&MountOption| !matches!(option, MountOption::Sync | MountOption::DirSync);
    shown.extend(options.iter().filter(carried));
    shown.sort_unstable();
    shown.dedup();
    shown
}

impl Mounter for FakeMounter {
    fn inspect(&self, target: &TargetPath) -> Result<Occupant, Error> {
        self.run("inspect", target.path(), |directories| {
            Ok(match directories.get(target.path()) {
                None => Occupant::Nothing,
                Some(directory) => match directory.mounts.last() {
                    Some(_) if directory.dead => Occupant::DeadMount,
                    Some(mount) => Occupant::Mount(mount.mounted.clone()),
                    None => Occupant::Directory,
                },
            })
        })
    }

    fn is_empty(&self, target: &TargetPath) -> Result<bool, Error> {
        self.run("is_empty", target.path(), |directories| {
            Ok(directories.get(target.path()).is_some_and(|directory| !directory.files))
        })
    }

    fn make_target(&self, target: &TargetPath) -> Result<(), Error> {
        self.run("make_target", target.path(), |directories| {
            if !directories.contains_key(target.path().parent().unwrap()) {
                return Err(Error::io("make", target.path(), Errno::ENOENT));
            }
            directories.entry(target.path().to_owned()).or_default();
            Ok(())
        })
    }

    fn remove_target(&self, target: &TargetPath) -> Result<(), Error> {
        self.run("remove_target", target.path(), |directories| {
            if directories.get(target.path()).is_some_and(|directory| directory.files) {
                return Err(Error::io("remove", target.path(), Errno::ENOTEMPTY));
            }
            let removed = directories.remove(target.path()).unwrap_or_default();
            assert!(removed.mounts.is_empty(), "{target:?} is removed while mounted");
            Ok(())
        })
    }

    fn bind(&self, source: BorrowedFd<'_>, target: &TargetPath, options: &[MountOption]) -> Result<(), Error> {
        self.run("bind", target.path(), |directories| {
            let directory = directories.get_mut(target.path());
            let directory = directory.unwrap_or_else(|| panic!("{target:?} is mounted on before it is made"));
            assert!(directory.mounts.is_empty(), "{target:?} is mounted over");
            assert!(!directory.files, "the files at {target:?} are mounted over");
            directory.mounts.push(Mount::new(source, options));
            Ok(())
        })
    }

    fn unmount(&self, target: &TargetPath) -> Result<(), Error> {
        self.run("unmount", target.path(), |directories| {
            let taken = directories.get_mut(target.path()).and_then(|found| {
                found.dead = false;
                found.mounts.pop()
            });
            assert!(taken.is_some(), "{target:?} is unmounted, but nothing is mounted there");
            Ok(())
        })
    }

    fn effective(&self, _: BorrowedFd<'_>, options: &[MountOption]) -> Result<Vec<MountOption>, Error> {
        self.run("effective", Path::new(""), |_| Ok(shown(options)))
    }

    fn mounts_of(&self, directory: BorrowedFd<'_>) -> Result<Vec<Sighting>, Error> {
        let wanted = stat(directory).unwrap().identity;
        self.run("mounts_of", Path::new(""), |directories| {
            let of_it = |found: &&Mount| found.mounted.directory == wanted;
            let sightings = |(path, found): (&PathBuf, &Directory)| {
                let path = path.clone();
                let sighting = move |_| Sighting {
                    path: path.clone(),
                    whole: true,
                };
                found.mounts.iter().filter(of_it).map(sighting).collect::<Vec<_>>()
            };
            Ok(directories.iter().flat_map(sightings).collect())
        })
    }

    fn root_of(&self, target: &TargetPath) -> Result<Option<PathBuf>, Error> {
        self.run("root_of", target.path(), |directories| {
            let topmost = directories.get(target.path()).and_then(|found| found.mounts.last());
            Ok(topmost.map(|mount| mount.root.clone()))
        })
    }
}
