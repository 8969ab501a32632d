//! What is seen of every call: its duration and code for metrics, and its failure for the log.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{debug, warn};

use super::Running;
use crate::metrics::Metrics;

/// A layer that notes every call.
#[derive(Clone)]
pub struct Observe {
    metrics: Arc<Metrics>,
    running: Running,
}

impl Observe {
    /// Notes calls in `metrics` when they end, and in `running` while they last.
    pub fn new(metrics: Arc<Metrics>, running: Running) -> Self {
        Self { metrics, running }
    }
}

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed {
            inner,
            metrics: self.metrics.clone(),
            running: self.running.clone(),
        }
    }
}

/// A service whose calls are noted.
#[derive(Clone)]
pub struct Observed<S> {
    inner: S,
    metrics: Arc<Metrics>,
    running: Running,
}

impl<S, A, B> Service<Request<A>> for Observed<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let begin = Instant::now();
        let running = self.running.begin();
        let method = request.uri().path().trim_start_matches('/').to_owned();
        let metrics = self.metrics.clone();
        let call = self.inner.call(request);
        Box::pin(async move {
            let response = call.await?;
            let elapsed = begin.elapsed();
            // A failed unary call carries its status in the headers; without one it succeeded.
            let status = Status::from_header_map(response.headers());
            let code = status.as_ref().map_or(Code::Ok, Status::code);
            metrics.observe_call(&method, code, elapsed);
            match status.filter(|_| code != Code::Ok) {
                Some(status) => {
                    let message = status.message();
                    warn!(method, ?code, ms = elapsed.as_millis(), "{message}");
                }
                None => debug!(method, ms = elapsed.as_millis(), "answered"),
            }
            drop(running);
            Ok(response)
        })
    }
}
