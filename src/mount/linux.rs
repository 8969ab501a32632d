//! The real thing: bind mounts made with the mount API of Linux 5.12.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::table::{MountTable, Mounts};
use super::{Error, KubeletDir, Mounted, Mounter, Occupant, Sighting, TargetPath};
use crate::sys::beneath;
use crate::sys::mount::{self as api, Attributes};
use crate::sys::mount_table::{MountInfo, mount_of};
use crate::sys::stat::stat;
use crate::volume::MountOption;

/// How often a busy mount is tried again.
const BUSY_TRIES: u32 = 10;
/// How long between two tries.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Mounts beneath the kubelet's directory.
#[derive(Debug)]
pub struct LinuxMounter {
    kubelet_dir: PathBuf,
    /// Where the directory really is, which the mount table tells: its path may lead through
    /// symbolic links.
    resolved: PathBuf,
    kubelet: OwnedFd,
    table: MountTable,
}

impl LinuxMounter {
    /// Opens the kubelet's directory, which must exist.
    pub fn new(kubelet: &KubeletDir) -> Result<Self, Error> {
        let path = kubelet.path();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(path, flags, Mode::empty()).map_err(|errno| Error::io("open", path, errno))?;
        Ok(Self {
            kubelet_dir: path.to_owned(),
            resolved: resolve(&fd)?,
            kubelet: fd,
            table: MountTable::default(),
        })
    }

    /// Whether anything is mounted beneath `directory`, a path as the kubelet writes it. No disk is asked.
    pub fn any_beneath(&self, directory: &Path) -> Result<bool, Error> {
        let mounts = self.mounts()?;
        Ok(mounts
            .iter()
            .any(|mount| self.as_kubelet_writes(&mount.mount_point).starts_with(directory)))
    }

    fn mounts(&self) -> Result<MutexGuard<'_, Mounts>, Error> {
        self.table
            .current()
            .map_err(|error| Error::io("read", "the mount table", error))
    }

    fn parent(&self, target: &TargetPath) -> Result<OwnedFd, Error> {
        let parent = target.path().parent().unwrap_or(&self.kubelet_dir);
        target
            .open_parent(&self.kubelet)
            .map_err(|errno| Error::io("open the directory", parent, errno))
    }

    fn open(&self, target: &TargetPath) -> Result<OwnedFd, Errno> {
        beneath::open_across_mounts(&self.kubelet, target.relative(), OFlag::O_PATH)
    }

    /// Whether `fd`, which is `target`, is on another mount than the directory it is in.
    fn is_mount(&self, target: &TargetPath, fd: &OwnedFd) -> bool {
        let parent = target.open_parent(&self.kubelet).ok().and_then(|fd| mount_of(fd).ok());
        parent.is_some() && parent != mount_of(fd).ok()
    }

    /// A path of the mount table as the kubelet writes it.
    fn as_kubelet_writes(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.resolved) {
            Ok(relative) => self.kubelet_dir.join(relative),
            Err(_) => path.to_owned(),
        }
    }
}

impl Mounter for LinuxMounter {
    fn inspect(&self, target: &TargetPath) -> Result<Occupant, Error> {
        let fd = match self.open(target) {
            Err(Errno::ENOENT) => return Ok(Occupant::Nothing),
            Err(Errno::ELOOP) => return Ok(Occupant::Foreign("a symbolic link, or a path through one")),
            Err(Errno::ENOTDIR) => return Ok(Occupant::Foreign("a path through something that is no directory")),
            other => other.map_err(|errno| Error::io("open", target.path(), errno))?,
        };
        let status = match stat(&fd) {
            Err(_) if self.is_mount(target, &fd) => return Ok(Occupant::DeadMount),
            other => other.map_err(|error| Error::io("examine", target.path(), error))?,
        };
        if status.mount_root {
            let vfs = fstatvfs(&fd).map_err(|errno| Error::io("examine the mount at", target.path(), errno))?;
            return Ok(Occupant::Mount(Mounted {
                directory: status.identity,
                options: options_of(vfs.flags()),
            }));
        }
        if !status.is_directory() {
            return Ok(Occupant::Foreign("no directory"));
        }
        Ok(Occupant::Directory)
    }

    fn is_empty(&self, target: &TargetPath) -> Result<bool, Error> {
        self.open(target)
            .and_then(beneath::is_empty)
            .map_err(|errno| Error::io("list", target.path(), errno))
    }

