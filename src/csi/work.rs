//! Where calls leave the threads that carry connections: engine work runs on the blocking pool.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::Status;

use super::status;
use crate::engine::{self, Engine, Pool};

/// How many calls about data on the disk may be at work at the same time; there are more threads than that.
const AT_DISK: usize = 96;

/// Runs work of the engine for the services of one agent, which share its threads.
#[derive(Clone)]
pub struct Work {
    engine: Arc<Engine>,
    at_disk: Arc<Semaphore>,
}

impl Work {
    /// Work of this engine.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            at_disk: Arc::new(Semaphore::new(AT_DISK)),
        }
    }

    /// Runs work of the engine on the blocking pool. The work goes on when the caller goes away,
    /// and with it the locks that it holds.
    pub async fn run<T: Send + 'static>(
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

    /// Like [`Work::run`], for work that needs to know the pool, but no volume's data.
    pub async fn run_in_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Pool) -> Result<T, engine::Error> + Send + 'static,
    ) -> Result<T, Status> {
        self.run(|engine| work(&*engine.pool()?)).await
    }

    /// Like [`Work::run`], for work with data or records on the disk. However many of these calls a
    /// disk that hangs keeps waiting, there are threads left for those that need no disk, and for
    /// pods that end.
    pub async fn run_at_disk<T: Send + 'static>(
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
}
