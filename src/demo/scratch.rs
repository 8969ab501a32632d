//! The throwaway directory that plays a node's disk.

use std::fs::create_dir_all;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, umount2};
use tempfile::TempDir;

use super::{DRIVER, mounts};

/// The longest path that fits a unix socket's address with its final zero (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// A temporary directory with a pool and a kubelet's directory in it, gone with all it holds when dropped.
pub struct Scratch {
    root: PathBuf,
    /// Taken out only by `drop`.
    directory: Option<TempDir>,
}

impl Scratch {
    /// Makes the directory, beneath `TMPDIR` unless that is too long for a socket.
    pub fn new() -> Result<Self> {
        let usual = Self::beneath(&std::env::temp_dir())?;
        if usual.fits_sockets() {
            return Ok(usual);
        }
        let short = Self::beneath(Path::new("/tmp"))?;
        if !short.fits_sockets() {
            bail!("{} is too long a path for a unix socket in it", short.root.display());
        }
        Ok(short)
    }

    fn beneath(parent: &Path) -> Result<Self> {
        let directory = TempDir::with_prefix_in("berth-demo-", parent)
            .with_context(|| format!("make a directory in {}", parent.display()))?;
        // The mount table and the agent know paths without symbolic links.
        let root = directory
            .path()
            .canonicalize()
            .context("resolve the temporary directory")?;
        let scratch = Self {
            root,
            directory: Some(directory),
        };
        let socket = scratch.socket();
        let made = [
            scratch.pool(),
            scratch.kubelet().join("pods"),
            scratch.kubelet().join("plugins_registry"),
            socket.parent().unwrap_or(&socket).to_owned(),
        ];
        for path in made {
            create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        }
        Ok(scratch)
    }

    /// The agent's pool.
    pub fn pool(&self) -> PathBuf {
        self.root.join("pool")
    }

    /// The kubelet's directory, `/var/lib/kubelet` on a node.
    pub fn kubelet(&self) -> PathBuf {
        self.root.join("kubelet")
    }

    /// The socket that the agent serves CSI on.
    pub fn socket(&self) -> PathBuf {
        self.kubelet().join("plugins").join(DRIVER).join("csi.sock")
    }

    /// The agent's log.
    pub fn log(&self) -> PathBuf {
        self.root.join("agent.log")
    }

    fn fits_sockets(&self) -> bool {
        let registration = self
            .kubelet()
            .join("plugins_registry")
            .join(format!("{DRIVER}-reg.sock"));
        [self.socket(), registration]
            .iter()
            .all(|path| path.as_os_str().as_bytes().len() <= SOCKET_PATH_MAX)
    }

    /// Unmounts what a failure left behind: removing a tree goes through its mounts.
    fn unmount(&self) -> Result<()> {
        for point in mounts::beneath(&self.root)?.iter().rev() {
            let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
            umount2(point, flags).with_context(|| format!("unmount {}", point.display()))?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(directory) = self.directory.take() else {
            return;
        };
        let removed = self.unmount().and_then(|()| Ok(directory.close()?));
        if let Err(error) = removed {
            eprintln!("{} couldn't be removed: {error:#}", self.root.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Scratch;

    #[test]
    fn everything_goes_with_the_scratch_directory() -> anyhow::Result<()> {
        let scratch = Scratch::new()?;
        let root = scratch.root.clone();
        std::fs::write(scratch.pool().join("file"), "content")?;
        assert!(scratch.fits_sockets() && root.is_dir());
        drop(scratch);
        assert!(!root.exists());
        Ok(())
    }
}