    fn make_target(&self, target: &TargetPath) -> Result<(), Error> {
        let parent = self.parent(target)?;
        match mkdirat(&parent, target.name(), Mode::from_bits_truncate(0o750)) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(Error::io("make", target.path(), errno)),
        }
    }

    fn remove_target(&self, target: &TargetPath) -> Result<(), Error> {
        let parent = match target.open_parent(&self.kubelet) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other.map_err(|errno| Error::io("open the directory of", target.path(), errno))?,
        };
        match unlinkat(&parent, target.name(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::io("remove", target.path(), errno)),
        }
    }

    fn bind(&self, source: BorrowedFd<'_>, target: &TargetPath, options: &[MountOption]) -> Result<(), Error> {
        let fail = |operation| move |error| Error::io(operation, target.path(), error);
        let destination = self
            .open(target)
            .map_err(|errno| Error::io("open", target.path(), errno))?;
        let tree = api::clone_tree(source).map_err(fail("clone the mount for"))?;
        api::set_attributes(&tree, attributes(options)).map_err(fail("set the options of the mount for"))?;
        api::attach(&tree, &destination).map_err(fail("mount at"))
    }

    fn unmount(&self, target: &TargetPath) -> Result<(), Error> {
        let parent = self.parent(target)?;
        // umount2(2) takes no descriptor: /proc leads to the directory that is held open.
        let path = Path::new("/proc/self/fd")
            .join(parent.as_raw_fd().to_string())
            .join(target.name());
        let mut tries = 0;
        loop {
            match umount2(&path, MntFlags::UMOUNT_NOFOLLOW) {
                // Somebody looks at the mount for a moment, as NodeGetVolumeStats does.
                Err(Errno::EBUSY) if tries < BUSY_TRIES => {
                    tries += 1;
                    std::thread::sleep(BUSY_PAUSE);
                }
                other => return other.map_err(|errno| Error::io("unmount", target.path(), errno)),
            }
        }
    }

    fn effective(&self, source: BorrowedFd<'_>, options: &[MountOption]) -> Result<Vec<MountOption>, Error> {
        let vfs = fstatvfs(source).map_err(|errno| Error::io("examine the mount of", "the volume", errno))?;
        let mut shown = options_of(vfs.flags());
        for option in options {
            match option {
                MountOption::Sync | MountOption::DirSync => continue,
                MountOption::NoAtime => shown.retain(|have| *have != MountOption::RelAtime),
                // Asked for together, noatime wins (see `attributes`).
                MountOption::RelAtime if options.contains(&MountOption::NoAtime) => continue,
                MountOption::RelAtime => shown.retain(|have| *have != MountOption::NoAtime),
                _ => {}
            }
            shown.push(*option);
        }
        shown.sort_unstable();
        shown.dedup();
        Ok(shown)
    }

    fn mounts_of(&self, directory: BorrowedFd<'_>) -> Result<Vec<Sighting>, Error> {
        let path = resolve(directory)?;
        let home = stat(directory)
            .map_err(|error| Error::io("examine", &path, error))?
            .mount_id;
        let mounts = self.mounts()?;
        let located = mounts
            .iter()
            .find(|mount| mount.short_id == home)
            .and_then(|mount| locate(mount, &path));
        let (device, inside) = located.ok_or_else(|| Error::io("find the mount of", &path, Errno::ENOENT))?;
        Ok(mounts
            .iter()
            .filter(|mount| mount.device == device && mount.root.starts_with(&inside))
            .map(|mount| Sighting {
                path: self.as_kubelet_writes(&mount.mount_point),
                whole: mount.root == inside,
            })
            .collect())
    }

    fn root_of(&self, target: &TargetPath) -> Result<Option<PathBuf>, Error> {
        let fd = self
            .open(target)
            .map_err(|errno| Error::io("open", target.path(), errno))?;
        let id = mount_of(&fd).map_err(|error| Error::io("examine", target.path(), error))?;
        let mounts = self.mounts()?;
        Ok(mounts
            .iter()
            .find(|mount| mount.short_id == id)
            .map(|mount| without_deleted(&mount.root)))
    }
}

/// The path that a directory had: the kernel marks one that was removed while it is mounted.
fn without_deleted(root: &Path) -> PathBuf {
    let bytes = root.as_os_str().as_bytes();
    let path = bytes.strip_suffix(b"//deleted").unwrap_or(bytes);
    PathBuf::from(OsStr::from_bytes(path))
}

/// The path at which `fd` is in this namespace, without symbolic links.
fn resolve(fd: impl AsFd) -> Result<PathBuf, Error> {
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    std::fs::read_link(&link).map_err(|error| Error::io("resolve", &link, error))
}

/// Where `path`, which is on `mount`, lies in the file system itself.
fn locate(mount: &MountInfo, path: &Path) -> Option<((u32, u32), PathBuf)> {
    let below = path.strip_prefix(&mount.mount_point).ok()?;
    let inside = match below.as_os_str().is_empty() {
        true => mount.root.clone(),
        false => mount.root.join(below),
    };
    Some((mount.device, inside))
}

/// The attributes of a mount with `options`. What belongs to the file system as a whole, sync and
/// dirsync, no mount of its own can carry.
fn attributes(options: &[MountOption]) -> Attributes {
    let mut attributes = Attributes {
        set: api::NO_DEV,
        clear: 0,
    };
    for option in options {
        match option {
            MountOption::ReadOnly => attributes.set |= api::READ_ONLY,
            MountOption::NoSuid => attributes.set |= api::NO_SUID,
            MountOption::NoExec => attributes.set |= api::NO_EXEC,
            MountOption::NoDirAtime => attributes.set |= api::NO_DIR_ATIME,
            MountOption::NoAtime => {
                attributes.clear = api::ATIME;
                attributes.set |= api::NO_ATIME;
            }
            // relatime is the value 0 of the field.
            MountOption::RelAtime => attributes.clear = api::ATIME,
            MountOption::Sync | MountOption::DirSync => {}
        }
    }
    attributes
}

fn options_of(flags: FsFlags) -> Vec<MountOption> {
    let named = [
        (FsFlags::ST_RDONLY, MountOption::ReadOnly),
        (FsFlags::ST_NOATIME, MountOption::NoAtime),
        (FsFlags::ST_NODIRATIME, MountOption::NoDirAtime),
        (FsFlags::ST_RELATIME, MountOption::RelAtime),
        (FsFlags::ST_NOSUID, MountOption::NoSuid),
        (FsFlags::ST_NOEXEC, MountOption::NoExec),
    ];
    named
        .into_iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, option)| option)
        .collect()
}
