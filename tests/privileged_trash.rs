//! Deleted volumes: what the trash keeps, gives back, and gives up, also across restarts.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::disk::{run, unmount};
use common::{Clients, Node, at_once_on_every_filesystem, eventually, on_every_filesystem, refused};
use tonic::Code;

const CLAIM: [(&str, &str); 2] = [
    ("csi.storage.k8s.io/pvc/namespace", "default"),
    ("csi.storage.k8s.io/pvc/name", "data-mysql-0"),
];

/// A volume for the claim `default/data-mysql-0` whose data stays in the trash for `retention`.
async fn kept_for(clients: &Clients, retention: &str) -> String {
    let [namespace, name] = CLAIM;
    let parameters = [namespace, name, ("berth.dev/trash-retention", retention)];
    clients.create_with("mysql", &parameters).await.unwrap()
}

async fn gone(node: &Node, id: &str) {
    eventually("the trash gives the volume up", async || {
        !node.trash(id).exists() && !node.record(id).exists()
    })
    .await;
    assert!(!node.volume(id).exists());
}

#[test]
fn privileged_an_undeleted_volume_is_as_it_was_also_after_a_restart() {
    let name = "privileged_an_undeleted_volume_is_as_it_was_also_after_a_restart";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let id = kept_for(&clients, "1h").await;
        let link = node.pool().join("by-claim/default/data-mysql-0");
        let linked = std::fs::read_link(&link).unwrap();
        std::fs::create_dir(node.volume(&id).join("db")).unwrap();
        std::fs::write(node.volume(&id).join("db/table"), "rows").unwrap();
        clients.delete(&id).await.unwrap();
        assert!(!node.volume(&id).exists());
        assert!(!link.is_symlink(), "the claim still leads to a deleted volume");
        assert!(clients.list().await.unwrap().is_empty());
        agent.kill();

        let agent = node.agent().await;
        let clients = agent.clients().await;
        let summaries = clients.summaries().await.unwrap();
        let [summary] = summaries.as_slice() else {
            panic!("one volume was deleted: {summaries:?}");
        };
        assert_eq!(summary.state, "Deleted");
        clients.delete(&id).await.unwrap();
        refused(clients.undelete("vol-other").await, Code::NotFound, "vol-other");
        assert_eq!(clients.undelete(&id).await.unwrap(), node.volume(&id));
        assert_eq!(std::fs::read(node.volume(&id).join("db/table")).unwrap(), b"rows");
        assert_eq!(std::fs::read_link(&link).unwrap(), linked);
        assert!(link.join("db/table").exists(), "the link leads nowhere");
        assert!(!node.trash(&id).exists());
        agent.kill();
        let agent = node.agent().await;
        let clients = agent.clients().await;
        assert_eq!(clients.list().await.unwrap(), std::slice::from_ref(&id));
        refused(clients.undelete(&id).await, Code::FailedPrecondition, "not deleted");
        let volume = clients.publish_new_from(&agent, mysql_again()).await;
        assert_eq!(volume.id, id);
        assert_eq!(std::fs::read(volume.target.join("db/table")).unwrap(), b"rows");
    });
}

fn mysql_again() -> berth::proto::csi::CreateVolumeRequest {
    let [namespace, name] = CLAIM;
    let parameters = [namespace, name, ("berth.dev/trash-retention", "1h")];
    common::requests::create_with("mysql", common::requests::MIB, &parameters)
}

#[test]
fn privileged_the_trash_keeps_time_across_a_restart() {
    let name = "privileged_the_trash_keeps_time_across_a_restart";
    at_once_on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let id = kept_for(&clients, "3s").await;
        std::fs::write(node.volume(&id).join("a"), "data").unwrap();
        clients.delete(&id).await.unwrap();
        agent.kill();
        let agent = node.agent().await;
        assert!(node.trash(&id).join("a").exists(), "given up before its time");
        gone(&node, &id).await;
        let clients = agent.clients().await;
        refused(clients.undelete(&id).await, Code::NotFound, &id);
        assert!(clients.summaries().await.unwrap().is_empty());

        // Its time passes while no agent runs.
        let id = kept_for(&clients, "1s").await;
        clients.delete(&id).await.unwrap();
        agent.kill();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let _agent = node.agent().await;
        gone(&node, &id).await;
    });
}

