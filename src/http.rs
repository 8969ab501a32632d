//! `/metrics`, `/healthz` and `/readyz` for probes and Prometheus. Nothing here changes anything.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;

use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::server::told;

#[derive(Clone)]
struct Shared {
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
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
        .with_state(Shared { engine, metrics, stop });
    tokio::spawn(async move {
        let until = async move { told(&mut stopped).await };
        let _ = axum::serve(listener, router).with_graceful_shutdown(until).await;
    });
    Ok(())
}

async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    if *shared.stop.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".to_owned());
    }
    let check = tokio::task::spawn_blocking(move || shared.engine.pool()?.verify());
    match check.await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n".to_owned()),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

async fn metrics_text(State(shared): State<Shared>) -> impl IntoResponse {
    let rendered = tokio::task::spawn_blocking(move || shared.metrics.render(&shared.engine)).await;
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
