//! Every state that a power cut may leave: a workload runs on a disk that logs what is done to it, and
//! then an agent is started on every prefix of the log.
//!
//! The workload runs in a guest (User-Mode Linux), because the device mapper is there; prefixes are
//! mounted by this machine's kernel. Beside each prefix stands one in which of the writes that the
//! next flush would have made durable a random part got to the disk, one of them torn. The seed is
//! told by a failure, `BERTH_TEST_SEED` sets another; `BERTH_POWER_VOLUMES` makes the workload longer.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::check::check;
use super::client::{Client, Journal};
use super::common::disk::unmount;
use super::common::guest::{self, Mapped};
use super::common::isolated::figure;
use super::common::random::Random;
use super::common::{Agent, Disk, Filesystem, Node, isolated};
use super::ledger::{Call, Ledger};
use super::log::{Entry, Extent, Log};
use super::plan;

/// Callers at the same time, after one that is alone.
const CALLERS: u32 = 3;
/// Sectors in 4 KiB.
const PAGE: u64 = 8;
/// Room for what is written to the disk.
const LOG_MIB: u64 = 4096;

#[test]
fn privileged_every_state_that_a_power_cut_leaves_of_xfs_holds() {
    let name = "recorded::privileged_every_state_that_a_power_cut_leaves_of_xfs_holds";
    every_state_holds(name, Filesystem::Xfs);
}

#[test]
fn privileged_every_state_that_a_power_cut_leaves_of_ext4_holds() {
    let name = "recorded::privileged_every_state_that_a_power_cut_leaves_of_ext4_holds";
    every_state_holds(name, Filesystem::Ext4);
}

#[test]
fn privileged_every_state_that_a_power_cut_leaves_of_btrfs_holds() {
    let name = "recorded::privileged_every_state_that_a_power_cut_leaves_of_btrfs_holds";
    every_state_holds(name, Filesystem::Btrfs);
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn every_state_holds(name: &str, filesystem: Filesystem) {
    if guest::is_inside() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        return runtime.expect("runtime").block_on(record());
    }
    isolated(name, async {
        let home = tempfile::tempdir().unwrap();
        let disk = Disk::make(home.path(), "disk", filesystem, filesystem.smallest_mib().max(64));
        let (guest, log) = (home.path().join("guest"), home.path().join("guest/b-log.img"));
        std::fs::create_dir(&guest).unwrap();
        disk.copy("guest/a-disk");
        File::create(&log).unwrap().set_len(LOG_MIB << 20).unwrap();
        let since = Instant::now();
        guest::boot(name, &guest);
        eprintln!("{filesystem:?}: recorded in {:?}", since.elapsed());
        Replay::new(Log::read(&log), &disk, number("BERTH_TEST_SEED", 0xbe47))
            .run()
            .await;
    });
}

