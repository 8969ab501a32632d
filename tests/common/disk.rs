//! Real file systems on loop devices.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file systems that Berth is tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filesystem {
    Ext4,
    Xfs,
    Btrfs,
}

impl Filesystem {
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    fn mkfs(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["mkfs.ext4", "-q", "-F"],
            Self::Xfs => &["mkfs.xfs", "-q", "-f"],
            Self::Btrfs => &["mkfs.btrfs", "-q", "-f"],
        }
    }

    /// Makes a new file system on a device.
    pub fn make_on(self, device: &Path) {
        let [program, flags @ ..] = self.mkfs() else {
            unreachable!("every file system names its mkfs");
        };
        run(Command::new(program).args(flags).arg(device));
    }

    /// The smallest size that its mkfs takes.
    pub fn smallest_mib(self) -> u64 {
        match self {
            Self::Ext4 => 16,
            Self::Xfs => 300,
            Self::Btrfs => 114,
        }
    }
}

/// An image file with a file system. Mounts of it go with the test's mount namespace, and with
/// them the loop device.
#[derive(Debug)]
pub struct Disk {
    pub filesystem: Filesystem,
    image: PathBuf,
}

impl Disk {
    /// Makes `directory/name.img` of `mib` MiB, sparse, with a new file system.
    pub fn make(directory: &Path, name: &str, filesystem: Filesystem, mib: u64) -> Self {
        Self::make_with(directory, name, filesystem, mib, &[])
    }

    /// Like [`Disk::make`], with further flags for mkfs.
    pub fn make_with(directory: &Path, name: &str, filesystem: Filesystem, mib: u64, further: &[&str]) -> Self {
        let image = directory.join(format!("{name}.img"));
        let file = File::create(&image).expect("image");
        file.set_len(mib << 20).expect("size");
        let [program, flags @ ..] = filesystem.mkfs() else {
            unreachable!("every file system names its mkfs");
        };
        run(Command::new(program).args(flags).args(further).arg(&image));
        Self { filesystem, image }
    }

    pub fn filesystem(&self) -> Filesystem {
        self.filesystem
    }

    /// A disk that holds what this one holds at the moment, without what was not written to it yet.
    /// Its image is beside this one's.
    pub fn copy(&self, name: &str) -> Self {
        let image = self.image.with_file_name(format!("{name}.img"));
        run(Command::new("cp").arg("--sparse=always").args([&self.image, &image]));
        Self {
            filesystem: self.filesystem,
            image,
        }
    }

    /// The disk itself, to read and to write.
    pub fn open(&self) -> File {
        File::options().read(true).write(true).open(&self.image).expect("image")
    }

    /// Mounts it at `path` from a loop device of its own, as a disk that was plugged in again.
    pub fn mount_anew(&self, path: &Path, options: &str) {
        let output = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&self.image)
            .output();
        let device = String::from_utf8(output.expect("losetup").stdout).expect("a device");
        let mut mount = Command::new("mount");
        mount.args(["-o", options, device.trim()]).arg(path);
        run(&mut mount);
        // From now on the loop device goes with the last mount.
        run(Command::new("losetup").args(["--detach", device.trim()]));
    }

    /// Mounts it at `path`, which is made if need be.
    pub fn mount(&self, path: &Path, options: &str) {
        std::fs::create_dir_all(path).expect("mount point");
        let mut options = format!("loop,{options}");
        if self.filesystem == Filesystem::Btrfs {
            // The kernel remembers the newest copy of a disk and refuses older ones.
            run(Command::new("btrfs").args(["device", "scan", "--forget"]));
            // What was deleted is free after the next commit, which is 30 s away unless it is told.
            options.push_str(",commit=1");
        }
        let options = options.replace(",,", ",");
        let options = options.trim_end_matches(',');
        run(Command::new("mount").arg("-o").arg(options).arg(&self.image).arg(path));
    }
}

/// Unmounts `path`.
pub fn unmount(path: &Path) {
    run(Command::new("umount").arg(path));
}

/// Takes `path` out of the mount table, whoever still uses what is mounted there.
pub fn unmount_lazily(path: &Path) {
    run(Command::new("umount").arg("--lazy").arg(path));
}

/// Ends the file system mounted at `path` as a power cut does (XFS and ext4): nothing that was not
/// synced gets to the disk, but for the journal if `flush` says so, and every call fails from here.
pub fn shut_down(path: &Path, flush: bool) {
    let command = if flush { "shutdown -f" } else { "shutdown" };
    run(Command::new("xfs_io").args(["-x", "-c", command]).arg(path));
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// How often something is mounted at `path` in this namespace.
pub fn mount_depth(path: &Path) -> usize {
    mount_lines("self", path).len()
}

/// The lines about `path` in the mountinfo of a process.
pub fn mount_lines(pid: &str, path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mountinfo");
    let path = path.to_str().expect("plain path");
    let about = |line: &&str| line.split(' ').nth(4) == Some(path);
    text.lines().filter(about).map(str::to_owned).collect()
}

/// The mount points beneath `path`, those that were mounted last first.
pub fn mounts_beneath(path: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let points = text.lines().rev().filter_map(|line| line.split(' ').nth(4));
    points
        .map(PathBuf::from)
        .filter(|point| point.starts_with(path))
        .collect()
}

/// The options of the only mount at `path` that are its own, not the file system's.
pub fn mount_options(path: &Path) -> Vec<String> {
    let lines = mount_lines("self", path);
    let [line] = lines.as_slice() else {
        panic!("{} mounts at {}", lines.len(), path.display());
    };
    let options = line.split(' ').nth(5).expect("mountinfo has options");
    options.split(',').map(str::to_owned).collect()
}

/// The names in a directory.
pub fn names(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    entries.map(|entry| name(entry).into_string().expect("UTF-8")).collect()
}

/// Everything beneath `path` on its file system, with what a change would change.
pub fn tree(path: &Path) -> String {
    let output = Command::new("find")
        .arg(path)
        .args(["-xdev", "-printf", "%P %y %m %s %C@ %l\n"])
        .output()
        .expect("find");
    assert!(output.status.success(), "find {}", path.display());
    String::from_utf8(output.stdout).expect("plain names")
}
