//! The wrong disk: nothing is done to it, pods can end, and the right one is taken up by itself.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

mod common;

use std::path::Path;
use std::process::Command;

use berth::proto::csi;
use common::disk::{mount_depth, run, tree, unmount, unmount_lazily};
use common::requests::{self, MIB};
use common::{
    Agent, Clients, Disk, Filesystem, Node, Published, at_once_on_every_filesystem, eventually, on_every_filesystem,
    refused,
};
use tonic::Code;

/// Everything that would change a pool or mount from it is refused, for `words`.
async fn serves_nothing(clients: &Clients, volume: &Published, words: &str) {
    let code = Code::FailedPrecondition;
    assert!(!clients.ready().await);
    refused(clients.create("new").await, code, words);
    refused(clients.delete(&volume.id).await, code, words);
    refused(clients.undelete(&volume.id).await, code, words);
    refused(clients.stage(&volume.id, &volume.staging).await, code, words);
    refused(
        clients.publish(&volume.id, &volume.staging, &volume.target).await,
        code,
        words,
    );
}

/// Without its pool an agent tells the kubelet and the provisioner nothing about it.
async fn knows_no_pool(clients: &Clients, words: &str) {
    let code = Code::FailedPrecondition;
    refused(clients.node_info().await, code, words);
    refused(clients.list().await, code, words);
    refused(clients.available().await, code, words);
}

/// The agent found its pool again: the volume and its data are there, and new ones are made.
async fn serves_again(agent: &Agent, volume: &Published) {
    let clients = agent.clients().await;
    eventually("the agent takes up its pool", async || clients.ready().await).await;
    clients.node_info().await.unwrap();
    assert!(clients.list().await.unwrap().contains(&volume.id));
    clients.stage(&volume.id, &volume.staging).await.unwrap();
    clients
        .publish(&volume.id, &volume.staging, &volume.target)
        .await
        .unwrap();
    assert_eq!(std::fs::read(volume.target.join("a")).unwrap(), b"data");
    clients.take_down(volume).await.unwrap();
    let id = clients.create("made afterwards").await.unwrap();
    clients.delete(&id).await.unwrap();
}

/// A published volume with data in it.
async fn volume_with_data(node: &Node) -> Published {
    let agent = node.agent().await;
    let volume = agent.clients().await.publish_new(&agent, "pod").await;
    std::fs::write(volume.target.join("a"), "data").unwrap();
    run(Command::new("sync").arg("-f").arg(node.pool()));
    volume
}

#[test]
fn privileged_a_disk_that_is_not_mounted_leaves_its_mount_point_alone() {
    let name = "privileged_a_disk_that_is_not_mounted_leaves_its_mount_point_alone";
    at_once_on_every_filesystem(name, async |node| {
        let volume = volume_with_data(&node).await;
        unmount(&node.pool());
        let agent = node.agent_with(&[]).await;
        let clients = agent.clients().await;
        serves_nothing(&clients, &volume, "not a pool").await;
        knows_no_pool(&clients, "not a pool").await;
        // The pod that still runs on the volume can end.
        assert_eq!(mount_depth(&volume.target), 1);
        clients.take_down(&volume).await.unwrap();
        assert!(!volume.target.exists());
        assert!(
            std::fs::read_dir(node.pool()).unwrap().next().is_none(),
            "written to the mount point"
        );
        node.disk.mount(&node.pool(), "");
        serves_again(&agent, &volume).await;
    });
}

#[test]
fn privileged_a_mount_point_that_is_not_there_yet_is_waited_for() {
    let name = "privileged_a_mount_point_that_is_not_there_yet_is_waited_for";
    at_once_on_every_filesystem(name, async |node| {
        let volume = volume_with_data(&node).await;
        unmount(&node.pool());
        std::fs::remove_dir(node.pool()).unwrap();
        let agent = node.agent_with(&[]).await;
        serves_nothing(&agent.clients().await, &volume, "No such file").await;
        assert!(!node.pool().exists());
        node.disk.mount(&node.pool(), "");
        serves_again(&agent, &volume).await;
    });
}

