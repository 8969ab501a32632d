//! The agent's two sockets: whose they are, who may call, that they come back, and how they end.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

#[path = "../common/mod.rs"]
mod common;

mod claim;
mod ending;
mod keeping;
mod peers;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use berth::proto::csi::GetPluginInfoRequest;
use berth::proto::csi::identity_client::IdentityClient;
use berth::proto::registration::InfoRequest;
use common::{Agent, raw};

/// How soon sockets have to be there, or back.
const SOON: Duration = Duration::from_secs(5);

/// A directory for the sockets and another for the pool.
struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("pool")).unwrap();
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn pool(&self) -> PathBuf {
        self.path().join("pool")
    }

    /// The CSI socket and the one for registration.
    fn sockets(&self) -> [PathBuf; 2] {
        let registration = "kubelet/plugins_registry/csi.berth.dev-reg.sock";
        [Agent::socket_in(self.path()), self.path().join(registration)]
    }

    async fn start(&self) -> Agent {
        Agent::start(self.path(), &self.pool()).await
    }

    /// Starts an agent that must refuse to run, and returns what it says.
    fn refusal(&self) -> String {
        let log = self.path().join("agent.log");
        let before = std::fs::read_to_string(&log).unwrap_or_default();
        let mut command = Agent::command(self.path(), &self.pool(), &["--init-pool"]);
        let status = command.status().unwrap();
        assert_eq!(status.code(), Some(1));
        let after = std::fs::read_to_string(&log).unwrap();
        after[before.len()..].to_owned()
    }
}

/// Whether both sockets answer.
async fn answer(sockets: &[PathBuf; 2]) -> Result<(), String> {
    let [csi, registration] = sockets;
    let channel = raw::channel(csi).await.map_err(|error| format!("{error:?}"))?;
    let info = IdentityClient::new(channel)
        .get_plugin_info(GetPluginInfoRequest {})
        .await;
    let name = info.map_err(|status| status.to_string())?.into_inner().name;
    let mut registrar = raw::registration(registration)
        .await
        .map_err(|error| format!("{error:?}"))?;
    let info = registrar
        .get_info(InfoRequest {})
        .await
        .map_err(|status| status.to_string())?;
    let info = info.into_inner();
    assert_eq!((name.as_str(), info.name.as_str()), ("csi.berth.dev", "csi.berth.dev"));
    assert_eq!(Path::new(&info.endpoint), csi);
    Ok(())
}

/// Waits until both sockets answer, within `limit`.
async fn answer_within(sockets: &[PathBuf; 2], limit: Duration) {
    let deadline = Instant::now() + limit;
    while let Err(error) = answer(sockets).await {
        assert!(Instant::now() < deadline, "no answer within {limit:?}: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The permission bits of a path.
fn mode(path: &Path) -> u32 {
    let found = std::fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    found.permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}
