//! SIGKILL of the agent at any moment: what it acknowledged holds, what it did not converges when it
//! is sent again, and nothing is left behind.
//!
//! Clients run whole lives of volumes while the agent is killed and started over and over. Their
//! choices follow from a seed, which a failure tells; `BERTH_TEST_SEED` sets another.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

#[path = "../common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::churn::{Churn, aftermath};
use common::random::Random;
use common::{Agent, Filesystem, Node, isolated};

const CLIENTS: u64 = 8;
/// Kills on each of the three file systems.
const KILLS: u64 = 12;
const MIB: u64 = 512;
/// With so much kept back, the bound that holds is what is promised, not what is free: the blocks of
/// a directory that was large once make no difference to GetCapacity.
const FLAGS: [&str; 3] = ["--init-pool", "--reserve", "70%"];

#[test]
fn privileged_an_agent_that_is_killed_at_any_moment_keeps_its_word_and_leaves_nothing() {
    let name = "privileged_an_agent_that_is_killed_at_any_moment_keeps_its_word_and_leaves_nothing";
    isolated(name, async {
        let seed = std::env::var("BERTH_TEST_SEED").map_or(0xbe47, |text| text.parse().expect("a number"));
        for (at, filesystem) in Filesystem::ALL.into_iter().enumerate() {
            eprintln!("{filesystem:?}, BERTH_TEST_SEED={seed}");
            let node = Node::with_disk(filesystem, MIB, &[]);
            live(&node, seed + 1000 * at as u64).await;
        }
    });
}

/// Lets clients work and kills the agent under them, then looks at what there is.
async fn live(node: &Node, seed: u64) {
    let since = Instant::now();
    let mut agent = node.agent_with(&FLAGS).await;
    let before = agent.clients().await.available().await.unwrap();
    let churn = Churn::start(node, &agent, CLIENTS, seed, false).await;
    let mut random = Random::new(seed ^ 0xdead);
    for _ in 0..KILLS {
        agent = kill(node, agent, &mut random).await;
    }
    let all = churn.stop().await;
    eprintln!(
        "{KILLS} kills in {:?}: {} volumes, {} creations given up, {} calls, {} of them sent again",
        since.elapsed(),
        all.volumes.len(),
        all.given_up.len(),
        all.calls,
        all.again
    );
    assert!(all.again >= KILLS, "the kills hit hardly a call: this proves nothing");
    aftermath::check(node, agent, &FLAGS, &all, before).await;
}

/// Kills the agent after a while, sometimes its successors in the middle of their start too, and
/// returns one that serves.
async fn kill(node: &Node, agent: Agent, random: &mut Random) -> Agent {
    tokio::time::sleep(Duration::from_millis(random.within(30..700))).await;
    agent.kill();
    while random.once_in(3) {
        let mut successor = Agent::command(node.home(), &node.pool(), &FLAGS).spawn().unwrap();
        tokio::time::sleep(Duration::from_micros(random.within(0..40_000))).await;
        successor.kill().unwrap();
        successor.wait().unwrap();
    }
    node.agent_with(&FLAGS).await
}
