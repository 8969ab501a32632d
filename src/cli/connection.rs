//! How a person's command reaches the pool: through the agent that holds it, or directly.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::backend::DirectoryBackend;
use crate::config::{DEFAULT_ENDPOINT, DEFAULT_POOL, parse_endpoint};
use crate::engine::capacity::{Policy, Reserve};
use crate::engine::{self, Engine, Settings};
use crate::mount::{KubeletDir, LinuxMounter};
use crate::proto::admin::admin_client::AdminClient;

/// The flags that say which pool a command is about.
#[derive(Debug, clap::Args)]
pub struct PoolArgs {
    /// Directory of the pool, used when no agent runs.
    #[arg(long, env = "BERTH_POOL", default_value = DEFAULT_POOL)]
    pub pool: PathBuf,
    /// Socket of the agent that holds the pool.
    #[arg(long, env = "BERTH_CSI_ENDPOINT", default_value = DEFAULT_ENDPOINT, value_parser = parse_endpoint)]
    pub csi_endpoint: PathBuf,
}

/// Whom a command talks to.
pub enum Connection {
    /// An agent holds the pool.
    Agent(AdminClient<Channel>),
    /// Nobody does; this process opened it.
    Direct(Box<Engine>),
}

impl PoolArgs {
    /// Connects to the agent; without one, opens the pool, with the same steps that the agent
    /// takes at its start.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        if UnixStream::connect(&self.csi_endpoint).await.is_err() {
            return self.open().map(Box::new).map(Connection::Direct);
        }
        let channel = Endpoint::from_shared(format!("unix://{}", self.csi_endpoint.display()))?
            .connect()
            .await
            .with_context(|| format!("cannot talk to the agent at {}", self.csi_endpoint.display()))?;
        Ok(Connection::Agent(AdminClient::new(channel)))
    }

    /// Says with an error of a pool that nobody can use that no agent answered either: the pool may
    /// well be in use by one whose socket is elsewhere.
    pub fn alone<T>(&self, result: Result<T, engine::Error>) -> anyhow::Result<T> {
        match result {
            Err(error @ engine::Error::Pool(_)) => {
                let socket = self.csi_endpoint.display();
                Err(error).with_context(|| format!("no agent answers at {socket} (see --csi-endpoint)"))
            }
            other => Ok(other?),
        }
    }

    fn open(&self) -> anyhow::Result<Engine> {
        let root = KubeletDir::new("/".as_ref())?;
        let settings = Settings {
            pool: self.pool.clone(),
            init_pool: false,
            policy: Policy {
                reserve: Reserve::Bytes(0),
                overcommit: 1.0,
            },
        };
        let mounter = LinuxMounter::new(&root)?;
        let engine = Engine::new(settings, Arc::new(DirectoryBackend), Arc::new(mounter));
        engine.open_pool();
        Ok(engine)
    }
}

/// Runs a short command on a small runtime.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// The message of a failed call, as a person wants to read it.
pub fn plain(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}", status.message())
}
