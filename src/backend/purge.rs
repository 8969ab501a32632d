//! Removing a tree of any depth and size with few descriptors and bounded memory.
//!
//! A directory that is not empty has its own subdirectories hoisted to the root of the tree, so
//! that nothing is ever deeper than two levels. Where that is refused, above all for want of space,
//! they are emptied where they are, which is slower the deeper they lie.
//!
//! Out of a btrfs subvolume nothing can be moved but other subvolumes. So the root of one is a root for
//! what is in it, and a subvolume in that goes to the root of the tree first.
//!
//! Everything happens beneath held descriptors, on one file system: a mount inside the tree ends
//! the purge with an error and stays untouched. A purge that is interrupted goes on where it was,
//! because all it needs to know is in the tree.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::dir::Type;
use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, renameat2};
use nix::sys::stat::fstat;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Error, Purge};
use crate::sys::beneath::{self, open_directory};
use crate::sys::inode_flags::{Protection, admit_all_projects, protect, unprotect};
use crate::sys::subvolume::make_writable;

/// How many names are read before they are acted on.
const BATCH: usize = 512;
/// How many directories above the one at work are held open where nothing can be moved.
const HELD: usize = 32;

/// Why a purge does not go on.
enum Halt {
    Stopped,
    Failed(Error),
}

/// What became of a directory that was to be moved.
enum Hoist {
    Moved,
    /// Nothing goes from where it is to where it was to go.
    Apart,
    Refused,
}

struct Tree<'a> {
    root: BorrowedFd<'a>,
    name: &'a str,
    /// Names that hoisted directories get.
    hoisted: u64,
    pace: &'a mut dyn FnMut() -> bool,
}

/// Removes `name` from `trash` with all that is in it.
pub fn purge(trash: BorrowedFd<'_>, name: &str, pace: &mut dyn FnMut() -> bool) -> Result<Purge, Error> {
    // Most volumes that are deleted were emptied by their owners.
    if unlinkat(trash, name, UnlinkatFlags::RemoveDir).is_ok() {
        return Ok(Purge::Done);
    }
    let root = match open_directory(trash, name) {
        Ok(root) => root,
        Err(Errno::ENOENT) => return Ok(Purge::Done),
        // Not a directory: unlinking takes the entry itself and follows nothing.
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            return unlinkat(trash, name, UnlinkatFlags::NoRemoveDir)
                .map(|()| Purge::Done)
                .map_err(|errno| Error::new("unlink", name, errno));
        }
        Err(errno) => return Err(Error::new("open the trash of", name, errno)),
    };
    let mut tree = Tree {
        root: root.as_fd(),
        name,
        hoisted: 0,
        pace,
    };
    match tree.clear(root.as_fd()) {
        Ok(()) => {}
        Err(Halt::Stopped) => return Ok(Purge::Stopped),
        Err(Halt::Failed(error)) => return Err(error),
    }
    match unlinkat(trash, name, UnlinkatFlags::RemoveDir) {
        Err(Errno::EPERM) => unprotect(&root)
            .map_err(|error| Error::new("take the immutable flag off", name, error))
            .and_then(|_| {
                unlinkat(trash, name, UnlinkatFlags::RemoveDir).map_err(|errno| Error::new("remove", name, errno))
            }),
        other => other.map_err(|errno| Error::new("remove", name, errno)),
    }
    .map(|()| Purge::Done)
}

