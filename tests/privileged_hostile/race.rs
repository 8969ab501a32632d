//! Components of paths that turn into symbolic links and back, as fast as the kernel can, while calls go
//! through them: whatever is looked at first and used later is caught in between.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::mount::{MntFlags, umount2};

use super::canary::Canary;
use super::common::disk::mounts_beneath;
use super::common::requests::create_with;
use super::common::{Filesystem, Node, on_filesystems};
use super::{from_environment, soon};

const CLAIM: [(&str, &str); 3] = [
    ("csi.storage.k8s.io/pvc/namespace", "shop"),
    ("csi.storage.k8s.io/pvc/name", "data"),
    ("berth.dev/trash-retention", "1h"),
];

/// What is swapped in the pool, `ID` being a volume's.
const POOL: [&str; 5] = [
    "volumes/ID",
    ".berth/trash/ID",
    "by-claim/shop",
    "volumes",
    ".berth/trash",
];

/// How long all the races of a test last.
fn time() -> Duration {
    Duration::from_secs(from_environment("BERTH_TEST_SECONDS", 3))
}

#[test]
fn privileged_a_component_of_a_target_that_turns_into_a_link_and_back_leads_nowhere() {
    let name = "race::privileged_a_component_of_a_target_that_turns_into_a_link_and_back_leads_nowhere";
    on_filesystems(name, &[Filesystem::Xfs], async |node| {
        let mut canary = Canary::new(node.home().join("canary"));
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let id = clients.create("pod").await.unwrap();
        let staging = agent.kubelet("stage/globalmount");
        std::fs::create_dir_all(&staging).unwrap();
        clients.stage(&id, &staging).await.unwrap();
        let beneath = ["pods", "pod", "volumes", "mount"];
        let target: PathBuf = agent.kubelet(&beneath.join("/"));
        let (mut calls, mut served, mut swaps) = (0, 0, 0);
        for depth in 1..=beneath.len() {
            let component = agent.kubelet(&beneath[..depth].join("/"));
            std::fs::create_dir_all(&target).unwrap();
            std::fs::create_dir_all(canary.path().join(beneath.join("/"))).unwrap();
            canary.sings();
            let swapper = Swapper::start(&component, &canary.path().join(beneath[..depth].join("/")));
            let end = Instant::now() + time() / beneath.len() as u32;
            while Instant::now() < end {
                for answer in [
                    soon("publish", clients.publish(&id, &staging, &target)).await,
                    soon("stage", clients.stage(&id, &target)).await,
                    soon("stats", clients.stats(&id, &target)).await.map(drop),
                    soon("unpublish", clients.unpublish(&id, &target)).await,
                    soon("unstage", clients.unstage(&id, &target)).await,
                ] {
                    calls += 1;
                    served += u64::from(answer.is_ok());
                }
            }
            swaps += swapper.stop();
            canary.check(&component);
            // A directory may have been moved with what was mounted in it.
            for point in mounts_beneath(&agent.kubelet("pods")) {
                umount2(&point, MntFlags::MNT_DETACH).unwrap();
            }
            std::fs::remove_dir_all(agent.kubelet("pods")).unwrap();
        }
        assert!(!agent.log().contains("panicked"), "{}", agent.log());
        assert!(
            served > 0 && served < calls && swaps > 1000,
            "{served} of {calls} served, {swaps} swaps"
        );
        super::common::isolated::figure(&format!("{swaps} swaps, {calls} calls, {served} of them served"));
    });
}

