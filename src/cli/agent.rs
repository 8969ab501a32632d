//! `berth agent`: wires everything together and serves until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tonic::transport::Server;
use tracing::{info, warn};

use crate::admin::AdminService;
use crate::backend::DirectoryBackend;
use crate::config::AgentArgs;
use crate::csi::{Driver, Work};
use crate::engine::background::Background;
use crate::engine::{Engine, Settings};
use crate::metrics::Metrics;
use crate::mount::LinuxMounter;
use crate::proto::admin::admin_server::AdminServer;
use crate::proto::csi::controller_server::ControllerServer;
use crate::proto::csi::identity_server::IdentityServer;
use crate::proto::csi::node_server::NodeServer;
use crate::proto::registration::registration_server::RegistrationServer;
use crate::registration::{self, Registrar};
use crate::server::{Observe, Running, Socket, told};
use crate::sys::allocator;
use crate::{confinement, http, telemetry};

/// Arenas of the allocator: threads of the blocking pool share them.
const ARENAS: u8 = 2;
/// Threads that carry connections.
const WORKERS: usize = 2;
/// Calls that work at the same time; more of them wait.
const BLOCKING_THREADS: usize = 128;
/// Calls at the same time on one connection, each of which may hold an answer that is not read.
const CALLS: u32 = 128;
/// How often a client is asked whether it is there, and how long it may take to say so. One that reads
/// nothing holds memory for no longer.
const ASK: Duration = Duration::from_secs(15);
/// How long calls are kept waiting for a pool that is being opened, and how often to look whether it is.
const PATIENCE: Duration = Duration::from_secs(5);
const BLINK: Duration = Duration::from_millis(2);
/// How often to look whether there is a pool by now.
const LOOK: Duration = Duration::from_millis(200);
/// How long the last answers may take to be written, and requests to arrive that were sent before
/// their clients heard of the end.
const LINGER: Duration = Duration::from_millis(300);

/// Runs the agent.
pub fn run(args: &AgentArgs) -> anyhow::Result<ExitCode> {
    allocator::limit_arenas(ARENAS);
    telemetry::init(&args.log, args.log_format).context("--log is not a filter")?;
    confinement::confine().context("cannot give up privileges")?;
    raise_descriptor_limit();
    // Files that Berth makes have the modes it says, whoever started it.
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    let deadline = runtime.block_on(serve(args))?;
    runtime.shutdown_timeout(deadline.saturating_duration_since(Instant::now()));
    info!("agent ended");
    Ok(ExitCode::SUCCESS)
}

/// Serves until told to stop. Returns until when work on threads of its own may go on.
async fn serve(args: &AgentArgs) -> anyhow::Result<Instant> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);

    // Before the sockets are, which would make the directory: no kubelet looks into a mistyped one.
    let mounter = Arc::new(LinuxMounter::new(&args.kubelet_dir).context("--kubelet-dir")?);
    // Sockets next: a second agent ends here, before it touches anything.
    let csi_socket = Socket::claim(&args.csi_endpoint)?;
    let registration_socket = Socket::claim(&registration::socket_path(args.kubelet_dir.path()))?;

    let settings = Settings {
        pool: args.pool.clone(),
        init_pool: args.init_pool,
        policy: args.policy(),
    };
    let engine = Arc::new(Engine::new(settings, Arc::new(DirectoryBackend), mounter.clone()));
    let metrics = Metrics::new();
    http::serve(args.http_addr, engine.clone(), metrics.clone(), stopped.clone())
        .await
        .with_context(|| format!("cannot listen on {} (--http-addr)", args.http_addr))?;
    let background = Background::start(engine.clone())?;
    // The first call finds the pool, but none waits for a disk that hangs.
    let _ = tokio::time::timeout(PATIENCE, pool_looked_for(&engine)).await;

    let work = Work::new(engine.clone());
    let driver = Driver::new(work.clone(), &args.node_name, args.kubelet_dir.clone());
    let running = Running::default();
    let csi = server()
        .layer(Observe::new(metrics, running.clone()))
        .add_service(IdentityServer::new(driver.clone()))
        .add_service(ControllerServer::new(driver.clone()))
        .add_service(NodeServer::new(driver))
        .add_service(AdminServer::new(AdminService::new(work)))
        .serve_with_incoming_shutdown(csi_socket.listen(stopped.clone(), || false)?, until(stopped.clone()));
    // Without its socket the kubelet forgets the driver, and then no pod on this node can end: not before the next
    // agent has a pool again.
    let staged = registration::staging_dir(args.kubelet_dir.path());
    let pods_are_left = move || mounter.any_beneath(&staged).unwrap_or(false);
    let registration = async {
        tokio::select! {
            () = pool_opens(&engine) => {}
            () = until(stopped.clone()) => return Ok(()),
        }
        server()
            .add_service(RegistrationServer::new(Registrar::new(&args.csi_endpoint)))
            .serve_with_incoming_shutdown(
                registration_socket.listen(stopped.clone(), pods_are_left)?,
                until(stopped.clone()),
            )
            .await?;
        anyhow::Ok(())
    };
    let serving = async { tokio::try_join!(registration, async { Ok(csi.await?) }) };
    tokio::pin!(serving);

    info!(
        node = args.node_name,
        version = env!("CARGO_PKG_VERSION"),
        "agent running"
    );
    tokio::select! {
        ended = &mut serving => {
            ended.context("serving ended by itself")?;
        }
        _ = terminate.recv() => info!("SIGTERM: finishing what runs"),
        _ = interrupt.recv() => info!("SIGINT: finishing what runs"),
    }
    let deadline = Instant::now() + args.drain_timeout;
    // All receivers may be gone when serving ended by itself.
    let _ = stop.send(true);
    // Its threads may be in the middle of a large volume: they end while calls do, or never have to.
    tokio::task::spawn_blocking(move || drop(background));
    let done = async {
        tokio::select! {
            _ = &mut serving => {}
            // What is still connected now calls nothing, and may well stay connected for ever.
            () = running.quiet(LINGER) => {}
        }
    };
    if tokio::time::timeout_at(deadline.into(), done).await.is_err() {
        warn!(timeout = ?args.drain_timeout, "calls still run; ending anyway");
    }
    Ok(deadline)
}

/// Waits until there is a pool, or a reason why there is none.
async fn pool_looked_for(engine: &Engine) {
    while engine.is_opening() {
        tokio::time::sleep(BLINK).await;
    }
}

/// Waits for the pool. The kubelet asks for the driver as soon as the socket for that is there, and a kubelet
/// that was refused because there is no pool lets minutes pass before it asks again.
async fn pool_opens(engine: &Engine) {
    if engine.pool().is_err() {
        info!("the kubelet is told of the driver once there is a pool");
    }
    while engine.pool().is_err() {
        tokio::time::sleep(LOOK).await;
    }
}

/// A server that bounds what one client may hold.
fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(CALLS)
        .http2_keepalive_interval(Some(ASK))
        .http2_keepalive_timeout(Some(ASK))
}

async fn until(mut stop: watch::Receiver<bool>) {
    told(&mut stop).await;
}

/// Connections and directories being purged need more descriptors than the usual soft limit.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Without it the agent works, with fewer connections.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
