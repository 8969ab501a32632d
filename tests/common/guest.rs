//! A kernel of the test's own, with a device mapper: User-Mode Linux (`tests/uml/boot`).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::disk::run;
use super::isolated::FIGURE;

/// Set in the guest.
const INSIDE: &str = "BERTH_TEST_GUEST";

/// Whether this process runs in a guest.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the test `name` of this program once more, in a guest whose disks are the images in
/// `directory`.
pub fn boot(name: &str, directory: &Path) {
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/uml/boot"))
        .arg(directory)
        .arg(std::env::current_exe().expect("test binary"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("tests/uml/boot");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("1 passed"),
        "{name} failed in its guest\n{shown}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // The first one stands behind the name of the test.
    for figure in shown.lines().filter_map(|line| line.find(FIGURE).map(|at| &line[at..])) {
        eprintln!("{figure}");
    }
}

/// A device of the guest's device mapper; dropping it removes it.
#[derive(Debug)]
pub struct Mapped {
    name: String,
}

impl Mapped {
    /// Makes the device `name`, all of whose sectors follow `target` (its name and arguments).
    pub fn new(name: &str, sectors: u64, target: &str) -> Self {
        let table = format!("0 {sectors} {target}");
        dmsetup(&["create", name, "--table", &table]);
        dmsetup(&["mknodes"]);
        Self { name: name.to_owned() }
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/dev/mapper").join(&self.name)
    }

    /// Puts another target in place, without a moment in which file systems could come to rest.
    pub fn become_target(&self, sectors: u64, target: &str) {
        let table = format!("0 {sectors} {target}");
        dmsetup(&["suspend", "--nolockfs", &self.name]);
        dmsetup(&["load", &self.name, "--table", &table]);
        dmsetup(&["resume", &self.name]);
    }

    /// Whether anything has it open, a file system for example.
    pub fn is_open(&self) -> bool {
        let mut command = Command::new("dmsetup");
        command.args(["info", "--columns", "--noheadings", "-o", "open", &self.name]);
        let output = command.output().expect("dmsetup");
        String::from_utf8_lossy(&output.stdout).trim() != "0"
    }

    /// Sends the words of a message to the target.
    pub fn message(&self, words: &[&str]) {
        dmsetup(&[&["message", &self.name, "0"], words].concat());
    }

    /// Mounts the file system on it at `path`, which is made if need be.
    pub fn mount(&self, path: &Path) {
        std::fs::create_dir_all(path).expect("mount point");
        run(Command::new("mount").arg(self.path()).arg(path));
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // The guest ends soon; what is still in use then goes with it.
        let mut command = Command::new("dmsetup");
        let _ = command.args(["remove", "--noudevsync", &self.name]).output();
    }
}

fn dmsetup(arguments: &[&str]) {
    let [command, rest @ ..] = arguments else {
        unreachable!("dmsetup has a command");
    };
    run(Command::new("dmsetup").arg(command).arg("--noudevsync").args(rest));
}

/// The sectors of 512 bytes that a disk has.
pub fn sectors(device: &str) -> u64 {
    let size = format!("/sys/class/block/{device}/size");
    let text = std::fs::read_to_string(size).expect("a block device");
    text.trim().parse().expect("a number")
}
