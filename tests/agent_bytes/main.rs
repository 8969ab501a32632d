//! Bytes on the agent's sockets that no honest client sends, and clients in crowds: it goes on serving, its
//! memory stays bounded, and its descriptors come back.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

#[path = "../common/mod.rs"]
mod common;

mod crowd;
mod frames;
mod malformed;
mod pages;
mod slow;

use std::time::{Duration, Instant};

use common::{Agent, Clients};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How long an answer may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

struct Fixture {
    home: tempfile::TempDir,
    agent: Agent,
    clients: Clients,
}

impl Fixture {
    async fn new() -> Self {
        // As many connections as the machine allows, here and in the agent, which asks for them itself.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        let home = tempfile::tempdir().unwrap();
        let pool = home.path().join("pool");
        std::fs::create_dir(&pool).unwrap();
        let agent = Agent::start_with(home.path(), &pool, &["--init-pool", "--reserve=0"]).await;
        let clients = agent.clients().await;
        Self { home, agent, clients }
    }

    /// A client that was there before and one that comes anew are both served, if need be after a retry.
    async fn serves(&self, when: &str) {
        let served = async {
            let try_once = async || {
                let request = berth::proto::csi::ProbeRequest {};
                let before = self.clients.identity.clone().probe(request).await;
                let anew = self.agent.try_clients().await;
                before.is_ok() && anew.is_ok() && self.clients.list().await.is_ok()
            };
            while !try_once().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let served = tokio::time::timeout(DEADLINE, served).await;
        assert!(served.is_ok(), "nobody is served {when}");
        let log = self.agent.log();
        assert!(!log.contains("panicked"), "{when}: {log}");
    }

    /// Resident memory of the agent in KiB.
    fn memory(&self) -> u64 {
        self.figure("status", "VmRSS:")
    }

    /// The most it ever was.
    fn most_memory(&self) -> u64 {
        self.figure("status", "VmHWM:")
    }

    fn figure(&self, file: &str, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.agent.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.agent.pid()))
            .unwrap()
            .count()
    }

    /// Waits until there are no more descriptors than before, but for a few that any work needs.
    fn descriptors_come_back_to(&self, before: usize) {
        let until = Instant::now() + 2 * DEADLINE;
        while self.descriptors() > before + 4 {
            assert!(
                Instant::now() < until,
                "{} descriptors, {before} before",
                self.descriptors()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