#[test]
fn privileged_without_retention_a_deleted_volume_goes_at_once() {
    let name = "privileged_without_retention_a_deleted_volume_goes_at_once";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let id = clients.create("plain").await.unwrap();
        let deep = node.volume(&id).join("a/b/c/d/e");
        std::fs::create_dir_all(&deep).unwrap();
        for file in 0..200 {
            std::fs::write(deep.join(file.to_string()), "data").unwrap();
        }
        clients.delete(&id).await.unwrap();
        assert!(!node.volume(&id).exists(), "acknowledged and still there");
        let answer = clients.undelete(&id).await.expect_err("it cannot come back");
        assert!(
            [Code::NotFound, Code::FailedPrecondition].contains(&answer.code()),
            "{answer}"
        );
        gone(&node, &id).await;
        clients.delete(&id).await.unwrap();
    });
}

#[test]
fn privileged_a_mounted_volume_is_not_deleted() {
    let name = "privileged_a_mounted_volume_is_not_deleted";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        std::fs::create_dir(volume.target.join("part")).unwrap();
        std::fs::write(volume.target.join("part/a"), "data").unwrap();
        // As the kubelet mounts a subPath.
        let part = agent.kubelet("pods/pod/volume-subpaths/data/0");
        std::fs::create_dir_all(&part).unwrap();
        run(Command::new("mount")
            .arg("--bind")
            .args([&volume.target.join("part"), &part]));
        let refuse = async |path: &Path| {
            let answer = clients.delete(&volume.id).await;
            refused(answer, Code::FailedPrecondition, path.to_str().unwrap());
            assert_eq!(std::fs::read(node.volume(&volume.id).join("part/a")).unwrap(), b"data");
        };
        refuse(Path::new("in use")).await;
        clients.unpublish(&volume.id, &volume.target).await.unwrap();
        refuse(Path::new("in use")).await;
        clients.unstage(&volume.id, &volume.staging).await.unwrap();
        refuse(&part).await;
        unmount(&part);
        clients.delete(&volume.id).await.unwrap();
        gone(&node, &volume.id).await;
    });
}

#[test]
fn privileged_a_mount_inside_the_trash_is_left_and_reported() {
    let name = "privileged_a_mount_inside_the_trash_is_left_and_reported";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let id = clients.create("plain").await.unwrap();
        std::fs::create_dir_all(node.volume(&id).join("a/point")).unwrap();
        std::fs::create_dir_all(node.volume(&id).join("same")).unwrap();
        std::fs::write(node.volume(&id).join("a/file"), "data").unwrap();
        // One of another file system, one of the pool's own.
        let other = node.home().join("other");
        let same = node.pool().join("kept");
        for canary in [&other, &same] {
            std::fs::create_dir(canary).unwrap();
            std::fs::write(canary.join("canary"), "sings").unwrap();
        }
        let [in_other, in_same] = ["a/point", "same"].map(|point| node.volume(&id).join(point));
        run(Command::new("mount").arg("--bind").args([&other, &in_other]));
        run(Command::new("mount").arg("--bind").args([&same, &in_same]));
        clients.delete(&id).await.unwrap();
        eventually("the log tells of it", async || {
            agent
                .log()
                .lines()
                .any(|line| line.contains("not purged") && line.contains(&id))
        })
        .await;
        for canary in [&other, &same] {
            assert_eq!(std::fs::read(canary.join("canary")).unwrap(), b"sings");
        }
        assert!(node.trash(&id).exists());
        for point in common::disk::mounts_beneath(&node.trash(&id)) {
            unmount(&point);
        }
        agent.kill();
        let _agent = node.agent().await;
        gone(&node, &id).await;
        assert!(other.join("canary").exists() && same.join("canary").exists());
    });
}

/// Mounted over the deleted volume itself, while the trash keeps it.
#[test]
fn privileged_a_mount_over_what_the_trash_keeps_is_left_and_reported() {
    let name = "privileged_a_mount_over_what_the_trash_keeps_is_left_and_reported";
    at_once_on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let same = node.pool().join("kept");
        std::fs::create_dir(&same).unwrap();
        std::fs::write(same.join("canary"), "sings").unwrap();
        let id = kept_for(&clients, "2s").await;
        clients.delete(&id).await.unwrap();
        run(Command::new("mount").arg("--bind").args([&same, &node.trash(&id)]));
        eventually("the log tells of it", async || agent.log().contains("not purged")).await;
        assert_eq!(std::fs::read(same.join("canary")).unwrap(), b"sings");
        unmount(&node.trash(&id));
        agent.kill();
        let _agent = node.agent().await;
        gone(&node, &id).await;
        assert_eq!(std::fs::read(same.join("canary")).unwrap(), b"sings");
    });
}

