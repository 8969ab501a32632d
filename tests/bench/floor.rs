//! The bare system calls behind gRPC, and nothing else: no check, no lock, no registry. What an agent takes beyond this
//! is its own; what this takes beyond the bare system calls is the price of being asked over a socket.

use std::{convert::Infallible, path::Path, sync::Arc};

use anyhow::Context;
use axum::{Router, body::Body};
use berth::proto::csi::{
    CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest, DeleteVolumeResponse, NodeGetVolumeStatsRequest,
    NodeGetVolumeStatsResponse, NodePublishVolumeRequest, NodePublishVolumeResponse, NodeStageVolumeRequest,
    NodeStageVolumeResponse, NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse, NodeUnstageVolumeRequest,
    NodeUnstageVolumeResponse, ProbeRequest, ProbeResponse, Volume, VolumeUsage,
};
use prost::Message;
use tokio::{net::UnixListener, task::spawn_blocking};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, codegen::http, server::Grpc, service::Routes, transport::Server};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::bare::BarePool;

/// Serves on `socket` until it is killed.
///
/// One thread carries the connection. Unless told to `hand_over` it does there what waits for no disk: an agent that must
/// not stand still while a disk hangs cannot do that. That is the fastest one by one; with more in flight it keeps the
/// others waiting while it mounts.
pub fn serve(pool: &Path, socket: &Path, hand_over: bool) -> anyhow::Result<()> {
    let pool = Arc::new(BarePool::new(pool)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = async {
        let listener = UnixListener::bind(socket).with_context(|| format!("listen on {}", socket.display()))?;
        let server = Server::builder().add_routes(Routes::from(router(&pool, hand_over)));
        server.serve_with_incoming(UnixListenerStream::new(listener)).await?;
        anyhow::Ok(())
    };
    runtime.block_on(served)
}

fn router(pool: &Arc<BarePool>, hand_over: bool) -> Router {
    let mut routes = Router::new();
    let mut serve = Routing {
        pool,
        hand_over,
        routes: &mut routes,
    };
    serve.call("Identity/Probe", Place::Here, |_, _: ProbeRequest| {
        Ok(ProbeResponse { ready: Some(true) })
    });
    serve.call(
        "Controller/CreateVolume",
        Place::AtDisk,
        |pool, request: CreateVolumeRequest| {
            pool.create(&request.name)?;
            let volume = Volume {
                volume_id: request.name,
                ..Volume::default()
            };
            Ok(CreateVolumeResponse { volume: Some(volume) })
        },
    );
    serve.call(
        "Controller/DeleteVolume",
        Place::AtDisk,
        |pool, request: DeleteVolumeRequest| pool.delete(&request.volume_id).map(|()| DeleteVolumeResponse {}),
    );
    serve.call(
        "Node/NodeStageVolume",
        Place::Here,
        |pool, request: NodeStageVolumeRequest| {
            let staging = Path::new(&request.staging_target_path);
            pool.stage(&request.volume_id, staging)
                .map(|()| NodeStageVolumeResponse {})
        },
    );
    serve.call(
        "Node/NodePublishVolume",
        Place::Here,
        |pool, request: NodePublishVolumeRequest| {
            let target = Path::new(&request.target_path);
            pool.publish(&request.volume_id, target)
                .map(|()| NodePublishVolumeResponse {})
        },
    );
    serve.call(
        "Node/NodeGetVolumeStats",
        Place::Here,
        |pool, request: NodeGetVolumeStatsRequest| {
            pool.stats(Path::new(&request.volume_path))?;
            Ok(NodeGetVolumeStatsResponse {
                usage: vec![VolumeUsage::default(); 2],
            })
        },
    );
    serve.call(
        "Node/NodeUnpublishVolume",
        Place::Here,
        |pool, request: NodeUnpublishVolumeRequest| {
            pool.unpublish(Path::new(&request.target_path))
                .map(|()| NodeUnpublishVolumeResponse {})
        },
    );
    serve.call(
        "Node/NodeUnstageVolume",
        Place::Here,
        |pool, request: NodeUnstageVolumeRequest| {
            pool.unstage(Path::new(&request.staging_target_path))
                .map(|()| NodeUnstageVolumeResponse {})
        },
    );
    routes
}

/// Where the work of a call is done.
#[derive(Clone, Copy)]
enum Place {
    /// On the thread of the connection.
    Here,
    /// On a thread that may wait for the disk, beside others that do.
    AtDisk,
}

struct Routing<'a> {
    pool: &'a Arc<BarePool>,
    hand_over: bool,
    routes: &'a mut Router,
}

impl Routing<'_> {
    fn call<Q, A>(&mut self, method: &str, place: Place, work: fn(&BarePool, Q) -> anyhow::Result<A>)
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let pool = Arc::clone(self.pool);
        let place = if self.hand_over { Place::AtDisk } else { place };
        let service = service_fn(move |request: http::Request<Body>| {
            let pool = Arc::clone(&pool);
            let call = service_fn(move |request: Request<Q>| {
                let pool = Arc::clone(&pool);
                let work = move || work(&pool, request.into_inner());
                async move {
                    let done = match place {
                        Place::Here => work(),
                        Place::AtDisk => spawn_blocking(work)
                            .await
                            .map_err(|error| Status::internal(error.to_string()))?,
                    };
                    done.map(Response::new)
                        .map_err(|error| Status::internal(format!("{error:#}")))
                }
            });
            async move { Ok::<_, Infallible>(Grpc::new(ProstCodec::<A, Q>::default()).unary(call, request).await) }
        });
        let routes = std::mem::take(self.routes);
        *self.routes = routes.route_service(&format!("/csi.v1.{method}"), service);
    }
}
