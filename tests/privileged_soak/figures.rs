//! What the agent and its pool take while nobody asks for anything.

use std::fmt;

use nix::sys::statvfs::statvfs;

use super::common::{Agent, Node, eventually};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

#[derive(Debug)]
pub struct Figures {
    resident: u64,
    descriptors: usize,
    threads: usize,
    mounts: usize,
    /// Of the whole file system.
    disk: u64,
}

impl Figures {
    /// Waits until it is quiet; where `first` tells what it was like before, until it is so again.
    pub async fn at_rest(node: &Node, agent: &Agent, first: Option<&Self>) -> Self {
        let bound = first.map_or((usize::MAX, u64::MAX), |first| {
            (first.threads + 2, first.disk + 4 * MIB)
        });
        let quiet = |now: &Self| now.threads <= bound.0 && now.disk <= bound.1;
        eventually("threads end, and deleted data is free again", async || {
            quiet(&Self::now(node, agent))
        })
        .await;
        let now = Self::now(node, agent);
        if let Some(first) = first {
            let limit = first.resident + first.resident / 4 + 2 * MIB;
            assert!(now.resident <= limit, "memory: {first}, then {now}");
            assert!(
                now.descriptors <= first.descriptors + 2,
                "descriptors: {first}, then {now}"
            );
            assert_eq!(now.mounts, first.mounts, "mounts: {first}, then {now}");
        }
        now
    }

    fn now(node: &Node, agent: &Agent) -> Self {
        let process = format!("/proc/{}", agent.pid());
        let count = |what: &str| std::fs::read_dir(format!("{process}/{what}")).unwrap().count();
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
        let vfs = statvfs(&node.pool()).unwrap();
        Self {
            resident: resident * KIB,
            descriptors: count("fd"),
            threads: count("task"),
            mounts: std::fs::read_to_string(format!("{process}/mountinfo"))
                .unwrap()
                .lines()
                .count(),
            disk: (vfs.blocks() - vfs.blocks_free()) * vfs.fragment_size(),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resident,
            descriptors,
            threads,
            mounts,
            disk,
        } = self;
        let mib = |bytes: u64| bytes as f64 / MIB as f64;
        write!(
            f,
            "{:.1} MiB resident, {descriptors} descriptors, {threads} threads, {mounts} mounts, {:.1} MiB of disk",
            mib(*resident),
            mib(*disk)
        )
    }
}
