//! The health calls: each reason is provoked, told by every call that could know it, and goes away.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

mod common;

use std::fs::File;
use std::os::unix::fs::symlink;
use std::process::Command;

use berth::proto::csi;
use common::disk::{run, unmount, unmount_lazily};
use common::{
    Agent, Clients, Disk, Filesystem, Node, at_once_on_every_filesystem, eventually, on_every_filesystem,
    on_filesystems, refused,
};
use tonic::Code;

/// Every call tells `reason` about the volume `id`, and nothing about the volume `sound`.
async fn volume_ails(clients: &Clients, id: &str, sound: &str, reason: &str) {
    assert_eq!(clients.controller_reasons(id).await.unwrap(), [reason]);
    assert_eq!(clients.node_reasons(id).await.unwrap(), [reason]);
    assert!(clients.controller_reasons(sound).await.unwrap().is_empty());
    assert!(clients.node_reasons(sound).await.unwrap().is_empty());
    assert_eq!(
        clients.ailing(0).await.unwrap(),
        [(id.to_owned(), vec![reason.to_owned()])]
    );
    assert!(clients.storage_reasons().await.is_empty());
    let findings = clients.diagnose().await;
    let [finding] = findings.as_slice() else {
        panic!("one thing is wrong: {findings:?}");
    };
    assert_eq!((finding.reason.as_str(), finding.severity.as_str()), (reason, "error"));
    assert_eq!(finding.object, id);
    assert!(!finding.advice.is_empty() && !finding.message.is_empty());
}

/// Every call tells `reason` about the pool, and those about volumes tell it about `known`.
async fn pool_ails(clients: &Clients, known: &str, reason: &str) {
    assert_eq!(clients.storage_reasons().await, [reason]);
    // A disk that fails makes the volume's own directory unreadable too.
    assert_eq!(clients.controller_reasons(known).await.unwrap().last().unwrap(), reason);
    assert_eq!(clients.node_reasons(known).await.unwrap().last().unwrap(), reason);
    let findings = clients.diagnose().await;
    assert!(findings.iter().any(|finding| finding.reason == reason), "{findings:?}");
}

/// Nobody knows which volumes there are: an empty list of ailing ones would be a wrong answer.
async fn pool_is_lost(clients: &Clients, known: &str, reason: &str) {
    pool_ails(clients, known, reason).await;
    refused(
        clients.ailing(0).await,
        Code::FailedPrecondition,
        "the pool cannot be used",
    );
    refused(clients.create("new").await, Code::FailedPrecondition, "");
    assert!(!clients.ready().await);
}

async fn all_is_well(clients: &Clients, id: &str) {
    assert!(clients.ready().await);
    assert!(clients.storage_reasons().await.is_empty());
    assert!(clients.ailing(0).await.unwrap().is_empty());
    assert!(clients.controller_reasons(id).await.unwrap().is_empty());
    assert!(clients.node_reasons(id).await.unwrap().is_empty());
    let findings = clients.diagnose().await;
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn privileged_a_healthy_pool_has_nothing_to_tell() {
    let name = "privileged_a_healthy_pool_has_nothing_to_tell";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        all_is_well(&clients, &volume.id).await;
        for unknown in ["vol-unknown", "../../etc", "\u{0}"] {
            refused(clients.controller_reasons(unknown).await, Code::NotFound, "");
            refused(clients.node_reasons(unknown).await, Code::NotFound, "");
        }
        refused(clients.controller_reasons("").await, Code::InvalidArgument, "volume_id");
        refused(clients.node_reasons("").await, Code::InvalidArgument, "volume_id");
        clients.take_down(&volume).await.unwrap();
        clients.delete(&volume.id).await.unwrap();
        refused(clients.controller_reasons(&volume.id).await, Code::NotFound, &volume.id);
    });
}

