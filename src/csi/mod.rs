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

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::Status;

use crate::engine::{self, Engine, Pool};
use crate::mount::KubeletDir;
use crate::proto::csi;

/// The name of the driver, as in CSIDriver and StorageClass objects.
pub const DRIVER_NAME: &str = "csi.berth.dev";
/// The topology key of the pool that a volume lives in.
pub const TOPOLOGY_POOL: &str = "topology.berth.dev/pool";
/// The topology key of the node.
pub const TOPOLOGY_NODE: &str = "topology.berth.dev/node";
/// How many calls about data on the disk may be at work at the same time; there are more threads than that.
const AT_DISK: usize = 96;
/// The longest value of a Kubernetes label.
const LONGEST_LABEL: usize = 63;

/// Serves the CSI services on top of the engine.
#[derive(Clone)]
pub struct Driver {
    engine: Arc<Engine>,
    node_name: Arc<str>,
    kubelet_dir: Arc<KubeletDir>,
    at_disk: Arc<Semaphore>,
}

impl Driver {
    /// A driver for the node `node_name`.
    pub fn new(engine: Arc<Engine>, node_name: &str, kubelet_dir: KubeletDir) -> Self {
        Self {
            engine,
            node_name: node_name.into(),
            kubelet_dir: Arc::new(kubelet_dir),
            at_disk: Arc::new(Semaphore::new(AT_DISK)),
        }
    }

    /// Runs work of the engine on the blocking pool. The work goes on when the caller goes away,
    /// and with it the locks that it holds.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, engine::Error> + Send + 'static,
    ) -> Result<T, Status> {
        let engine = self.engine.clone();
        match tokio::task::spawn_blocking(move || work(&engine)).await {
            Ok(result) => result.map_err(status::of),
            Err(_) => Err(Status::internal(
                "the call ended in a defect of Berth; the agent's log tells where",
            )),
        }
    }

    /// Like [`Driver::run`], for work that needs to know the pool, but no volume's data.
    async fn run_in_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Pool) -> Result<T, engine::Error> + Send + 'static,
    ) -> Result<T, Status> {
        self.run(|engine| work(&*engine.pool()?)).await
    }

    /// Like [`Driver::run`], for work with data or records on the disk. However many of these calls a
    /// disk that hangs keeps waiting, there are threads left for those that need no disk, and for
    /// pods that end.
    async fn run_at_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, engine::Error> + Send + 'static,
    ) -> Result<T, Status> {
        // Never closed, so never refused.
        let turn = self.at_disk.clone().acquire_owned().await;
        self.run(move |engine| {
            let _turn = turn;
            work(engine)
        })
        .await
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
