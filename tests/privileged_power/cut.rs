//! Power cuts while calls run, and copies of the disk taken when all are answered.

use std::time::Duration;

use tokio::task::JoinSet;

use super::check::check;
use super::client::{Client, Journal};
use super::common::disk::{shut_down, unmount};
use super::common::isolated::figure;
use super::common::{Filesystem, eventually, on_every_filesystem, on_filesystems};
use super::plan;

/// Callers at the same time.
const CALLERS: u32 = 8;
/// Power cuts on each file system, with and without the journal that is in memory.
const CYCLES: u32 = 3;
/// How many numbers a caller has for itself.
const SHARE: u32 = 10_000;

#[test]
fn privileged_what_was_acknowledged_survives_a_power_cut() {
    let name = "cut::privileged_what_was_acknowledged_survives_a_power_cut";
    on_filesystems(name, &[Filesystem::Xfs, Filesystem::Ext4], async |node| {
        let journal = Journal::default();
        for cycle in 0..CYCLES {
            for (half, flush) in [false, true].into_iter().enumerate() {
                let agent = node.agent().await;
                let client = Client::new(&agent, &node.pool(), &journal).await;
                let mut callers = JoinSet::new();
                for caller in 0..CALLERS {
                    let client = client.clone();
                    let first = ((cycle * 2 + half as u32) * CALLERS + caller) * SHARE;
                    callers.spawn(async move {
                        let mut numbers = first..first + SHARE;
                        while client.live(numbers.next().unwrap()).await.is_ok() {}
                    });
                }
                let before = journal.ledger().volumes.len();
                eventually("calls are answered", async || {
                    journal.ledger().volumes.len() > before + 20
                })
                .await;
                tokio::time::sleep(Duration::from_millis(u64::from(cycle) * 7)).await;
                journal.cut(true);
                shut_down(&node.pool(), flush);
                while let Some(ended) = callers.join_next().await {
                    ended.unwrap();
                }
                drop(agent);
                journal.cut(false);
                unmount(&node.pool());
                node.disk.mount(&node.pool(), "");
                let agent = node.agent_with(&[]).await;
                check(&node, &agent, &journal).await;
            }
        }
        figure(&format!(
            "{} power cuts under load: {} volumes",
            CYCLES * 2,
            journal.ledger().volumes.len()
        ));
    });
}

/// Copies the disk as it is at a moment when every call has been answered. This is what a power cut
/// leaves at that moment on a disk without a cache, on btrfs too, which has no other way to be cut.
#[test]
fn privileged_what_was_acknowledged_is_on_the_disk() {
    let name = "cut::privileged_what_was_acknowledged_is_on_the_disk";
    on_every_filesystem(name, async |node| {
        let mut node = node;
        let journal = Journal::default();
        for last in 0..plan::KINDS {
            let agent = node.agent().await;
            Client::new(&agent, &node.pool(), &journal)
                .await
                .live(last)
                .await
                .unwrap();
            let copy = node.disk.copy(&format!("after-{last}"));
            drop(agent);
            unmount(&node.pool());
            node.disk = copy;
            node.disk.mount(&node.pool(), "");
            let agent = node.agent_with(&[]).await;
            check(&node, &agent, &journal).await;
        }
    });
}