#[test]
fn privileged_a_damaged_record_is_told_and_its_volume_left_alone() {
    let name = "privileged_a_damaged_record_is_told_and_its_volume_left_alone";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        let sound = clients.create("sound").await.unwrap();
        std::fs::write(volume.target.join("a"), "data").unwrap();
        agent.kill();
        let record = node.record(&volume.id);
        let whole = std::fs::read(&record).unwrap();
        let mut damaged = whole.clone();
        flip_a_bit(&mut damaged);
        std::fs::write(&record, &damaged).unwrap();

        let agent = node.agent().await;
        let clients = agent.clients().await;
        volume_ails(&clients, &volume.id, &sound, "RecordQuarantined").await;
        assert!(clients.ready().await);
        let code = Code::FailedPrecondition;
        refused(clients.delete(&volume.id).await, code, record.to_str().unwrap());
        refused(clients.create("pod").await, code, record.to_str().unwrap());
        refused(clients.stage(&volume.id, &volume.staging).await, code, "damaged");
        clients.take_down(&volume).await.unwrap();
        assert_eq!(std::fs::read(&record).unwrap(), damaged, "the record was touched");
        assert_eq!(std::fs::read(node.volume(&volume.id).join("a")).unwrap(), b"data");
        agent.kill();
        std::fs::write(&record, &whole).unwrap();
        let agent = node.agent().await;
        let clients = agent.clients().await;
        all_is_well(&clients, &volume.id).await;
        assert_eq!(clients.create("pod").await.unwrap(), volume.id);
    });
}

/// The last digit becomes another one: nothing but the checksum tells.
fn flip_a_bit(bytes: &mut [u8]) {
    let digit = bytes.iter_mut().rev().find(|byte| byte.is_ascii_digit());
    *digit.unwrap() ^= 1;
}

#[test]
fn privileged_a_directory_that_is_missing_or_replaced_is_told() {
    let name = "privileged_a_directory_that_is_missing_or_replaced_is_told";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let id = clients.create("ailing").await.unwrap();
        let sound = clients.create("sound").await.unwrap();
        let (data, aside) = (node.volume(&id), node.pool().join("aside"));
        std::fs::rename(&data, &aside).unwrap();
        volume_ails(&clients, &id, &sound, "DirectoryMissing").await;

        std::fs::create_dir(node.home().join("canary")).unwrap();
        symlink(node.home().join("canary"), &data).unwrap();
        replaced_and_left(&node, &agent, &id, &sound).await;
        std::fs::remove_file(&data).unwrap();
        std::fs::write(&data, "a file").unwrap();
        replaced_and_left(&node, &agent, &id, &sound).await;
        std::fs::remove_file(&data).unwrap();
        std::fs::rename(&aside, &data).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&data));
        replaced_and_left(&node, &agent, &id, &sound).await;
        unmount(&data);
        all_is_well(&clients, &id).await;
        clients.delete(&id).await.unwrap();
    });
}

async fn replaced_and_left(node: &Node, agent: &Agent, id: &str, sound: &str) {
    let clients = agent.clients().await;
    volume_ails(&clients, id, sound, "DirectoryReplaced").await;
    let staging = common::requests::staging_path(agent, id);
    refused(clients.stage(id, &staging).await, Code::FailedPrecondition, "");
    refused(clients.delete(id).await, Code::FailedPrecondition, "");
    assert!(
        node.volume(id).symlink_metadata().is_ok(),
        "what replaced it was removed"
    );
}

#[test]
fn privileged_ailing_volumes_are_told_page_by_page() {
    let name = "privileged_ailing_volumes_are_told_page_by_page";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let mut missing = Vec::new();
        for number in 0..7 {
            let id = clients.create(&format!("volume {number}")).await.unwrap();
            if number != 3 {
                std::fs::remove_dir(node.volume(&id)).unwrap();
                missing.push((id, vec!["DirectoryMissing".to_owned()]));
            }
        }
        missing.sort();
        for most in [0, 1, 2, 3, 6, 7] {
            assert_eq!(clients.ailing(most).await.unwrap(), missing, "{most} to a page");
        }
        for (max_entries, token, code) in [(1, "nonsense", Code::Aborted), (-1, "", Code::InvalidArgument)] {
            let request = csi::ControllerListVolumeHealthRequest {
                max_entries,
                starting_token: token.to_owned(),
                ..csi::ControllerListVolumeHealthRequest::default()
            };
            let answer = clients.controller.clone().controller_list_volume_health(request).await;
            refused(answer, code, "");
        }
    });
}

#[test]
fn privileged_a_pool_on_the_wrong_disk_is_told() {
    let name = "privileged_a_pool_on_the_wrong_disk_is_told";
    at_once_on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let id = clients.create("volume").await.unwrap();
        Disk::make(node.home(), "over", Filesystem::Ext4, 16).mount(&node.pool(), "");
        pool_ails(&clients, &id, "PoolWrongDisk").await;
        eventually("the agent lets go of the pool", async || clients.list().await.is_err()).await;
        pool_is_lost(&clients, &id, "PoolWrongDisk").await;
        unmount(&node.pool());
        eventually("the agent takes up the pool", async || clients.ready().await).await;
        all_is_well(&clients, &id).await;
    });
}

