//! Power cuts: what was acknowledged is there afterwards, on disks that lose all that was not synced,
//! and what was not answered is done when it is sent again.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

#[path = "../common/mod.rs"]
mod common;

mod check;
mod client;
mod cut;
mod ledger;
mod log;
mod plan;
mod recorded;
#[cfg(target_arch = "x86_64")]
mod steps;
