//! What each call answers, over the real socket: the table of codes, row by row, without mounts.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

#[path = "../common/mod.rs"]
mod common;

mod canary;
mod capacity;
mod create;
mod create_directory;
mod create_limits;
mod delete;
mod hostile;
mod list;
mod node;
mod unserved;
mod validate;

use std::path::{Path, PathBuf};
use std::process::Command;

use berth::proto::csi;
use common::{Agent, Clients, refused};
use nix::sys::statvfs::statvfs;
use tonic::Status;

/// An agent with a pool that has so much to promise, whatever else is on the disk.
struct Fixture {
    home: tempfile::TempDir,
    agent: Agent,
    clients: Clients,
}

impl Fixture {
    async fn new() -> Self {
        Self::with_mib(100).await
    }

    async fn with_mib(mib: u64) -> Self {
        let home = tempfile::tempdir().unwrap();
        let pool = home.path().join("pool");
        std::fs::create_dir(&pool).unwrap();
        let agent = start(home.path(), mib).await;
        let clients = agent.clients().await;
        Self { home, agent, clients }
    }

    fn pool(&self) -> PathBuf {
        self.home.path().join("pool")
    }

    /// The UUID of the pool, as berth.json has it.
    fn pool_uuid(&self) -> String {
        let text = std::fs::read_to_string(self.pool().join("berth.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["body"]["pool_uuid"].as_str().unwrap().to_owned()
    }

    /// Stops the agent, and starts it on the same pool with so much to promise.
    async fn restart_with_mib(self, mib: u64) -> Self {
        let Self { home, agent, .. } = self;
        assert!(agent.terminate().success());
        let agent = start(home.path(), mib).await;
        let clients = agent.clients().await;
        Self { home, agent, clients }
    }

    async fn create(&self, request: csi::CreateVolumeRequest) -> Result<csi::Volume, Status> {
        let answer = self.clients.controller.clone().create_volume(request).await;
        answer.map(|answer| answer.into_inner().volume.unwrap())
    }

    async fn create_id(&self, request: csi::CreateVolumeRequest) -> String {
        self.create(request).await.unwrap().volume_id
    }

    async fn delete(&self, id: &str) -> Result<(), Status> {
        self.clients.delete(id).await
    }

    async fn capacity(&self, request: csi::GetCapacityRequest) -> Result<i64, Status> {
        let answer = self.clients.controller.clone().get_capacity(request).await;
        answer.map(|answer| answer.into_inner().available_capacity)
    }

    /// The IDs of all volumes that ListVolumes shows.
    async fn ids(&self) -> Vec<String> {
        self.clients.list().await.unwrap()
    }
}

async fn start(home: &Path, mib: u64) -> Agent {
    let pool = home.join("pool");
    let disk = statvfs(&pool).unwrap();
    let reserve = disk.blocks() * disk.fragment_size() - (mib << 20);
    Agent::start_with(home, &pool, &["--init-pool", "--reserve", &reserve.to_string()]).await
}

/// Everything beneath a directory with type, mode and content, to compare.
fn tree(path: &Path) -> String {
    let mut find = Command::new("find");
    find.arg(path).args(["-printf", "%p %y %m %U %G %n %l\n"]);
    find.args(["-type", "f", "-exec", "md5sum", "{}", ";"]);
    let text = common::command::run(&mut find).success();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn topology(segments: &[(&str, &str)]) -> csi::Topology {
    let segments = segments.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    csi::Topology {
        segments: segments.collect(),
    }
}
