//! Disks that hang, refuse or forget writes, and have bad sectors: there is a clear answer or a wait,
//! the health calls tell, everything else goes on, and when the disk is well again so is the agent.
//!
//! The device mapper that makes disks fail is in a guest (`tests/uml`).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

#[path = "../common/mod.rs"]
mod common;

mod bad_sectors;
mod hanging;
mod patient;
mod refusing;