#[test]
fn privileged_a_disk_that_is_taken_from_a_running_agent_is_waited_for() {
    let name = "privileged_a_disk_that_is_taken_from_a_running_agent_is_waited_for";
    at_once_on_every_filesystem(name, async |node| {
        let volume = volume_with_data(&node).await;
        // An agent that may make a pool must not make one where its disk was.
        let agent = node.agent_with(&["--init-pool"]).await;
        let clients = agent.clients().await;
        unmount_lazily(&node.pool());
        serves_nothing(&clients, &volume, &node.pool().display().to_string()).await;
        eventually("the agent lets go of the disk", async || clients.list().await.is_err()).await;
        // Long enough for it to look at the empty directory once more.
        tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
        serves_nothing(&clients, &volume, &node.pool().display().to_string()).await;
        knows_no_pool(&clients, &node.pool().display().to_string()).await;
        assert!(
            std::fs::read_dir(node.pool()).unwrap().next().is_none(),
            "written to the mount point"
        );
        clients.take_down(&volume).await.unwrap();
        node.disk.mount(&node.pool(), "");
        serves_again(&agent, &volume).await;
    });
}

#[test]
fn privileged_a_disk_that_is_mounted_again_under_a_running_agent_is_taken_up() {
    let name = "privileged_a_disk_that_is_mounted_again_under_a_running_agent_is_taken_up";
    at_once_on_every_filesystem(name, async |node| {
        let volume = volume_with_data(&node).await;
        let agent = node.agent_with(&[]).await;
        // It is the same file system, but nothing can be mounted from where the agent has it open.
        unmount_lazily(&node.pool());
        node.disk.mount(&node.pool(), "");
        assert!(!agent.clients().await.ready().await);
        serves_again(&agent, &volume).await;
    });
}

#[test]
fn privileged_a_pool_on_another_file_system_than_its_own_is_refused() {
    let name = "privileged_a_pool_on_another_file_system_than_its_own_is_refused";
    at_once_on_every_filesystem(name, async |node| {
        let volume = volume_with_data(&node).await;
        for filesystem in [node.filesystem, Filesystem::Ext4] {
            let copy = Disk::make(node.home(), "copy", filesystem, filesystem.smallest_mib().max(64));
            let place = node.home().join("copy");
            copy.mount(&place, "");
            run(Command::new("cp").arg("-a").arg(node.pool().join(".")).arg(&place));
            unmount(&place);
            unmount(&node.pool());
            copy.mount(&node.pool(), "");
            let before = tree(&node.pool());
            for flags in [vec![], vec!["--init-pool"]] {
                let agent = node.agent_with(&flags).await;
                let clients = agent.clients().await;
                serves_nothing(&clients, &volume, "wrong file system").await;
                knows_no_pool(&clients, "wrong file system").await;
            }
            assert_eq!(tree(&node.pool()), before, "the copy was changed");
            let agent = node.agent_with(&[]).await;
            unmount(&node.pool());
            node.disk.mount(&node.pool(), "");
            serves_again(&agent, &volume).await;
        }
    });
}

#[test]
fn privileged_another_pools_disk_is_not_taken_for_the_first() {
    let name = "privileged_another_pools_disk_is_not_taken_for_the_first";
    at_once_on_every_filesystem(name, async |node| {
        let volume = volume_with_data(&node).await;
        let agent = node.agent().await;
        let here = agent.clients().await.node_info().await.unwrap().accessible_topology;
        agent.kill();
        let other = Node::new(node.filesystem);
        drop(other.agent().await);
        unmount(&other.pool());
        unmount(&node.pool());
        other.disk.mount(&node.pool(), "");

        let agent = node.agent_with(&[]).await;
        let clients = agent.clients().await;
        let now = clients.node_info().await.unwrap().accessible_topology;
        assert_ne!(now, here, "another pool under the first one's label");
        // A volume for the first pool is not made here, nor is one of its volumes.
        let request = csi::CreateVolumeRequest {
            accessibility_requirements: Some(csi::TopologyRequirement {
                requisite: here.clone().into_iter().collect(),
                preferred: here.into_iter().collect(),
            }),
            ..requests::create("new", MIB)
        };
        refused(
            clients.create_from(request).await,
            Code::ResourceExhausted,
            "topologies",
        );
        let answer = clients.publish(&volume.id, &volume.staging, &volume.target).await;
        refused(answer, Code::NotFound, &volume.id);
        assert!(clients.list().await.unwrap().is_empty());
        clients.take_down(&volume).await.unwrap();
        agent.kill();
        unmount(&node.pool());
        node.disk.mount(&node.pool(), "");
        serves_again(&node.agent().await, &volume).await;
    });
}

