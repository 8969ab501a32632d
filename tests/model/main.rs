//! A reference model of the agent, and random histories that have to agree with it: calls, right and
//! wrong, system calls that fail, SIGKILL at any of them, restarts; of one client, and of several at
//! once. No disk of its own and no mounts here: see `privileged_model`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]
#![cfg(target_arch = "x86_64")]

#[path = "../common/mod.rs"]
mod common;
mod harness;

use harness::search;
use harness::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_the_answers_and_the_pool_are_those_of_the_model() {
    search::one_after_the_other(&mut World::plain(), 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_see_at_once_is_what_some_order_of_their_calls_would_show() {
    search::at_once(&mut World::plain(), 8).await;
}
