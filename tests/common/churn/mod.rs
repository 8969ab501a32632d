//! Clients that live whole lives of volumes, whatever happens to the agent meanwhile, and what has to
//! be true when they are done.

pub mod aftermath;
mod client;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

pub use client::{Client, Life, Volume};

use super::{Agent, Node};

/// Clients at work.
pub struct Churn {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Life>,
}

impl Churn {
    /// Lets so many clients work, whose choices follow from `seed`. `disk_may_be_full` tells them to
    /// wait for space rather than to fail.
    pub async fn start(node: &Node, agent: &Agent, clients: u64, seed: u64, disk_may_be_full: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut working = JoinSet::new();
        for number in 0..clients {
            let client = Client::new(node, agent, seed + number, disk_may_be_full).await;
            let (stop, runtime) = (stop.clone(), tokio::runtime::Handle::current());
            working.spawn_blocking(move || runtime.block_on(client.live(stop)));
        }
        Self { stop, clients: working }
    }

    /// Tells the clients to stop, and what they did when each has come to the end of a life.
    pub async fn stop(mut self) -> Life {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Life::default();
        while let Some(ended) = self.clients.join_next().await {
            all.add(ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
        }
        all
    }
}
