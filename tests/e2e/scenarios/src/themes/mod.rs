//! The scenarios, a file for each theme. Long ones come first, and those that need the cluster for themselves last.

mod access;
mod agents;
mod capacity;
mod disks;
mod examples;
mod leftovers;
mod nodes;
mod pods;
mod reclaim;
mod statefulsets;
mod writer;

use crate::scenario::Scenario;

pub fn all() -> impl Iterator<Item = &'static Scenario> {
    [
        examples::ALL,
        statefulsets::ALL,
        access::ALL,
        pods::ALL,
        reclaim::ALL,
        capacity::ALL,
        agents::ALL,
        nodes::ALL,
        disks::ALL,
        leftovers::ALL,
    ]
    .into_iter()
    .flatten()
}
