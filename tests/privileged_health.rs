//! The health of volumes: each reason is provoked, told by every call that could know it, and goes away.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

mod common;

use std::os::unix::fs::symlink;
use std::process::Command;

use berth::proto::csi;
use common::disk::{run, unmount};
use common::health::{all_is_well, flip_a_bit};
use common::{Agent, Clients, Node, on_every_filesystem, refused};
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
fn privileged_what_no_record_explains_is_told_and_left() {
    let name = "privileged_what_no_record_explains_is_told_and_left";
    on_every_filesystem(name, async |node| {
        drop(node.agent().await);
        for path in [
            "volumes/vol-orphan",
            ".berth/trash/vol-orphan",
            "volumes/Not an ID",
            "volumes/vol-empty",
        ] {
            std::fs::create_dir(node.pool().join(path)).unwrap();
            if !path.ends_with("empty") {
                std::fs::write(node.pool().join(path).join("a"), "data").unwrap();
            }
        }
        let stray = node.pool().join(".berth/records/notes.txt");
        std::fs::write(&stray, "a person's").unwrap();
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let mut told: Vec<_> = clients
            .diagnose()
            .await
            .into_iter()
            .map(|finding| (finding.reason, finding.object))
            .collect();
        told.sort();
        let expected = [
            ("OrphanedData", node.trash("vol-orphan")),
            ("OrphanedData", node.volume("Not an ID")),
            ("OrphanedData", node.volume("vol-orphan")),
            ("RecordQuarantined", stray.clone()),
        ];
        assert_eq!(
            told,
            expected.map(|(reason, path)| (reason.to_owned(), path.display().to_string()))
        );
        assert!(clients.ready().await && clients.ailing(0).await.unwrap().is_empty());
        refused(clients.controller_reasons("vol-orphan").await, Code::NotFound, "");
        clients.delete("vol-orphan").await.unwrap();
        assert_eq!(std::fs::read(node.volume("vol-orphan").join("a")).unwrap(), b"data");
        assert_eq!(std::fs::read(node.trash("vol-orphan").join("a")).unwrap(), b"data");
        assert_eq!(std::fs::read(stray).unwrap(), b"a person's");
        assert!(
            !node.volume("vol-empty").exists(),
            "what an interrupted create leaves is still there"
        );
    });
}
