//! A node: a disk with a pool on it, and a kubelet's directory.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Agent, Disk, Filesystem};

/// A node with an empty disk mounted where the pool is to be.
pub struct Node {
    pub filesystem: Filesystem,
    pub disk: Disk,
    home: TempDir,
}

impl Node {
    /// A node with the smallest disk that is not tiny.
    pub fn new(filesystem: Filesystem) -> Self {
        Self::with_disk(filesystem, filesystem.smallest_mib().max(64), &[])
    }

    /// A node with a disk of `mib` MiB; `flags` go to its mkfs.
    pub fn with_disk(filesystem: Filesystem, mib: u64, flags: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("home");
        let disk = Disk::make_with(home.path(), "disk", filesystem, mib, flags);
        disk.mount(&home.path().join("pool"), "");
        Self { filesystem, disk, home }
    }

    /// A node whose disk is mounted by the caller.
    pub fn unmounted(disk: Disk) -> Self {
        Self {
            filesystem: disk.filesystem,
            disk,
            home: tempfile::tempdir().expect("home"),
        }
    }

    /// Where everything of this node is.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The pool's directory.
    pub fn pool(&self) -> PathBuf {
        self.home().join("pool")
    }

    /// The directory of the volume `id`.
    pub fn volume(&self, id: &str) -> PathBuf {
        self.pool().join("volumes").join(id)
    }

    /// What the trash holds of the volume `id`.
    pub fn trash(&self, id: &str) -> PathBuf {
        self.pool().join(".berth/trash").join(id)
    }

    /// The file that holds the record of the volume `id`.
    pub fn record(&self, id: &str) -> PathBuf {
        self.pool().join(".berth/records").join(format!("{id}.json"))
    }

    /// Starts an agent; the first one makes the pool.
    pub async fn agent(&self) -> Agent {
        let made = self.pool().join("berth.json").exists();
        let flags: &[&str] = if made { &[] } else { &["--init-pool"] };
        self.agent_with(flags).await
    }

    /// Starts an agent with flags of its own.
    pub async fn agent_with(&self, flags: &[&str]) -> Agent {
        Agent::start_with(self.home(), &self.pool(), flags).await
    }

    /// The name of the loop device that the pool is on.
    pub fn device(&self) -> String {
        let lines = super::disk::mount_lines("self", &self.pool());
        let line = lines.last().expect("the pool is mounted");
        let source = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').nth(1));
        source
            .and_then(|source| source.strip_prefix("/dev/"))
            .expect("a device")
            .to_owned()
    }

    /// Another home with a kubelet's directory, for a second agent on this node.
    pub fn second_home(&self) -> PathBuf {
        self.home().join("second")
    }
}

impl Drop for Node {
    /// Tells what the agents said when the test fails, and takes off all mounts, so that removing
    /// the home never reaches into a file system.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home().join("agent.log"));
            eprintln!("the agents' log on {:?}:\n{}", self.filesystem, log.unwrap_or_default());
        }
        for point in super::disk::mounts_beneath(self.home()) {
            let _ = nix::mount::umount2(&point, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}