impl Tree<'_> {
    /// Empties the directory `base` by way of hoisting to it: the root, or that of a subvolume in the root.
    fn clear(&mut self, base: BorrowedFd<'_>) -> Result<(), Halt> {
        loop {
            let names = beneath::entries(base, BATCH).map_err(|errno| self.fail("list", c"", errno))?;
            if names.is_empty() {
                return Ok(());
            }
            for (name, kind) in names {
                self.step()?;
                if !self.remove(base, &name, kind)? {
                    self.clear_directory(base, &name)?;
                }
            }
        }
    }

    /// Empties the directory `name` of `base` and removes it, or moves it to the root.
    fn clear_directory(&mut self, base: BorrowedFd<'_>, name: &CStr) -> Result<(), Halt> {
        let directory = match open_directory(base, name) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other.map_err(|errno| self.fail("open", name, errno))?,
        };
        let directory = directory.as_fd();
        let at_root = base.as_raw_fd() == self.root.as_raw_fd();
        loop {
            let names = beneath::entries(directory, BATCH).map_err(|errno| self.fail("list", name, errno))?;
            if names.is_empty() {
                break;
            }
            for (child, kind) in names {
                self.step()?;
                if self.remove(directory, &child, kind)? {
                    continue;
                }
                match self.hoist(directory, &child, base) {
                    Hoist::Moved => {}
                    // No deeper than this: what is in `directory` goes to the root from there.
                    Hoist::Apart if at_root => self.clear(directory)?,
                    Hoist::Apart if matches!(self.hoist(base, name, self.root), Hoist::Moved) => return Ok(()),
                    Hoist::Apart | Hoist::Refused => self.clear_in_place(directory, name)?,
                }
            }
        }
        self.remove(base, name, Some(Type::Directory)).map(|_| ())
    }

    /// Empties `directory`, which has the name `name`, without moving anything. Of a tree deeper than what
    /// is held open it removes the deepest part it comes to only, and is to be called again.
    fn clear_in_place(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Halt> {
        let mut at = open_directory(directory, c".").map_err(|errno| self.fail("open", name, errno))?;
        // Each with the name that the next one has in it.
        let mut above = VecDeque::<(OwnedFd, CString)>::new();
        loop {
            if let Some(name) = self.clear_shallow(&at)? {
                let child = match open_directory(at.as_fd(), name.as_c_str()) {
                    Err(Errno::ENOENT) => continue,
                    other => other.map_err(|errno| self.fail("open", &name, errno))?,
                };
                above.push_back((mem::replace(&mut at, child), name));
                if above.len() > HELD {
                    above.pop_front();
                }
            } else {
                let Some((parent, name)) = above.pop_back() else {
                    return Ok(());
                };
                self.remove(parent.as_fd(), &name, Some(Type::Directory))?;
                at = parent;
            }
        }
    }

    /// Removes what is in `directory` up to the first directory that is not empty, and returns the name
    /// of that.
    fn clear_shallow(&mut self, directory: &OwnedFd) -> Result<Option<CString>, Halt> {
        loop {
            let names = beneath::entries(directory, BATCH).map_err(|errno| self.fail("list", c"", errno))?;
            if names.is_empty() {
                return Ok(None);
            }
            for (name, kind) in names {
                self.step()?;
                if !self.remove(directory.as_fd(), &name, kind)? {
                    return Ok(Some(name));
                }
            }
        }
    }

    fn step(&mut self) -> Result<(), Halt> {
        if (self.pace)() { Ok(()) } else { Err(Halt::Stopped) }
    }

    /// Removes one entry; `false` if it is a directory that is not empty.
    fn remove(&self, parent: BorrowedFd<'_>, name: &CStr, kind: Option<Type>) -> Result<bool, Halt> {
        let try_once = || {
            if kind != Some(Type::Directory) {
                match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
                    Err(Errno::EISDIR) => {}
                    other => return other,
                }
            }
            unlinkat(parent, name, UnlinkatFlags::RemoveDir)
        };
        let result = match try_once() {
            Err(Errno::EPERM | Errno::EROFS) => {
                let lifted = self.lift_protection(parent, name, kind);
                let again = try_once();
                if let Some((fd, protection)) = lifted
                    && fstat(&fd).is_ok_and(|status| status.st_nlink > 0)
                {
                    // It has another name, and whoever gave it that one counts on the protection.
                    let _ = protect(&fd, protection);
                }
                again
            }
            other => other,
        };
        match result {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENOTEMPTY) => Ok(false),
            Err(errno) => Err(self.fail("remove", name, errno)),
        }
    }

    /// Takes immutable, append-only and, of subvolumes, read-only flags off an entry and the directory it
    /// is in, and returns which of the first two the entry had. If that does not work, the second try to remove it tells why.
    fn lift_protection(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        kind: Option<Type>,
    ) -> Option<(OwnedFd, Protection)> {
        // Before the others, which cannot be changed in a read-only subvolume.
        let _ = make_writable(parent);
        let _ = unprotect(parent);
        // Opening a device or a fifo could have effects; they cannot carry the flags anyway.
        if !matches!(kind, Some(Type::File | Type::Directory)) {
            return None;
        }
        let fd = beneath::open(parent, name, OFlag::O_RDONLY | OFlag::O_NONBLOCK).ok()?;
        if kind == Some(Type::Directory) {
            let _ = make_writable(&fd);
        }
        let protection = unprotect(&fd).ok()??;
        Some((fd, protection))
    }

    /// Moves a directory to `base`.
    fn hoist(&mut self, parent: BorrowedFd<'_>, name: &CStr, base: BorrowedFd<'_>) -> Hoist {
        loop {
            let to = format!(".berth-purge-{}", self.hoisted);
            self.hoisted += 1;
            let rename = || renameat2(parent, name, base, to.as_str(), RenameFlags::RENAME_NOREPLACE);
            let result = match rename() {
                Err(Errno::EPERM | Errno::EROFS) => {
                    let _ = self.lift_protection(parent, name, Some(Type::Directory));
                    let _ = unprotect(base);
                    rename()
                }
                other => other,
            };
            let result = match result {
                Err(Errno::EXDEV) if admit_all_projects(base).unwrap_or(false) => rename(),
                other => other,
            };
            match result {
                Ok(()) | Err(Errno::ENOENT) => return Hoist::Moved,
                Err(Errno::EEXIST) => {}
                Err(Errno::EXDEV) => return Hoist::Apart,
                Err(_) => return Hoist::Refused,
            }
        }
    }

    fn fail(&self, operation: &'static str, name: &CStr, errno: Errno) -> Halt {
        let object = format!("{}/{} in the trash", self.name, name.to_string_lossy());
        Halt::Failed(Error::new(operation, object, errno))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn purge_in(path: &Path, pace: &mut dyn FnMut() -> bool) -> Result<Purge, Error> {
        let trash = fs::File::open(path).expect("open");
        purge(trash.as_fd(), "v", pace)
    }

    #[test]
    fn a_tree_deeper_than_any_path_goes_with_two_descriptors() {
        let trash = tempfile::tempdir().expect("temp");
        let root = trash.path().join("v");
        fs::create_dir(&root).expect("mkdir");
        let mut at = nix::fcntl::open(&root, OFlag::O_DIRECTORY, nix::sys::stat::Mode::empty()).expect("open");
        for _ in 0..5000 {
            nix::sys::stat::mkdirat(&at, "d", nix::sys::stat::Mode::S_IRWXU).expect("mkdirat");
            at = open_directory(at.as_fd(), "d").expect("open");
        }
        drop(at);
        assert_eq!(purge_in(trash.path(), &mut || true).expect("purge"), Purge::Done);
        assert!(!root.exists());
    }

    /// Deeper than what is held open, and stopped on the way.
    #[test]
    fn a_tree_that_cannot_be_moved_goes_where_it_is() {
        let trash = tempfile::tempdir().expect("temp");
        let root = trash.path().join("v");
        let mut deep = root.clone();
        for depth in 0..3 * HELD {
            deep.push("d");
            fs::create_dir_all(deep.join("other")).expect("mkdir");
            fs::write(deep.join(format!("other/{depth}")), "data").expect("write");
        }
        let held = fs::File::open(&root).expect("open");
        let mut steps = 0;
        let mut pace = || {
            steps += 1;
            steps != 50
        };
        let mut tree = Tree {
            root: held.as_fd(),
            name: "v",
            hoisted: 0,
            pace: &mut pace,
        };
        let mut stopped = 0;
        for _ in 0..5 {
            match tree.clear_in_place(held.as_fd(), c"v") {
                Ok(()) => {}
                Err(Halt::Stopped) => stopped += 1,
                Err(Halt::Failed(error)) => panic!("{error}"),
            }
        }
        assert_eq!(stopped, 1);
        assert_eq!(fs::read_dir(&root).expect("list").count(), 0);
    }

    #[test]
    fn symbolic_links_are_removed_and_never_followed() {
        let trash = tempfile::tempdir().expect("temp");
        let canary = trash.path().join("canary");
        fs::create_dir_all(canary.join("inner")).expect("mkdir");
        fs::create_dir_all(trash.path().join("v/a/b")).expect("mkdir");
        symlink(&canary, trash.path().join("v/a/link")).expect("symlink");
        symlink(&canary, trash.path().join("v/a/b/link")).expect("symlink");
        assert_eq!(purge_in(trash.path(), &mut || true).expect("purge"), Purge::Done);
        assert!(canary.join("inner").exists());
        symlink(&canary, trash.path().join("v")).expect("symlink");
        assert_eq!(purge_in(trash.path(), &mut || true).expect("purge"), Purge::Done);
        assert!(canary.join("inner").exists());
    }

    #[test]
    fn a_purge_that_was_stopped_goes_on() {
        let trash = tempfile::tempdir().expect("temp");
        for at in 0..40 {
            let directory = trash.path().join(format!("v/{}/x/y", at % 7));
            fs::create_dir_all(&directory).expect("mkdir");
            fs::write(directory.join(at.to_string()), "data").expect("write");
        }
        let mut rounds = 0;
        loop {
            let mut left = 5;
            let mut pace = || {
                left -= 1;
                left > 0
            };
            rounds += 1;
            if purge_in(trash.path(), &mut pace).expect("purge") == Purge::Done {
                break;
            }
        }
        assert!(rounds > 5, "it stopped only {rounds} times");
        assert!(!trash.path().join("v").exists());
    }
}
