//! A file system to measure on, which leaves nothing behind.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::{geteuid, syncfs},
};
use tempfile::TempDir;

/// Sparse: a few hundred MiB of it are written. Its size is what the volumes' promised bytes have to fit into.
const IMAGE_BYTES: u64 = 128 << 30;

/// An XFS file system in a sparse image over a loop device with direct I/O, in a mount namespace of this process.
pub struct Scratch {
    mount_point: PathBuf,
    directory: TempDir,
}

impl Scratch {
    /// Enters a private mount namespace and mounts a new file system, its image beneath `parent`.
    ///
    /// The namespace is the calling thread's, so this comes before any other thread is started.
    pub fn new(parent: &Path) -> anyhow::Result<Self> {
        ensure!(geteuid().is_root(), "only root can mount a file system to measure on");
        unshare(CloneFlags::CLONE_NEWNS).context("enter a mount namespace")?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context("make the mount namespace private")?;

        let directory = tempfile::Builder::new()
            .prefix("berth-bench.")
            .tempdir_in(parent)
            .with_context(|| format!("make a directory in {}", parent.display()))?;
        let mount_point = directory.path().join("xfs");
        fs::create_dir(&mount_point).context("make the mount point")?;
        let device = LoopDevice::attach(&directory.path().join("image"))?;
        command("mkfs.xfs", &["-q", &device.name])?;
        mount(
            Some(device.name.as_str()),
            &mount_point,
            Some("xfs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("mount {} on {}", device.name, mount_point.display()))?;
        Ok(Self { mount_point, directory })
    }

    /// Returns the root of the file system.
    pub fn root(&self) -> &Path {
        &self.mount_point
    }

    /// Returns a directory on the host's file system for what shall not disturb the measured one.
    pub fn aside(&self) -> &Path {
        self.directory.path()
    }

    /// Writes out what is dirty, so that no figure pays for the one before.
    pub fn settle(&self) -> anyhow::Result<()> {
        let root = File::open(&self.mount_point).context("open the file system")?;
        syncfs(root).context("sync the file system")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Detaching takes along the mounts that an agent may have left beneath; the loop device goes with the last of them.
        if let Err(error) = umount2(&self.mount_point, MntFlags::MNT_DETACH) {
            eprintln!("bench: unmount {}: {error}", self.mount_point.display());
        }
    }
}

/// A loop device that detaches itself when its last user goes: on drop, or when what was mounted from it is unmounted.
struct LoopDevice {
    name: String,
}

impl LoopDevice {
    /// Attaches a new sparse image and unlinks it, so that not even SIGKILL leaves it behind.
    fn attach(image: &Path) -> anyhow::Result<Self> {
        let file = File::create_new(image).with_context(|| format!("create {}", image.display()))?;
        file.set_len(IMAGE_BYTES)
            .with_context(|| format!("size {}", image.display()))?;
        let path = image.to_str().context("a path that is no UTF-8")?;
        let name = command("losetup", &["--direct-io=on", "--find", "--show", path])?;
        let device = Self {
            name: name.trim().to_owned(),
        };
        fs::remove_file(image).with_context(|| format!("unlink {}", image.display()))?;
        // losetup only warns where the file system beneath cannot do it, and then the page cache would be measured.
        let sysfs = Path::new("/sys/class/block")
            .join(device.name.trim_start_matches("/dev/"))
            .join("loop/dio");
        let direct = fs::read_to_string(&sysfs).with_context(|| format!("read {}", sysfs.display()))?;
        ensure!(
            direct.trim() == "1",
            "{} has no direct I/O: pass a directory on a disk as --dir",
            device.name
        );
        Ok(device)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if let Err(error) = command("losetup", &["--detach", &self.name]) {
            eprintln!("bench: {error:#}");
        }
    }
}

/// Runs a program and returns what it printed.
fn command(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", arguments.join(" "), complaint.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("read what {program} printed"))
}
