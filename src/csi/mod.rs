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
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

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
/// The longest value of a Kubernetes label.
const LONGEST_LABEL: usize = 63;

/// Serves the CSI services on top of the engine.
#[derive(Clone)]
pub struct Driver {
    engine: Arc<Engine>,
    node_name: Arc<str>,
    kubelet_dir: Arc<KubeletDir>,
}

impl Driver {
    /// A driver for the node `node_name`.
    pub fn new(engine: Arc<Engine>, node_name: &str, kubelet_dir: KubeletDir) -> Self {
        Self {
            engine,
            node_name: node_name.into(),
            kubelet_dir: Arc::new(kubelet_dir),
        }
    }

    /// Runs short work of the engine where the call is; other calls go on elsewhere meanwhile. It
    /// cannot be left half-done by a caller that goes away.
    async fn run<T>(&self, work: impl FnOnce(&Engine) -> Result<T, engine::Error>) -> Result<T, Status> {
        tokio::task::block_in_place(|| guarded(|| work(&self.engine)))
    }

    /// Like [`Driver::run`], for work that needs the pool.
    async fn run_in_pool<T>(&self, work: impl FnOnce(&Pool) -> Result<T, engine::Error>) -> Result<T, Status> {
        self.run(|engine| work(&*engine.pool()?)).await
    }

    /// Runs work that waits for the disk on the blocking pool: many such calls at once are many
    /// threads that wait, and none of them carries connections. The work goes on when the caller
    /// goes away, and with it the locks that it holds.
    async fn run_durable<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Pool) -> Result<T, engine::Error> + Send + 'static,
    ) -> Result<T, Status> {
        let engine = self.engine.clone();
        let work = move || guarded(|| work(&*engine.pool()?));
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|_| Err(Status::unavailable("the agent is ending; try again")))
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

/// Turns an error into its status, and a panic, which the log tells the place of, into one as well.
fn guarded<T>(work: impl FnOnce() -> Result<T, engine::Error>) -> Result<T, Status> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(status::of),
        Err(_) => Err(Status::internal(
            "the call ended in a defect of Berth; the agent's log tells where",
        )),
    }
}
