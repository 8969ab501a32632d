//! Berth gives every StatefulSet pod a directory of its own on the node's disk, over CSI.

pub mod demo;
pub mod proto;
