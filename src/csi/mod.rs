//! The CSI services: protocol messages in, protocol messages out.
//!
//! Nothing here touches a file system. Requests are parsed once in [`request`], work is done by
//! the engine on the blocking pool, and errors become gRPC codes in [`status`].

mod controller;
mod health;
mod identity;
mod node;
mod request;
pub mod status;
mod token;
mod work;

use std::collections::HashMap;
use std::sync::Arc;

pub use work::Work;

use crate::engine::Pool;
use crate::mount::KubeletDir;
use crate::proto::csi;

/// The name of the driver, as in CSIDriver and StorageClass objects.
pub const DRIVER_NAME: &str = "csi.berth.dev";
/// The topology key of the pool that a volume lives in.
pub const TOPOLOGY_POOL: &str = "topology.berth.dev/pool";
/// The topology key of the node.
pub const TOPOLOGY_NODE: &str = "topology.berth.dev/node";
/// The longest value of a Kubernetes label.
const LONGEST_LABEL: usize = 63;

/// Serves the CSI services on top of the engine.
#[derive(Clone)]
pub struct Driver {
    work: Work,
    node_name: Arc<str>,
    kubelet_dir: Arc<KubeletDir>,
}

impl Driver {
    /// A driver for the node `node_name`.
    pub fn new(work: Work, node_name: &str, kubelet_dir: KubeletDir) -> Self {
        Self {
            work,
            node_name: node_name.into(),
            kubelet_dir: Arc::new(kubelet_dir),
        }
    }

    /// Where volumes of this pool can be used: wherever the pool is.
    fn volume_topology(pool: &Pool) -> csi::Topology {
        let uuid = pool.uuid().to_string();
        csi::Topology {
            segments: HashMap::from([(TOPOLOGY_POOL.to_owned(), uuid)]),
        }
    }

    /// What this node is: its pool and, where Kubernetes takes it for a label, its name.
    fn node_topology(&self, pool: &Pool) -> csi::Topology {
        let mut topology = Self::volume_topology(pool);
        if self.node_name.len() <= LONGEST_LABEL {
            topology
                .segments
                .insert(TOPOLOGY_NODE.to_owned(), self.node_name.to_string());
        }
        topology
    }

    /// Whether every segment asked for is one of this node's.
    fn is_here(&self, pool: &Pool, asked: &csi::Topology) -> bool {
        let here = self.node_topology(pool);
        asked
            .segments
            .iter()
            .all(|(key, value)| here.segments.get(key) == Some(value))
    }
}
