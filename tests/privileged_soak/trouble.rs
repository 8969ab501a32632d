//! What happens to the agent while clients work.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::FLAGS;
use super::common::random::Random;
use super::common::{Agent, Node};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing: what leaks in a quiet life shows here.
    Nothing,
    /// SIGKILL, and another agent.
    Kills,
    /// SIGTERM, and another agent.
    Restarts,
    /// The agent gets no time.
    Standstill,
    /// Something else takes all that is free on the disk.
    FullDisk,
}

impl Trouble {
    pub const ALL: [Self; 6] = [
        Self::Nothing,
        Self::Kills,
        Self::Nothing,
        Self::FullDisk,
        Self::Standstill,
        Self::Restarts,
    ];

    /// Makes trouble for so long, every second or so. Returns the agent that serves then.
    pub async fn make(self, node: &Node, mut agent: Agent, time: Duration, random: &mut Random) -> Agent {
        let end = Instant::now() + time;
        while Instant::now() < end {
            pause(random, 300..1500).await;
            match self {
                Self::Nothing => {}
                Self::Kills => {
                    agent.kill();
                    agent = node.agent_with(&FLAGS).await;
                }
                Self::Restarts => {
                    assert!(agent.terminate().success(), "the agent ends well");
                    agent = node.agent_with(&FLAGS).await;
                }
                Self::Standstill => {
                    let pid = Pid::from_raw(agent.pid().try_into().unwrap());
                    kill(pid, Signal::SIGSTOP).unwrap();
                    pause(random, 100..1000).await;
                    kill(pid, Signal::SIGCONT).unwrap();
                }
                Self::FullDisk => {
                    let file = node.pool().join("somebody-elses-file");
                    fill(&file);
                    pause(random, 300..2000).await;
                    std::fs::remove_file(file).unwrap();
                }
            }
        }
        agent
    }
}

async fn pause(random: &mut Random, millis: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(random.within(millis))).await;
}

/// Takes all free space, in ever smaller pieces.
fn fill(path: &std::path::Path) {
    let file = std::fs::File::create(path).unwrap();
    let (mut at, mut piece) = (0, 64 << 20);
    while piece >= 4096 {
        match fallocate(file.as_fd(), FallocateFlags::empty(), at, piece) {
            Ok(()) => at += piece,
            Err(Errno::ENOSPC) => piece /= 2,
            Err(Errno::EINTR) => {}
            Err(errno) => panic!("fallocate: {errno}"),
        }
    }
}
