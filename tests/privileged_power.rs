//! Power cuts: what was acknowledged is there afterwards, on disks that lose all that was not synced.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::disk::{shut_down, unmount};
use common::requests::{MIB, create_with};
use common::{Clients, Filesystem, Node, eventually, on_every_filesystem, on_filesystems};
use tokio::task::JoinSet;
use tonic::Status;

/// Callers at the same time.
const CALLERS: usize = 8;
/// Power cuts on each file system, with and without the journal that is in memory.
const CYCLES: u32 = 3;
/// Copies taken on each file system: after a creation, two kinds of deletions, a return, and again.
const COPIES: u32 = 6;

/// What was acknowledged of a volume.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    /// It is there.
    Created,
    /// It is there, and what the test wrote and synced.
    Written,
    /// It is deleted.
    Deleted,
    /// It is deleted, and the trash keeps what the test wrote.
    InTrash,
    /// A call about it was not answered: both are right.
    Unknown,
}

#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    known: BTreeMap<String, Known>,
    cut: bool,
}

impl Ledger {
    /// Notes an answer. One that comes after the power was cut is none that anybody could have
    /// got: while XFS shuts down, fsync(2) may succeed and nothing be synced.
    fn note(&self, id: &str, known: Known) {
        let mut entries = self.0.lock().unwrap();
        let known = if entries.cut { Known::Unknown } else { known };
        entries.known.insert(id.to_owned(), known);
    }

    fn with(&self, wanted: Known) -> Vec<String> {
        let entries = self.0.lock().unwrap();
        let ids = entries.known.iter().filter(|(_, known)| **known == wanted);
        ids.map(|(id, _)| id.clone()).collect()
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().known.len()
    }

    fn cut(&self, cut: bool) {
        self.0.lock().unwrap().cut = cut;
    }
}

#[test]
fn privileged_what_was_acknowledged_survives_a_power_cut() {
    let name = "privileged_what_was_acknowledged_survives_a_power_cut";
    on_filesystems(name, &[Filesystem::Xfs, Filesystem::Ext4], async |node| {
        let node = Arc::new(node);
        let ledger = Ledger::default();
        for cycle in 0..CYCLES {
            for flush in [false, true] {
                let agent = node.agent().await;
                let clients = agent.clients().await;
                let mut callers = JoinSet::new();
                for caller in 0..CALLERS {
                    let (node, clients, ledger) = (node.clone(), clients.clone(), ledger.clone());
                    let name = format!("{cycle}-{flush}-{caller}");
                    callers.spawn(async move { call(&node, &clients, &ledger, &name, u32::MAX).await });
                }
                let before = ledger.count();
                eventually("calls are answered", async || ledger.count() > before + 40).await;
                tokio::time::sleep(Duration::from_millis(u64::from(cycle) * 7)).await;
                ledger.cut(true);
                shut_down(&node.pool(), flush);
                while let Some(ended) = callers.join_next().await {
                    ended.unwrap();
                }
                drop(agent);
                ledger.cut(false);
                unmount(&node.pool());
                node.disk.mount(&node.pool(), "");
                let agent = node.agent_with(&[]).await;
                check(&node, &agent.clients().await, &ledger).await;
            }
        }
    });
}

/// Copies the disk as it is at a moment when every call has been answered. This is what a power cut
/// leaves at that moment, on btrfs too, which has no other way to be cut.
#[test]
fn privileged_what_was_acknowledged_is_on_the_disk() {
    let name = "privileged_what_was_acknowledged_is_on_the_disk";
    on_every_filesystem(name, async |node| {
        let mut node = node;
        for last in 0..COPIES {
            let ledger = Ledger::default();
            let agent = node.agent().await;
            let clients = agent.clients().await;
            call(&node, &clients, &ledger, &last.to_string(), last + 1).await;
            let copy = node.disk.copy(&format!("after-{last}"));
            drop(agent);
            unmount(&node.pool());
            node.disk = copy;
            node.disk.mount(&node.pool(), "");
            let agent = node.agent_with(&[]).await;
            check(&node, &agent.clients().await, &ledger).await;
        }
    });
}

