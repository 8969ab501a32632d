//! Berth gives every StatefulSet pod a directory of its own on the node's disk, over CSI.
//!
//! `ARCHITECTURE.md` says how the modules depend on each other and what each must not know.

pub mod backend;
pub mod engine;
pub mod mount;
pub mod proto;
pub mod store;
pub mod sys;
pub mod volume;
