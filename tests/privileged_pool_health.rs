//! The health of the pool as a whole: each reason is provoked, told by every call, and goes away.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

mod common;

use std::fs::File;
use std::process::Command;

use common::disk::{run, shut_down, unmount, unmount_lazily};
use common::health::{all_is_well, flip_a_bit, pool_ails, pool_is_lost};
use common::{
    Agent, Disk, Filesystem, at_once_on_every_filesystem, eventually, on_every_filesystem, on_filesystems, refused,
};
use tonic::Code;

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

/// A pool with trouble that its volumes can live with: they are served, and each tells of it.
#[test]
fn privileged_a_pool_that_takes_no_more_is_told() {
    let name = "privileged_a_pool_that_takes_no_more_is_told";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let mut ids = [
            clients.create("one").await.unwrap(),
            clients.create("two").await.unwrap(),
        ];
        ids.sort();
        let all = |reasons: &[&str]| {
            let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            ids.clone().map(|id| (id, reasons.clone()))
        };
        let remount = |option: &str| {
            run(Command::new("mount").args(["-o", option]).arg(node.pool()));
        };
        remount("remount,ro");
        pool_ails(&clients, &ids[0], "PoolReadOnly").await;
        assert_eq!(clients.ailing(1).await.unwrap(), all(&["PoolReadOnly"]));
        assert!(clients.ready().await);
        remount("remount,rw");
        all_is_well(&clients, &ids[0]).await;

        let filler = node.pool().join("filler");
        let free = nix::sys::statvfs::statvfs(&node.pool()).unwrap();
        let bytes = free.blocks_available() * free.fragment_size() / 100 * 98;
        run(Command::new("fallocate").args(["-l", &bytes.to_string()]).arg(&filler));
        pool_ails(&clients, &ids[0], "PoolNearlyFull").await;
        assert_eq!(clients.ailing(1).await.unwrap(), all(&["PoolNearlyFull"]));
        let findings = clients.diagnose().await;
        assert!(
            findings.iter().all(|finding| finding.severity == "warning"),
            "{findings:?}"
        );
        std::fs::remove_file(&filler).unwrap();
        run(Command::new("sync").arg("-f").arg(node.pool()));
        all_is_well(&clients, &ids[0]).await;
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
        shut_down(&node.pool(), false);
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
        // Another pod of its volume cannot start: the kubelet does not stage again while this one runs.
        let another = second.target.with_file_name("another");
        let answer = clients.publish(&second.id, &second.staging, &another).await;
        refused(answer, Code::FailedPrecondition, "stop all pods");
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