#[test]
fn privileged_a_component_of_the_pool_that_turns_into_a_link_and_back_leads_nowhere() {
    let name = "race::privileged_a_component_of_the_pool_that_turns_into_a_link_and_back_leads_nowhere";
    on_filesystems(name, &[Filesystem::Xfs], async |node| {
        let mut canary = Canary::new(node.home().join("canary"));
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let staging = agent.kubelet("stage/globalmount");
        std::fs::create_dir_all(&staging).unwrap();
        let (mut calls, mut served, mut swaps) = (0, 0, 0);
        for at in POOL {
            let request = || create_with(at, 1 << 20, &CLAIM);
            let id = clients.create_from(request()).await.unwrap();
            std::fs::create_dir_all(node.volume(&id).join("a/b/c")).unwrap();
            std::fs::write(node.volume(&id).join("a/b/file"), "data").unwrap();
            let component = node.pool().join(at.replace("ID", &id));
            let decoy = canary.path().join(at.replace('/', "-"));
            std::fs::create_dir_all(decoy.join(&id)).unwrap();
            std::fs::write(decoy.join(&id).join("file"), "sings").unwrap();
            canary.sings();
            let swapper = Swapper::start(&component, &decoy);
            let end = Instant::now() + time() / POOL.len() as u32;
            while Instant::now() < end {
                for answer in [
                    soon("stage", clients.stage(&id, &staging)).await,
                    soon("unstage", clients.unstage(&id, &staging)).await,
                    soon("delete", clients.delete(&id)).await,
                    soon("summaries", clients.summaries()).await.map(drop),
                    soon("undelete", clients.undelete(&id)).await.map(drop),
                    soon("create", clients.create_from(request())).await.map(drop),
                ] {
                    calls += 1;
                    served += u64::from(answer.is_ok());
                }
                // What a purge goes through is swapped too.
                if let Ok(short) = soon("create", clients.create("short")).await {
                    let _ = soon("delete", clients.delete(&short)).await;
                }
                mend(&node, &id);
            }
            swaps += swapper.stop();
            canary.check(&component);
        }
        assert!(!agent.log().contains("panicked"), "{}", agent.log());
        assert!(
            served > 0 && served < calls && swaps > 1000,
            "{served} of {calls} served, {swaps} swaps"
        );
        super::common::isolated::figure(&format!("{swaps} swaps, {calls} calls, {served} of them served"));
    });
}

/// Brings the volume back when it was the link that was moved in its stead, so that the race goes on.
fn mend(node: &Node, id: &str) {
    if !node.volume(id).is_symlink() {
        return;
    }
    for place in [node.trash("other"), node.volume("other")] {
        if place.is_dir() && !place.is_symlink() {
            // Either may fail while things are swapped; the next round tries again.
            let _ = std::fs::remove_file(node.volume(id)).and_then(|()| std::fs::rename(place, node.volume(id)));
            return;
        }
    }
}

/// Swaps a directory with a link to another one, over and over (rename(2) with RENAME_EXCHANGE).
struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
    path: PathBuf,
    other: PathBuf,
}

impl Swapper {
    fn start(path: &Path, target: &Path) -> Self {
        let other = path.with_file_name("other");
        let _ = std::fs::remove_file(&other);
        symlink(target, &other).unwrap();
        let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = std::thread::spawn({
            let (stop, swaps, path, other) = (stop.clone(), swaps.clone(), path.to_owned(), other.clone());
            let target = target.to_owned();
            move || {
                while !stop.load(Ordering::Relaxed) {
                    // That fails while something is mounted on it, and while the agent has moved one of them.
                    match exchange(&path, &other) {
                        Ok(()) => swaps.fetch_add(1, Ordering::Relaxed),
                        Err(_) => symlink(&target, &other).is_ok().into(),
                    };
                }
            }
        });
        Self {
            stop,
            swaps,
            thread,
            path: path.to_owned(),
            other,
        }
    }

    /// Stops with the directory in its place, if it is still there, and says how often it was swapped.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        if self.path.is_symlink() && self.other.is_dir() && !self.other.is_symlink() {
            // What is mounted on it keeps it where it is.
            while umount2(&self.other, MntFlags::MNT_DETACH).is_ok() {}
            exchange(&self.path, &self.other).unwrap();
        }
        for path in [&self.path, &self.other] {
            if path.is_symlink() {
                std::fs::remove_file(path).unwrap();
            }
        }
        self.swaps.load(Ordering::Relaxed)
    }
}

fn exchange(path: &Path, other: &Path) -> nix::Result<()> {
    renameat2(AT_FDCWD, path, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE)
}