/// In the guest: a workload of every call that changes a pool, with marks in the disk's log.
async fn record() {
    let sectors = guest::sectors("ubda");
    let device = Mapped::new("pool", sectors, "log-writes /dev/ubda /dev/ubdb");
    let device = Arc::new(device);
    let home = tempfile::tempdir().unwrap();
    let pool = home.path().join("pool");
    device.mount(&pool);
    let journal = Journal::in_log(device.clone());
    let agent = Agent::start_with(home.path(), &pool, &["--init-pool"]).await;
    journal.done(Call::Init, 0);
    let client = Client::new(&agent, &pool, &journal).await.with_pods(&agent);
    for number in 0..plan::KINDS {
        client.live(number).await.unwrap();
    }
    agent.kill();
    // What was done at its start by the first agent, the next one has to do too.
    let agent = Agent::start_with(home.path(), &pool, &[]).await;
    let client = Client::new(&agent, &pool, &journal).await.with_pods(&agent);
    let mut callers = JoinSet::new();
    let each = number("BERTH_POWER_VOLUMES", 2) as u32;
    for caller in 0..CALLERS {
        let client = client.clone();
        callers.spawn(async move {
            let first = plan::KINDS + caller * each;
            for number in first..first + each {
                client.live(number + caller).await.unwrap();
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    drop(agent);
    unmount(&pool);
}

/// Goes through a log, prefix by prefix.
struct Replay {
    log: Log,
    disk: Disk,
    content: File,
    node: Node,
    ledger: Ledger,
    random: Random,
    seed: u64,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    prefixes: u32,
    torn: u32,
    acknowledged: u32,
}

impl Replay {
    fn new(log: Log, disk: &Disk, seed: u64) -> Self {
        // Without what mkfs filled with zeros.
        let disk = disk.copy("content");
        Self {
            log,
            content: disk.open(),
            node: Node::unmounted(disk.copy("now")),
            disk,
            ledger: Ledger::default(),
            random: Random::new(seed),
            seed,
            counts: Counts::default(),
        }
    }

    async fn run(mut self) {
        let since = Instant::now();
        let entries = self.log.entries.clone();
        let mut changed = false;
        for (at, entry) in entries.iter().enumerate() {
            self.log.apply(entry, &self.content);
            let is_state = match entry {
                Entry::Mark(mark) if mark.contains(':') => {
                    self.ledger.read(mark);
                    // When a call begins, the disk is what it was, and more is allowed than before.
                    mark.starts_with("done")
                }
                Entry::Mark(_) => false,
                Entry::Write(_) | Entry::Discard(_) => {
                    changed = true;
                    false
                }
                Entry::DurableWrite(_) => true,
                Entry::Flush => std::mem::take(&mut changed),
            };
            if !is_state {
                continue;
            }
            self.counts.prefixes += 1;
            self.counts.acknowledged += u32::from(matches!(entry, Entry::Mark(_)));
            self.holds(at, &[]).await;
            let torn = self.part_of(unflushed(&entries[at + 1..]));
            if !torn.is_empty() {
                self.counts.torn += 1;
                self.holds(at, &torn).await;
            }
        }
        assert!(!self.ledger.is_waiting(), "the log ends before the workload");
        let Counts {
            prefixes,
            torn,
            acknowledged,
        } = self.counts;
        figure(&format!(
            "{:?}: {prefixes} prefixes of what a disk was told ({acknowledged} of them end with an answer) and {torn} with a \
             part of the next writes, in {:?}",
            self.node.filesystem,
            since.elapsed()
        ));
    }

    /// Starts an agent on the disk as it would be if the power had gone after the entry `at`, and
    /// the writes of `more` had got to it as well.
    async fn holds(&mut self, at: usize, more: &[Extent]) {
        let place = Place {
            what: format!(
                "entry {at} of the log and {} more writes, BERTH_TEST_SEED={}",
                more.len(),
                self.seed
            ),
        };
        self.node.disk = self.disk.copy("now");
        let content = self.node.disk.open();
        for extent in more {
            self.log.write(*extent, &content);
        }
        drop(content);
        self.node.disk.mount(&self.node.pool(), "");
        let flags: &[&str] = if self.ledger.made { &[] } else { &["--init-pool"] };
        let agent = self.node.agent_with(flags).await;
        check(&self.node, &agent, &Journal::of(self.ledger.clone())).await;
        drop(agent);
        unmount(&self.node.pool());
        std::mem::forget(place);
    }

    /// Some of the writes, the last of them not to its end. File systems take for granted that a
    /// disk writes 4 KiB at once.
    fn part_of(&mut self, writes: Vec<Extent>) -> Vec<Extent> {
        let mut part: Vec<_> = writes.into_iter().filter(|_| self.random.once_in(2)).collect();
        if let Some(torn) = part.last_mut() {
            let pages = torn.sectors.div_ceil(PAGE);
            *torn = torn.first(torn.sectors.min((self.random.within(0..pages) + 1) * PAGE));
        }
        part
    }
}

/// The writes up to the moment at which they are durable.
fn unflushed(entries: &[Entry]) -> Vec<Extent> {
    let mut found = Vec::new();
    for entry in entries {
        match entry {
            Entry::Write(extent) => found.push(*extent),
            Entry::DurableWrite(extent) => {
                found.push(*extent);
                break;
            }
            Entry::Flush => break,
            Entry::Discard(_) | Entry::Mark(_) => {}
        }
    }
    found
}

/// Tells where a check failed.
struct Place {
    what: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        eprintln!("failed at {}", self.what);
    }
}