#[test]
fn privileged_a_pool_file_that_cannot_be_served_is_told() {
    let name = "privileged_a_pool_file_that_cannot_be_served_is_told";
    at_once_on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let id = agent.clients().await.create("volume").await.unwrap();
        agent.kill();
        let (file, record) = (node.pool().join("berth.json"), node.record(&id));
        let (whole, whole_record) = (std::fs::read(&file).unwrap(), std::fs::read(&record).unwrap());
        let mut flipped = whole.clone();
        flip_a_bit(&mut flipped);
        let newer: &[u8] = br#"{"format":2,"body":{}}"#;
        for (damaged, content, reason) in [
            (&file, newer, "PoolTooNew"),
            (&record, newer, "PoolTooNew"),
            (&file, b"".as_slice(), "PoolDamaged"),
            (&file, flipped.as_slice(), "PoolDamaged"),
        ] {
            std::fs::write(damaged, content).unwrap();
            let agent = node.agent_with(&["--init-pool"]).await;
            pool_is_lost(&agent.clients().await, &id, reason).await;
            assert_eq!(std::fs::read(damaged).unwrap(), content, "it was written to");
            agent.kill();
            std::fs::write(&file, &whole).unwrap();
            std::fs::write(&record, &whole_record).unwrap();
        }
        // Put back while the agent runs, it is taken up.
        std::fs::write(&file, "").unwrap();
        let agent = node.agent().await;
        std::fs::write(&file, &whole).unwrap();
        let clients = agent.clients().await;
        eventually("the agent takes up the pool", async || clients.ready().await).await;
        all_is_well(&clients, &id).await;
    });
}

#[test]
fn privileged_a_second_agent_on_the_pool_waits_for_the_first() {
    let name = "privileged_a_second_agent_on_the_pool_waits_for_the_first";
    at_once_on_every_filesystem(name, async |node| {
        let first = node.agent().await;
        let id = first.clients().await.create("volume").await.unwrap();
        let second = Agent::start_with(&node.second_home(), &node.pool(), &["--init-pool"]).await;
        let clients = second.clients().await;
        pool_is_lost(&clients, &id, "PoolLocked").await;
        all_is_well(&first.clients().await, &id).await;
        first.kill();
        eventually("the second agent takes over", async || clients.ready().await).await;
        all_is_well(&clients, &id).await;
        assert_eq!(clients.create("volume").await.unwrap(), id);
    });
}

/// A disk that fails: whatever is asked, the file system answers EIO. The pod can end, and the
/// agent takes the disk up again once a person has mended it.
#[test]
fn privileged_a_disk_that_fails_is_told_and_lets_pods_end() {
    let name = "privileged_a_disk_that_fails_is_told_and_lets_pods_end";
    on_filesystems(name, &[Filesystem::Xfs, Filesystem::Ext4], async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        let second = clients.publish_new(&agent, "second").await;
        File::create(volume.target.join("a")).unwrap().sync_all().unwrap();
        common::disk::shut_down(&node.pool(), false);
        pool_ails(&clients, &volume.id, "PoolUnreadable").await;
        clients.create("new").await.unwrap_err();
        clients.delete(&volume.id).await.unwrap_err();
        clients.take_down(&volume).await.unwrap();
        assert!(!volume.target.exists());
        // As a person does: unmount, repair, mount. The agent has to let go for that.
        unmount_lazily(&node.pool());
        eventually("the agent lets go of the disk", async || clients.list().await.is_err()).await;
        // The second pod still holds what failed, so the disk comes back as another device.
        let options = if node.filesystem == Filesystem::Xfs {
            "nouuid"
        } else {
            "rw"
        };
        node.disk.mount_anew(&node.pool(), options);
        eventually("the agent takes up the pool", async || clients.ready().await).await;
        clients.take_down(&second).await.unwrap();
        assert!(!second.target.exists());
        all_is_well(&clients, &volume.id).await;
        clients.stage(&volume.id, &volume.staging).await.unwrap();
        clients
            .publish(&volume.id, &volume.staging, &volume.target)
            .await
            .unwrap();
        assert!(volume.target.join("a").exists());
    });
}
