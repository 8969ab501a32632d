//! A power cut after every single step of every call that changes a pool: the agent is stopped behind
//! the system call, the file system shut down, with the journal that is in memory and without, and the
//! agent finds out.
//!
//! With `BERTH_POWER_STEPS=all` also after the calls that only may change something, opening a file
//! for example.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use super::check::check;
use super::client::{Client, Journal};
use super::common::command::{held, let_go};
use super::common::disk::{shut_down, unmount};
use super::common::isolated::figure;
use super::common::tracer::{Act, Calls, Count, Plan, Tracer};
use super::common::{Filesystem, Node, eventually, isolated};
use super::plan::{self, Step};

/// The lives of which some call is cut, by their kind, and how many steps of each come before it. What
/// comes after it up to the end of the life belongs to it: the reaper's work.
const CUTS: [(u32, usize); 5] = [
    // A creation.
    (1, 0),
    // A deletion without retention, and the purge.
    (0, 3),
    // A deletion with retention.
    (3, 2),
    // A return from the trash.
    (2, 4),
    // A deletion whose retention ends soon, and the purge.
    (4, 2),
];

#[test]
fn privileged_a_power_cut_after_any_step_leaves_xfs_whole() {
    let name = "steps::privileged_a_power_cut_after_any_step_leaves_xfs_whole";
    isolated(name, every_step(Filesystem::Xfs));
}

#[test]
fn privileged_a_power_cut_after_any_step_leaves_ext4_whole() {
    let name = "steps::privileged_a_power_cut_after_any_step_leaves_ext4_whole";
    isolated(name, every_step(Filesystem::Ext4));
}

async fn every_step(filesystem: Filesystem) {
    let since = Instant::now();
    let node = Node::new(filesystem);
    let journal = Journal::default();
    let mut told = Vec::new();
    drop(node.agent().await);
    for (kind, before) in CUTS {
        let first = cuts(&node, &journal, kind, before, false).await;
        let second = cuts(&node, &journal, kind, before, true).await;
        told.push(format!("{:?} {}", &plan::steps(kind)[before], first + second));
    }
    told.push(format!("Init {}", init_cuts(filesystem).await));
    figure(&format!(
        "{filesystem:?}: power cuts after a step: {} in {:?}",
        told.join(", "),
        since.elapsed()
    ));
}

/// Cuts the power after the first step, the second, and so on to the last. Returns how many there are.
async fn cuts(node: &Node, journal: &Journal, kind: u32, before: usize, flush: bool) -> u64 {
    for at in 1.. {
        let number = journal.ledger().volumes.len() as u32 * plan::KINDS + kind;
        let agent = node.agent_with(&[]).await;
        let client = Client::new(&agent, &node.pool(), journal).await;
        let (prepared, cut) = plan::steps(number).split_at(before);
        for step in prepared {
            client.step(*step, number).await.unwrap();
        }
        let tracer = Tracer::attach(agent.pid());
        tracer.arm(plan_of(node, journal, at, flush));
        for step in cut.iter().take_while(|step| is_one_call(cut, step)) {
            if client.step(*step, number).await.is_err() {
                break;
            }
        }
        let count = tracer.disarm();
        drop(tracer);
        drop(agent);
        journal.cut(false);
        if count.reached.is_none() {
            assert!(at > 2, "{kind} has no steps: nothing was cut");
            return at - 1;
        }
        come_back(node, journal, &count).await;
    }
    unreachable!("every call ends")
}

/// The first step of `steps`, and a purge that comes right after it.
fn is_one_call(steps: &[Step], step: &&Step) -> bool {
    std::ptr::eq(*step, &steps[0]) || matches!(step, Step::Purged)
}

fn plan_of(node: &Node, journal: &Journal, at: u64, flush: bool) -> Plan {
    let (pool, journal) = (node.pool(), journal.clone());
    Plan {
        calls: match std::env::var_os("BERTH_POWER_STEPS") {
            None => Calls::Steps,
            Some(_) => Calls::Changes,
        },
        at,
        act: Act::Do(Arc::new(move || {
            journal.cut(true);
            shut_down(&pool, flush);
        })),
    }
}

async fn come_back(node: &Node, journal: &Journal, count: &Count) {
    eprintln!("cut after {count:?}");
    unmount(&node.pool());
    node.disk.mount(&node.pool(), "");
    let agent = node.agent_with(&[]).await;
    check(node, &agent, journal).await;
}

/// Cuts the power after every step of `berth init`, each time on a new file system.
async fn init_cuts(filesystem: Filesystem) -> u64 {
    let mut cut = 0;
    for flush in [false, true] {
        for at in 1.. {
            let node = Node::new(filesystem);
            let mut command = held();
            command.arg("init").arg("--pool").arg(node.pool()).env_clear();
            let mut init = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let tracer = Tracer::attach(init.id());
            tracer.arm_at_exec(plan_of(&node, &Journal::default(), at, flush));
            let_go(&mut init);
            eventually("berth init ends", async || tracer.is_over()).await;
            let count = tracer.disarm();
            let succeeded = init.wait().unwrap().success();
            if count.reached.is_none() {
                assert!(succeeded && at > 2, "berth init has no steps: nothing was cut");
                break;
            }
            cut += 1;
            unmount(&node.pool());
            node.disk.mount(&node.pool(), "");
            let journal = Journal::default();
            let agent = node.agent_with(&["--init-pool"]).await;
            Client::new(&agent, &node.pool(), &journal).await.live(1).await.unwrap();
            check(&node, &agent, &journal).await;
        }
    }
    cut
}
