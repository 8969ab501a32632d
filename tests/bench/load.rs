//! Keeping a fixed number of operations in flight.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::client::Client;

/// Runs `operate` once per item, so many in flight.
///
/// Returns what the operations returned, and the time that all took together.
pub async fn drive<I, T, F, R>(
    channel: &Channel,
    in_flight: usize,
    items: Vec<I>,
    operate: F,
) -> anyhow::Result<(Vec<T>, Duration)>
where
    I: Send + 'static,
    T: Send + 'static,
    F: Fn(Client, I) -> R + Copy + Send + 'static,
    R: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let mut results = Vec::with_capacity(items.len());
    let queue = Arc::new(Mutex::new(items.into_iter()));
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..in_flight {
        let client = Client::new(channel.clone());
        let queue = Arc::clone(&queue);
        workers.spawn(async move {
            let mut results = Vec::new();
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(item) = next() {
                results.push(operate(client.clone(), item).await?);
            }
            anyhow::Ok(results)
        });
    }
    while let Some(worker) = workers.join_next().await {
        results.extend(worker.context("a task failed")??);
    }
    Ok((results, started.elapsed()))
}

/// Creates volumes, and returns the latency of each.
pub async fn create(
    channel: &Channel,
    in_flight: usize,
    names: Vec<String>,
) -> anyhow::Result<(Vec<Duration>, Duration)> {
    drive(channel, in_flight, names, |mut client, name| async move {
        let started = Instant::now();
        client.create(&name).await?;
        Ok(started.elapsed())
    })
    .await
}