#[test]
fn privileged_protected_files_go_and_links_are_not_followed() {
    let name = "privileged_protected_files_go_and_links_are_not_followed";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let canary = node.home().join("canary");
        std::fs::create_dir(&canary).unwrap();
        std::fs::write(canary.join("bird"), "sings").unwrap();
        let inside = node.pool().join("bird");
        std::fs::write(&inside, "sings").unwrap();

        let id = clients.create("plain").await.unwrap();
        let data = node.volume(&id);
        std::fs::create_dir_all(data.join("deep/er/still")).unwrap();
        for (name, target) in [("l", &canary), ("deep/l", &canary), ("deep/er/l", &inside)] {
            symlink(target, data.join(name)).unwrap();
        }
        std::fs::hard_link(&inside, data.join("hard")).unwrap();
        for path in ["immutable", "deep/immutable", "append", "deep/er/still/append"] {
            std::fs::write(data.join(path), "data").unwrap();
            chattr(if path.ends_with("append") { "+a" } else { "+i" }, &data.join(path));
        }
        for (flag, path) in [("+i", "deep/er/still"), ("+a", "deep/er"), ("+i", "deep")] {
            chattr(flag, &data.join(path));
        }
        clients.delete(&id).await.unwrap();
        gone(&node, &id).await;
        assert_eq!(std::fs::read(canary.join("bird")).unwrap(), b"sings");
        assert_eq!(std::fs::read(&inside).unwrap(), b"sings");
    });
}

/// A pod with the right to do so can protect the root of its volume too.
#[test]
fn privileged_a_volume_whose_root_is_protected_is_deleted() {
    let name = "privileged_a_volume_whose_root_is_protected_is_deleted";
    on_every_filesystem(name, async |node| {
        let mut agent = node.agent().await;
        for flag in ["+i", "+a"] {
            let clients = agent.clients().await;
            let id = kept_for(&clients, "1h").await;
            std::fs::write(node.volume(&id).join("a"), "data").unwrap();
            chattr(flag, &node.volume(&id));
            clients.delete(&id).await.unwrap();
            assert!(node.trash(&id).join("a").exists());
            clients.undelete(&id).await.unwrap();
            chattr(flag, &node.volume(&id));
            clients.delete(&id).await.unwrap();
            chattr(flag, &node.trash(&id));
            agent.kill();
            agent = node.agent().await;
            let clients = agent.clients().await;
            clients.undelete(&id).await.unwrap();
            assert_eq!(std::fs::read(node.volume(&id).join("a")).unwrap(), b"data");
            assert_eq!(kept_for(&clients, "1h").await, id);
            clients.delete(&id).await.unwrap();
        }
    });
}

fn chattr(flag: &str, path: &Path) {
    run(Command::new("chattr").arg(flag).arg(path));
}

#[test]
fn privileged_a_name_used_again_gets_a_new_volume_beside_the_deleted_one() {
    let name = "privileged_a_name_used_again_gets_a_new_volume_beside_the_deleted_one";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let old = kept_for(&clients, "1h").await;
        std::fs::write(node.volume(&old).join("a"), "old").unwrap();
        clients.delete(&old).await.unwrap();
        let new = kept_for(&clients, "1h").await;
        assert_ne!(new, old);
        assert!(
            std::fs::read_dir(node.volume(&new)).unwrap().next().is_none(),
            "it is not empty"
        );
        std::fs::write(node.volume(&new).join("a"), "new").unwrap();
        refused(clients.undelete(&old).await, Code::AlreadyExists, &new);
        agent.kill();

        let agent = node.agent().await;
        let clients = agent.clients().await;
        assert_eq!(kept_for(&clients, "1h").await, new);
        refused(clients.undelete(&old).await, Code::AlreadyExists, &new);
        clients.delete(&old).await.unwrap();
        let link = node.pool().join("by-claim/default/data-mysql-0");
        assert_eq!(std::fs::read(link.join("a")).unwrap(), b"new");
        assert_eq!(std::fs::read(node.trash(&old).join("a")).unwrap(), b"old");
        // The new one makes way, and the old one comes back under its own ID.
        clients.delete(&new).await.unwrap();
        clients.undelete(&old).await.unwrap();
        assert_eq!(std::fs::read(link.join("a")).unwrap(), b"old");
        assert_eq!(kept_for(&clients, "1h").await, old);
        refused(clients.undelete(&new).await, Code::AlreadyExists, &old);
    });
}

