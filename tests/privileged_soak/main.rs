//! A long run: clients live volumes while the agent is killed, restarted or stands still, and while the
//! disk is full; after each round everything is back where it was.
//!
//! `make soak` runs it, for 20 minutes or `BERTH_SOAK_SECONDS`; `cargo test` leaves it out.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

#[path = "../common/mod.rs"]
mod common;

mod figures;
mod trouble;

use std::time::{Duration, Instant};

use common::churn::{Churn, aftermath};
use common::isolated::figure;
use common::random::Random;
use common::{Filesystem, Node, isolated};
use figures::Figures;
use trouble::Trouble;

const CLIENTS: u64 = 8;
const MIB: u64 = 512;
/// With so much kept back, what is promised bounds GetCapacity, not what is free.
const FLAGS: [&str; 3] = ["--init-pool", "--reserve", "70%"];
const ROUND: Duration = Duration::from_secs(15);

#[test]
fn privileged_a_long_run_leaves_everything_where_it_was() {
    isolated("privileged_a_long_run_leaves_everything_where_it_was", async {
        let number = |name, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"));
        let (seconds, seed) = (number("BERTH_SOAK_SECONDS", 1200), number("BERTH_TEST_SEED", 0x50a6));
        for (at, filesystem) in Filesystem::ALL.into_iter().enumerate() {
            figure(&format!("{filesystem:?}, BERTH_TEST_SEED={seed}"));
            let node = Node::with_disk(filesystem, MIB, &[]);
            let time = Duration::from_secs(seconds) / Filesystem::ALL.len() as u32;
            soak(&node, seed + 1_000_000 * at as u64, time).await;
        }
    });
}

async fn soak(node: &Node, seed: u64, time: Duration) {
    let end = Instant::now() + time;
    let mut agent = node.agent_with(&FLAGS).await;
    let before = agent.clients().await.available().await.unwrap();
    let mut random = Random::new(seed);
    let mut first = None;
    let (mut calls, mut volumes) = (0, 0);
    for (round, trouble) in Trouble::ALL.iter().cycle().enumerate() {
        let churn_seed = seed + 100 * round as u64;
        let churn = Churn::start(node, &agent, CLIENTS, churn_seed, *trouble == Trouble::FullDisk).await;
        agent = trouble.make(node, agent, ROUND, &mut random).await;
        let life = churn.stop().await;
        aftermath::clear(node, &agent, &life, before).await;
        calls += life.calls;
        volumes += life.volumes.len();
        let figures = Figures::at_rest(node, &agent, first.as_ref()).await;
        figure(&format!(
            "round {round:3} {trouble:?}: {} calls, at rest {figures}",
            life.calls
        ));
        first.get_or_insert(figures);
        if Instant::now() > end && round + 1 >= Trouble::ALL.len() {
            break;
        }
    }
    figure(&format!("{volumes} volumes, {calls} calls"));
}
