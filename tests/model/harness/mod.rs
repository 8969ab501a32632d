//! Random histories on a real agent against a reference model.

#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod caller;
pub mod concurrent;
pub mod generate;
pub mod history;
pub mod legal;
pub mod look;
pub mod reference;
pub mod search;
pub mod sequence;
pub mod settle;
pub mod step;
pub mod tally;
pub mod world;