/// Makes calls about `volumes` volumes, or until one of them fails.
async fn call(node: &Node, clients: &Clients, ledger: &Ledger, name: &str, volumes: u32) {
    for number in 0..volumes {
        let name = format!("{name}-{number}");
        let done = match number % 4 {
            // Nothing is synced here that could carry the new directory along.
            0 => create(clients, ledger, &name, "0").await.map(|_| ()),
            1 => live_and_die(node, clients, ledger, &name, "0").await.map(|_| ()),
            2 => live_and_die(node, clients, ledger, &name, "1h").await.map(|_| ()),
            _ => live_die_and_live(node, clients, ledger, &name).await,
        };
        if done.is_err() {
            return;
        }
    }
}

/// Makes a volume for a claim.
async fn create(clients: &Clients, ledger: &Ledger, name: &str, retention: &str) -> Result<String, Status> {
    let parameters = [
        ("csi.storage.k8s.io/pvc/namespace", "power"),
        ("csi.storage.k8s.io/pvc/name", name),
        ("berth.dev/trash-retention", retention),
    ];
    let id = clients.create_from(create_with(name, MIB / 64, &parameters)).await?;
    ledger.note(&id, Known::Created);
    Ok(id)
}

async fn live_and_die(
    node: &Node,
    clients: &Clients,
    ledger: &Ledger,
    name: &str,
    retention: &str,
) -> Result<String, Status> {
    let id = create(clients, ledger, name, retention).await?;
    let written = write(node, &id).is_ok();
    ledger.note(&id, Known::Unknown);
    clients.delete(&id).await?;
    let kept = retention != "0" && written;
    ledger.note(&id, if kept { Known::InTrash } else { Known::Deleted });
    Ok(id)
}

async fn live_die_and_live(node: &Node, clients: &Clients, ledger: &Ledger, name: &str) -> Result<(), Status> {
    let id = live_and_die(node, clients, ledger, name, "1h").await?;
    let written = ledger.with(Known::InTrash).contains(&id);
    ledger.note(&id, Known::Unknown);
    // Somebody else's sync in between: now the data is in the trash for good.
    let _ = File::open(node.pool()).map(nix::unistd::syncfs);
    clients.undelete(&id).await?;
    ledger.note(&id, if written { Known::Written } else { Known::Created });
    Ok(())
}

/// What a database does before it says "committed".
fn write(node: &Node, id: &str) -> std::io::Result<()> {
    let directory = node.volume(id);
    let mut file = File::create(directory.join("data"))?;
    file.write_all(id.as_bytes())?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}

async fn check(node: &Node, clients: &Clients, ledger: &Ledger) {
    let listed = clients.list().await.unwrap();
    let written = ledger.with(Known::Written);
    for id in ledger.with(Known::Created).iter().chain(&written) {
        assert!(listed.contains(id), "{id} was created and is gone");
        assert!(node.volume(id).is_dir(), "{id} has no directory");
    }
    for id in &written {
        let data = std::fs::read(node.volume(id).join("data"));
        assert_eq!(data.expect("synced data"), id.as_bytes(), "{id}");
    }
    let in_trash = ledger.with(Known::InTrash);
    for id in ledger.with(Known::Deleted).iter().chain(&in_trash) {
        assert!(!listed.contains(id), "{id} was deleted and is back");
        assert!(!node.volume(id).exists(), "{id} was deleted and its directory is back");
    }
    for id in &in_trash {
        let data = std::fs::read(node.trash(id).join("data"));
        assert_eq!(data.expect("the trash keeps it"), id.as_bytes(), "{id}");
    }
    let findings = clients.diagnose().await;
    assert!(findings.is_empty(), "{findings:?}");
    check_links(node, clients).await;
    eventually("the trash gives up what it is not to keep", async || {
        ledger.with(Known::Deleted).iter().all(|id| !node.trash(id).exists())
    })
    .await;
}

/// Every claim's link leads to its volume, and there is none of a claim without one.
async fn check_links(node: &Node, clients: &Clients) {
    let summaries = clients.summaries().await.unwrap();
    let active = summaries.iter().filter(|summary| summary.state != "Deleted");
    let expected: BTreeMap<_, _> = active
        .map(|summary| (summary.claim.clone(), summary.volume_id.clone()))
        .collect();
    let links = std::fs::read_dir(node.pool().join("by-claim/power"));
    let found: BTreeMap<_, _> = links
        .into_iter()
        .flatten()
        .map(|link| {
            let path = link.unwrap().path();
            let target = std::fs::read_link(&path).unwrap();
            let [claim, id] = [&path, &target].map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
            (format!("power/{claim}"), id)
        })
        .collect();
    assert_eq!(found, expected);
}
