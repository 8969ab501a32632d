//! `/metrics`, `/healthz` and `/readyz` for probes and Prometheus. Nothing here changes anything.

mod listener;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinError;
use tracing::info;

use self::listener::Bounded;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::server::told;

/// How many questions are looked into at the same time. More wait, and not for the threads that calls need.
const LOOKS: usize = 4;

#[derive(Clone)]
struct Shared {
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
    looks: Arc<Semaphore>,
}

/// Binds `address` and serves on it until `stop` says so.
pub async fn serve(
    address: SocketAddr,
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    info!(address = %listener.local_addr()?, "serving /metrics, /healthz and /readyz");
    let mut stopped = stop.clone();
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(Shared {
            engine,
            metrics,
            stop,
            looks: Arc::new(Semaphore::new(LOOKS)),
        });
    tokio::spawn(async move {
        let until = async move { told(&mut stopped).await };
        let _ = axum::serve(Bounded::new(listener), router)
            .with_graceful_shutdown(until)
            .await;
    });
    Ok(())
}

/// Does work that may wait for the disk.
async fn look<T: Send + 'static>(
    looks: Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    // It is never closed. The place is given up by the thread, also when who asked has gone.
    let place = looks.acquire_owned().await;
    tokio::task::spawn_blocking(move || {
        let _place = place;
        work()
    })
    .await
}

async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    if *shared.stop.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".to_owned());
    }
    let check = look(shared.looks.clone(), move || shared.engine.pool()?.verify());
    match check.await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n".to_owned()),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

async fn metrics_text(State(shared): State<Shared>) -> impl IntoResponse {
    let rendered = look(shared.looks.clone(), move || shared.metrics.render(&shared.engine)).await;
    match rendered {
        Ok(Ok(text)) => (
            StatusCode::OK,
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        ),
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            "the figures cannot be rendered\n".to_owned(),
        ),
    }
}
