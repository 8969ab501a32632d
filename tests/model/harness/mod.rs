//! Random histories on a real agent against a reference model.

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
