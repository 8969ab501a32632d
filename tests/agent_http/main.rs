//! The agent's pages for probes and Prometheus.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod metrics;
mod openmetrics;
mod probes;
