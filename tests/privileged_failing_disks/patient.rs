//! A disk with a pool on it that a test can make ill.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::common::disk::{run, unmount_lazily};
use super::common::guest::{self, Mapped};
use super::common::{Agent, Clients, Filesystem, eventually, isolated};

/// The guest's disks: one for each file system, and one that nothing happens to.
const DISKS: [&str; 4] = ["ubda", "ubdb", "ubdc", "ubdd"];
const MIB: u64 = 320;

/// Runs `body` in a guest, at the same time on each of `filesystems`.
pub fn at_once(name: &str, filesystems: &[Filesystem], body: impl AsyncFn(Patient) + Sync) {
    if !guest::is_inside() {
        return isolated(name, async {
            let home = tempfile::tempdir().unwrap();
            for disk in DISKS {
                let image = File::create(home.path().join(format!("{disk}.img"))).unwrap();
                image.set_len(MIB << 20).unwrap();
            }
            guest::boot(name, home.path());
        });
    }
    // Each has a thread: a system call that waits for one disk holds up nobody else.
    std::thread::scope(|scope| {
        for (filesystem, disk) in filesystems.iter().zip(DISKS) {
            let body = &body;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
                runtime
                    .expect("runtime")
                    .block_on(body(Patient::new(*filesystem, disk)));
            });
        }
    });
}

/// A pool on the disk that nothing happens to.
pub fn sound() -> Patient {
    Patient::new(Filesystem::Ext4, DISKS[3])
}

pub struct Patient {
    pub filesystem: Filesystem,
    device: Mapped,
    disk: &'static str,
    home: TempDir,
}

impl Patient {
    fn new(filesystem: Filesystem, disk: &'static str) -> Self {
        filesystem.make_on(&Path::new("/dev").join(disk));
        let patient = Self {
            filesystem,
            device: Mapped::new(
                &format!("pool-{disk}"),
                guest::sectors(disk),
                &format!("linear /dev/{disk} 0"),
            ),
            disk,
            home: tempfile::tempdir().unwrap(),
        };
        patient.mount();
        patient
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn pool(&self) -> PathBuf {
        self.home().join("pool")
    }

    pub async fn agent(&self) -> Agent {
        Agent::start(self.home(), &self.pool()).await
    }

    /// Puts a target of the device mapper in place of the sound one; `{}` in it is the disk. The disk
    /// is ill until what this returns is dropped: an agent that is told to end on a disk that hangs
    /// would never do.
    #[must_use]
    pub fn fall_ill(&self, target: &str) -> Illness<'_> {
        self.become_target(target);
        Illness(self)
    }

    fn become_target(&self, target: &str) {
        let target = target.replace("{}", &format!("/dev/{}", self.disk));
        self.device.become_target(guest::sectors(self.disk), &target);
    }

    pub fn message(&self, words: &[&str]) {
        self.device.message(words);
    }

    pub fn mount(&self) {
        self.device.mount(&self.pool());
    }

    /// Unmounts and mounts, while no agent runs: what the kernel had read of the disk it has to read again.
    pub fn forget(&self) {
        nix::mount::umount(&self.pool()).expect("nobody uses it");
        run(Command::new("blockdev").arg("--flushbufs").arg(self.device.path()));
        self.mount();
    }

    /// As a person does it after a disk failed, under an agent that runs: unmount and mount.
    pub async fn mount_again(&self, clients: &Clients) {
        unmount_lazily(&self.pool());
        eventually("the agent lets go of the disk", async || clients.list().await.is_err()).await;
        // The last descriptor may be that of a thread that is about to end.
        eventually("nobody holds the device", async || !self.device.is_open()).await;
        run(Command::new("blockdev").arg("--flushbufs").arg(self.device.path()));
        self.mount();
        eventually("the agent takes up the pool", async || clients.ready().await).await;
    }
}

/// As long as it lasts.
pub struct Illness<'a>(&'a Patient);

impl Drop for Illness<'_> {
    fn drop(&mut self) {
        self.0.become_target("linear {} 0");
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home().join("agent.log"));
            eprintln!("the agents' log on {:?}:\n{}", self.filesystem, log.unwrap_or_default());
        }
        let _ = nix::mount::umount2(&self.pool(), nix::mount::MntFlags::MNT_DETACH);
    }
}
