//! SIGKILL at every system call of every operation, on the real binary: what was acknowledged is
//! there, a third state never is, the same request sent again converges, nothing is left. And every
//! system call that changes something fails once.
//!
//! Without `BERTH_TORTURE` in the environment the moments are those of the calls that may change
//! something; with it they are all but those that only wait.

#![cfg(target_arch = "x86_64")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

#[path = "../common/mod.rs"]
mod common;

mod attempt;
mod faults;
mod ground;
mod init;
mod kill;
mod model;
mod recovery;
mod volume;
mod whole;

use common::isolated::figure;
use common::tracer::Calls;
use common::{Filesystem, Node, isolated};
use ground::{Ground, OPERATIONS};

/// The moments at which the agent is killed.
fn calls() -> Calls {
    match std::env::var_os("BERTH_TORTURE") {
        None => Calls::Changes,
        Some(_) => Calls::All,
    }
}

async fn kill_everything_on(filesystem: Filesystem) {
    let mut ground = Ground::new(filesystem).await;
    for operation in &OPERATIONS {
        let moments = kill::at_every_moment(&mut ground, operation, calls()).await;
        figure(&format!(
            "{filesystem:?}: {}: killed at {moments} moments",
            operation.name
        ));
    }
}

#[test]
fn privileged_sigkill_at_any_moment_of_any_call_on_xfs() {
    isolated(
        "privileged_sigkill_at_any_moment_of_any_call_on_xfs",
        kill_everything_on(Filesystem::Xfs),
    );
}

#[test]
fn privileged_sigkill_at_any_moment_of_any_call_on_ext4() {
    isolated(
        "privileged_sigkill_at_any_moment_of_any_call_on_ext4",
        kill_everything_on(Filesystem::Ext4),
    );
}

async fn fail_everything_on(filesystem: Filesystem) {
    let mut ground = Ground::new(filesystem).await;
    for operation in &OPERATIONS {
        let faults = faults::at_every_call(&mut ground, operation).await;
        figure(&format!("{filesystem:?}: {}: {faults} faults", operation.name));
    }
}

#[test]
fn privileged_a_fault_in_any_system_call_of_any_call_on_xfs() {
    isolated(
        "privileged_a_fault_in_any_system_call_of_any_call_on_xfs",
        fail_everything_on(Filesystem::Xfs),
    );
}

#[test]
fn privileged_a_fault_in_any_system_call_of_any_call_on_ext4() {
    isolated(
        "privileged_a_fault_in_any_system_call_of_any_call_on_ext4",
        fail_everything_on(Filesystem::Ext4),
    );
}

#[test]
fn privileged_sigkill_at_any_moment_of_berth_init() {
    isolated("privileged_sigkill_at_any_moment_of_berth_init", async {
        for filesystem in [Filesystem::Xfs, Filesystem::Ext4] {
            let node = Node::new(filesystem);
            let moments = init::at_every_moment(&node, calls()).await;
            figure(&format!("{filesystem:?}: berth init: killed at {moments} moments"));
        }
    });
}

#[test]
fn privileged_sigkill_at_any_moment_of_a_start_that_finds_half_done_things() {
    let name = "privileged_sigkill_at_any_moment_of_a_start_that_finds_half_done_things";
    isolated(name, async {
        for filesystem in [Filesystem::Xfs, Filesystem::Ext4] {
            let node = Node::new(filesystem);
            let moments = recovery::at_every_moment(&node, calls()).await;
            figure(&format!(
                "{filesystem:?}: recovery: killed at {moments} moments, and again at its next start"
            ));
        }
    });
}
