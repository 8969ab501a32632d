//! The histories of `model` on disks of their own, with mounts, disks that go away, fill up and become
//! read-only.

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
#[path = "../model/harness/mod.rs"]
mod harness;

use common::{Filesystem, isolated};
use harness::search;
use harness::world::World;

/// For so many seconds calls follow each other, and for so many there are several clients at once.
async fn search(filesystem: Filesystem) {
    let mut world = World::on(filesystem);
    search::one_after_the_other(&mut world, 20).await;
    search::at_once(&mut world, 10).await;
}

#[test]
fn privileged_ext4_answers_pool_and_mounts_are_those_of_the_model() {
    let name = "privileged_ext4_answers_pool_and_mounts_are_those_of_the_model";
    isolated(name, search(Filesystem::Ext4));
}

#[test]
fn privileged_xfs_answers_pool_and_mounts_are_those_of_the_model() {
    let name = "privileged_xfs_answers_pool_and_mounts_are_those_of_the_model";
    isolated(name, search(Filesystem::Xfs));
}

#[test]
fn privileged_btrfs_answers_pool_and_mounts_are_those_of_the_model() {
    let name = "privileged_btrfs_answers_pool_and_mounts_are_those_of_the_model";
    isolated(name, search(Filesystem::Btrfs));
}
