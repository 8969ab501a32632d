//! The cluster's own commands: what `kubectl` cannot do to a node.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// The nodes, by name.
pub const NODES: [&str; 2] = ["node-1", "node-2"];

/// Where the pool is on each of them.
pub const POOL: &str = "/mnt/data";

/// The head of the tree that this program was built from.
pub fn repository() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", ".."].iter().collect()
}

/// Runs `tests/e2e/cluster` and returns what it prints.
pub async fn command(arguments: &[&str]) -> Result<String> {
    let output = Command::new(repository().join("tests/e2e/cluster"))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run tests/e2e/cluster")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if !output.status.success() {
        bail!(
            "cluster {}: {}: {} {}",
            arguments.join(" "),
            output.status,
            text(&output.stderr),
            text(&output.stdout)
        );
    }
    Ok(text(&output.stdout))
}

/// Runs a shell script on a node, as its root.
pub async fn on_node(node: &str, script: &str) -> Result<String> {
    command(&["in-node", number(node), "bash", "-c", script]).await
}

pub async fn cut_power(node: &str) -> Result<()> {
    command(&["node-kill", number(node)]).await.map(drop)
}

/// Returns when the kubelet says that the node is ready.
pub async fn boot(node: &str) -> Result<()> {
    command(&["node-boot", number(node)]).await.map(drop)
}

pub async fn swap_disk(node: &str) -> Result<()> {
    command(&["disk-swap", number(node)]).await.map(drop)
}

pub async fn restore_disk(node: &str) -> Result<()> {
    command(&["disk-restore", number(node)]).await.map(drop)
}

pub async fn restart_kubelet(node: &str) -> Result<()> {
    command(&["kubelet-restart", number(node)]).await.map(drop)
}

/// The other of the two nodes.
pub fn other(node: &str) -> &'static str {
    if node == NODES[0] { NODES[1] } else { NODES[0] }
}

fn number(node: &str) -> &str {
    node.trim_start_matches("node-")
}