/// The node's label and the provisioner still name the first pool.
#[test]
fn privileged_a_running_agent_takes_no_other_pool_in_its_pools_place() {
    let name = "privileged_a_running_agent_takes_no_other_pool_in_its_pools_place";
    at_once_on_every_filesystem(name, async |node| {
        let volume = volume_with_data(&node).await;
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let uuid = |info: csi::NodeGetInfoResponse| {
            let segments = info.accessible_topology.unwrap().segments;
            segments["topology.berth.dev/pool"].clone()
        };
        let first = uuid(clients.node_info().await.unwrap());
        let other = Node::new(node.filesystem);
        let second = uuid(other.agent().await.clients().await.node_info().await.unwrap());
        unmount(&other.pool());
        unmount_lazily(&node.pool());
        other.disk.mount(&node.pool(), "");
        let before = tree(&node.pool());
        eventually("the agent sees the other pool", async || {
            let answer = clients.list().await;
            answer.is_err_and(|status| status.message().contains(&second))
        })
        .await;
        // Long enough for it to look once more.
        tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
        serves_nothing(&clients, &volume, &second).await;
        knows_no_pool(&clients, &format!("this agent serves pool {first}")).await;
        assert_eq!(clients.storage_reasons().await, ["PoolWrongDisk"]);
        assert_eq!(tree(&node.pool()), before, "the other pool was changed");
        clients.take_down(&volume).await.unwrap();
        unmount(&node.pool());
        node.disk.mount(&node.pool(), "");
        serves_again(&agent, &volume).await;
        assert_eq!(uuid(clients.node_info().await.unwrap()), first);
    });
}

#[test]
fn privileged_a_file_system_mounted_over_a_live_pool_is_not_touched() {
    let name = "privileged_a_file_system_mounted_over_a_live_pool_is_not_touched";
    at_once_on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        std::fs::write(volume.target.join("a"), "data").unwrap();
        let second = clients.publish_new(&agent, "second").await;
        let over = Disk::make(node.home(), "over", Filesystem::Ext4, 16);
        over.mount(&node.pool(), "");
        let before = tree(&node.pool());
        // At once, before the agent has looked by itself, and after.
        serves_nothing(&clients, &volume, "something else is mounted there").await;
        clients.take_down(&second).await.unwrap();
        eventually("the agent lets go of the pool", async || clients.list().await.is_err()).await;
        serves_nothing(&clients, &volume, "Mount the pool's own disk").await;
        knows_no_pool(&clients, "Mount the pool's own disk").await;
        std::fs::write(volume.target.join("a"), "data").unwrap();
        clients.take_down(&volume).await.unwrap();
        assert!(!volume.target.exists() && !second.target.exists());
        assert_eq!(tree(&node.pool()), before, "the file system on top was changed");
        unmount(&node.pool());
        serves_again(&agent, &volume).await;
    });
}

#[test]
fn privileged_a_new_pool_is_made_only_where_nothing_is() {
    let name = "privileged_a_new_pool_is_made_only_where_nothing_is";
    on_every_filesystem(name, async |node| {
        let file = node.pool().join("somebody's");
        std::fs::write(&file, "data").unwrap();
        refuses_to_make(&node, "not a pool").await;
        std::fs::remove_file(&file).unwrap();
        // The shape of a pool with data in it, whose pool file was lost.
        std::fs::create_dir_all(node.pool().join("volumes/vol-1")).unwrap();
        refuses_to_make(&node, "not a pool").await;
        std::fs::remove_dir_all(node.pool().join("volumes")).unwrap();
        let log = std::fs::read_to_string(node.home().join("agent.log")).unwrap();
        assert!(log.contains("not empty"), "the log does not tell why");
        let newer = node.pool().join("berth.json");
        std::fs::write(&newer, r#"{"format":2,"body":{}}"#).unwrap();
        refuses_to_make(&node, "format 2").await;
        std::fs::remove_file(&newer).unwrap();
        // Nothing but what mkfs leaves: the first agent makes it, berth init not once more.
        drop(node.agent_with(&["--init-pool"]).await);
        assert!(init(&node.pool()).contains("is a pool already"));
    });
}

async fn refuses_to_make(node: &Node, words: &str) {
    let before = tree(&node.pool());
    let agent = node.agent_with(&["--init-pool"]).await;
    let clients = agent.clients().await;
    refused(clients.create("new").await, Code::FailedPrecondition, words);
    knows_no_pool(&clients, words).await;
    assert!(!clients.ready().await);
    assert!(init(&node.pool()).contains("berth: "), "berth init made a pool");
    assert_eq!(tree(&node.pool()), before, "something was made");
}

/// What `berth init` says on its standard error.
fn init(pool: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(["init", "--pool"])
        .arg(pool)
        .output()
        .expect("berth init");
    String::from_utf8(output.stderr).unwrap()
}
