//! What a person types: each command through an agent and without one.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

#[path = "../common/mod.rs"]
mod common;

mod completions;
mod doctor;
mod init;
mod undelete;
mod volumes;
mod wrong;

use std::path::{Path, PathBuf};

use berth::proto::csi;
use common::command::{Outcome, berth};
use common::{Agent, requests};

/// A pool, with an agent or without.
struct Pool {
    home: tempfile::TempDir,
    agent: Option<Agent>,
}

impl Pool {
    /// A new pool with an agent.
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("pool")).unwrap();
        let mut pool = Self { home, agent: None };
        pool.start().await;
        pool
    }

    async fn start(&mut self) {
        self.agent = Some(Agent::start(self.home.path(), &self.path()).await);
    }

    fn stop(&mut self) {
        let agent = self.agent.take().expect("an agent runs");
        assert!(agent.terminate().success());
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("pool")
    }

    fn volume(&self, id: &str) -> PathBuf {
        self.path().join("volumes").join(id)
    }

    /// Runs a command on this pool: through the agent, if there is one.
    fn berth(&self, arguments: &[&str]) -> Outcome {
        berth_at(&self.path(), &Agent::socket_in(self.home.path()), arguments)
    }

    async fn create(&self, request: csi::CreateVolumeRequest) -> String {
        let mut controller = self.agent.as_ref().unwrap().clients().await.controller;
        let answer = controller.create_volume(request).await.unwrap();
        answer.into_inner().volume.unwrap().volume_id
    }

    async fn delete(&self, id: &str) {
        let mut controller = self.agent.as_ref().unwrap().clients().await.controller;
        controller.delete_volume(requests::delete(id)).await.unwrap();
    }
}

/// Runs a command with the flags that name a pool and a socket.
fn berth_at(pool: &Path, socket: &Path, arguments: &[&str]) -> Outcome {
    let flags = [
        format!("--pool={}", pool.display()),
        format!("--csi-endpoint=unix://{}", socket.display()),
    ];
    berth(arguments.iter().copied().chain(flags.iter().map(String::as_str)))
}
