//! Berth gives every StatefulSet pod a directory of its own on the node's disk, over CSI.
//!
//! `ARCHITECTURE.md` says how the modules depend on each other and what each must not know.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests"))]

pub mod admin;
pub mod backend;
pub mod cli;
pub mod config;
pub mod confinement;
pub mod csi;
pub mod demo;
pub mod engine;
#[cfg(test)]
mod faults;
pub mod http;
pub mod metrics;
pub mod mount;
pub mod proto;
pub mod registration;
pub mod server;
pub mod store;
pub mod sys;
pub mod telemetry;
pub mod volume;
