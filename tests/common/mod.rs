//! What the integration tests share: a real agent as a child process, its clients, and a place
//! that nothing leaks from.

#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

pub mod agent;
pub mod calls;
pub mod churn;
pub mod command;
pub mod disk;
pub mod guest;
pub mod health;
pub mod http;
pub mod isolated;
pub mod node;
pub mod random;
pub mod raw;
pub mod requests;
#[cfg(target_arch = "x86_64")]
pub mod syscalls;
#[cfg(target_arch = "x86_64")]
pub mod tracer;

#[allow(unused_imports, reason = "every test binary uses a part of it")]
pub use self::{
    agent::{Agent, Clients},
    calls::{Published, eventually, refused},
    disk::{Disk, Filesystem},
    isolated::{at_once_on_every_filesystem, isolated, on_every_filesystem, on_filesystems},
    node::Node,
};