/// A person put something where the trash wants to keep a deleted volume.
#[test]
fn privileged_a_deletion_that_cannot_be_finished_keeps_no_other_volume_from_being_served() {
    let name = "privileged_a_deletion_that_cannot_be_finished_keeps_no_other_volume_from_being_served";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let id = kept_for(&clients, "1h").await;
        std::fs::write(node.volume(&id).join("a"), "data").unwrap();
        clients.delete(&id).await.unwrap();
        let other = clients.create("other").await.unwrap();
        agent.kill();
        std::fs::rename(node.trash(&id), node.volume(&id)).unwrap();
        std::fs::create_dir(node.trash(&id)).unwrap();
        std::fs::write(node.trash(&id).join("b"), "a person's").unwrap();

        let agent = node.agent().await;
        let clients = agent.clients().await;
        assert_eq!(clients.list().await.unwrap(), std::slice::from_ref(&other));
        clients.delete(&other).await.unwrap();
        refused(clients.delete(&id).await, Code::FailedPrecondition, &id);
        assert_eq!(std::fs::read(node.trash(&id).join("b")).unwrap(), b"a person's");
        run(Command::new("mv").arg(node.trash(&id)).arg(node.home()));
        clients.delete(&id).await.unwrap();
        clients.undelete(&id).await.unwrap();
        assert_eq!(std::fs::read(node.volume(&id).join("a")).unwrap(), b"data");
    });
}

/// A deletion that is durable, and no way into the trash for its data: what a full disk leaves.
#[test]
fn privileged_a_deletion_that_found_no_way_into_the_trash_loses_nothing() {
    let name = "privileged_a_deletion_that_found_no_way_into_the_trash_loses_nothing";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let retention = [("berth.dev/trash-retention", "1h")];
        let mut ids = Vec::new();
        for name in ["full", "empty"] {
            let id = clients.create_with(name, &retention).await.unwrap();
            clients.delete(&id).await.unwrap();
            ids.push(id);
        }
        agent.kill();
        for id in &ids {
            std::fs::rename(node.trash(id), node.volume(id)).unwrap();
        }
        std::fs::write(node.volume(&ids[0]).join("a"), "data").unwrap();
        let trash = node.pool().join(".berth/trash");
        chattr("+i", &trash);
        for _ in 0..2 {
            let agent = node.agent().await;
            let clients = agent.clients().await;
            assert!(clients.diagnose().await.is_empty(), "{:?}", clients.diagnose().await);
            let shown = clients.summaries().await.unwrap();
            assert_eq!(shown.len(), 2, "{shown:?}");
            for volume in shown {
                assert_eq!(Path::new(&volume.path), node.volume(&volume.volume_id));
                assert_eq!(volume.state, "Deleted");
            }
            agent.kill();
        }
        let agent = node.agent().await;
        let clients = agent.clients().await;
        for id in &ids {
            assert_eq!(clients.undelete(id).await.unwrap(), node.volume(id));
            assert!(node.volume(id).is_dir());
        }
        assert_eq!(std::fs::read(node.volume(&ids[0]).join("a")).unwrap(), b"data");
        chattr("-i", &trash);
        for id in &ids {
            clients.delete(id).await.unwrap();
            assert!(node.trash(id).is_dir() && !node.volume(id).exists());
        }
    });
}

/// Data that no record explains and that a pod protected cannot be removed even if it were empty.
#[test]
fn privileged_what_is_protected_keeps_no_volume_from_being_served() {
    let name = "privileged_what_is_protected_keeps_no_volume_from_being_served";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let id = agent.clients().await.create("volume").await.unwrap();
        agent.kill();
        let orphans = [node.volume("vol-orphan"), node.trash("vol-orphan")];
        let empty = node.volume("vol-empty");
        for orphan in &orphans {
            std::fs::create_dir(orphan).unwrap();
            std::fs::write(orphan.join("a"), "data").unwrap();
        }
        std::fs::create_dir(&empty).unwrap();
        let staged = node.pool().join(".berth/staging/vol-half.json");
        std::fs::write(&staged, "{").unwrap();
        let others = ["vol-a.json", "vol-z.json"].map(|name| staged.with_file_name(name));
        others.iter().for_each(|other| std::fs::write(other, "{").unwrap());
        let all = [&orphans[0], &orphans[1], &empty, &staged];
        for path in all {
            chattr("+i", path);
        }
        let agent = node.agent().await;
        let clients = agent.clients().await;
        assert!(clients.ready().await, "{:?}", clients.diagnose().await);
        assert_eq!(clients.list().await.unwrap(), [id]);
        let findings = clients.diagnose().await;
        let mut found: Vec<_> = findings.iter().map(|finding| Path::new(&finding.object)).collect();
        found.sort();
        assert_eq!(found, [&orphans[1], &orphans[0]]);
        assert!(others.iter().all(|other| !other.exists()), "what can go stays");
        for path in all {
            chattr("-i", path);
        }
        agent.kill();
        let _agent = node.agent().await;
        assert!(!empty.exists() && !staged.exists());
    });
}
