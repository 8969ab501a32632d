//! Callers, pods and neighbours that mean harm: nothing outside the pool and the kubelet's directory is
//! touched, no call hangs, and the agent goes on.
//!
//! `BERTH_TEST_SECONDS` makes each race as long, `BERTH_TEST_SEED` sets what is random.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

#[path = "../common/mod.rs"]
mod common;

mod canary;
mod contents;
mod fields;
mod planted;
mod race;
mod replaced;
mod secrets;
mod strings;
mod values;

use std::time::Duration;

/// How long a call may take on a busy machine. One that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a call answers before the deadline.
async fn soon<T>(what: impl std::fmt::Debug, call: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(answer) => answer,
        Err(_) => panic!("no answer: {what:?}"),
    }
}

/// A number from the environment.
fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn seed() -> u64 {
    from_environment("BERTH_TEST_SEED", 0xbe47)
}
