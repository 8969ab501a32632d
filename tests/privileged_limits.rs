//! Disks that take no more: read-only ones and full ones. What frees space always works.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

mod common;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use common::disk::{mount_depth, names, run, tree};
use common::requests::{MIB, create, create_with};
use common::{Clients, Filesystem, Node, Published, eventually, on_every_filesystem, on_filesystems, refused};
use tonic::Code;

fn remount(node: &Node, option: &str) {
    run(Command::new("mount")
        .args(["-o", &format!("remount,{option}")])
        .arg(node.pool()));
}

#[test]
fn privileged_a_read_only_disk_serves_what_needs_no_writing() {
    let name = "privileged_a_read_only_disk_serves_what_needs_no_writing";
    on_every_filesystem(name, async |node| {
        let mut agent = node.agent().await;
        let volume = agent.clients().await.publish_new(&agent, "pod").await;
        std::fs::write(volume.target.join("a"), "data").unwrap();
        let unused = agent.clients().await.create("unused").await.unwrap();
        // With the agent running, as the kernel does it on an error and a person before a repair.
        remount(&node, "ro");
        let before = tree(&node.pool());
        for restart in [false, true] {
            if restart {
                agent.kill();
                agent = node.agent_with(&[]).await;
            }
            let clients = agent.clients().await;
            assert!(clients.ready().await);
            serves_read_only(&clients, &volume, &unused).await;
            assert_eq!(tree(&node.pool()), before);
        }
        remount(&node, "rw");
        let clients = agent.clients().await;
        assert!(clients.storage_reasons().await.is_empty());
        clients.delete(&unused).await.unwrap();
        clients.create("unused").await.unwrap();
    });
}

async fn serves_read_only(clients: &Clients, volume: &Published, unused: &str) {
    assert_eq!(clients.storage_reasons().await, ["PoolReadOnly"]);
    let read_only = "Read-only file system";
    refused(clients.create("new").await, Code::FailedPrecondition, read_only);
    refused(clients.delete(unused).await, Code::FailedPrecondition, read_only);
    // A name that exists is found, whatever could be made.
    assert_eq!(clients.create("unused").await.unwrap(), unused);
    clients.take_down(volume).await.unwrap();
    clients.stage(&volume.id, &volume.staging).await.unwrap();
    clients
        .publish(&volume.id, &volume.staging, &volume.target)
        .await
        .unwrap();
    assert_eq!(std::fs::read(volume.target.join("a")).unwrap(), b"data");
    let error = std::fs::write(volume.target.join("b"), "data").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(clients.list().await.unwrap().len(), 2);
}

/// Half-done things of all kinds, none of which can be tidied now.
struct Leftovers {
    deleted: String,
    purging: String,
    undeleted: String,
}

impl Leftovers {
    async fn make(node: &Node) -> Self {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let mut ids = Vec::new();
        for name in ["deleted", "purging", "undeleted"] {
            let id = clients.create(name).await.unwrap();
            std::fs::write(node.volume(&id).join("a"), "data").unwrap();
            ids.push(id);
        }
        agent.kill();
        let [deleted, purging, undeleted] = ids.try_into().unwrap();
        for (id, state) in [(&deleted, "deleted.9999999999"), (&purging, "purging")] {
            std::fs::rename(node.record(id), node.record(id).with_extension(state)).unwrap();
        }
        std::fs::rename(node.volume(&undeleted), node.trash(&undeleted)).unwrap();
        let staging = node.pool().join(".berth/staging");
        std::fs::write(staging.join("vol-half.json"), "{\"format\":1,").unwrap();
        std::os::unix::fs::symlink("elsewhere", staging.join("vol-half-link")).unwrap();
        for empty in [
            staging.join("vol-half"),
            node.volume("vol-empty"),
            node.trash("vol-empty"),
        ] {
            std::fs::create_dir(empty).unwrap();
        }
        for orphan in Self::orphans(node) {
            std::fs::create_dir(&orphan).unwrap();
            std::fs::write(orphan.join("a"), "data").unwrap();
        }
        Self {
            deleted,
            purging,
            undeleted,
        }
    }

    fn orphans(node: &Node) -> [PathBuf; 3] {
        let staged = node.pool().join(".berth/staging/vol-orphan");
        [staged, node.trash("vol-orphan"), node.volume("vol-orphan")]
    }
}

#[test]
fn privileged_a_start_on_a_read_only_disk_leaves_what_it_cannot_tidy() {
    let name = "privileged_a_start_on_a_read_only_disk_leaves_what_it_cannot_tidy";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let volume = agent.clients().await.publish_new(&agent, "pod").await;
        std::fs::write(volume.target.join("a"), "data").unwrap();
        agent.kill();
        let left = Leftovers::make(&node).await;
        remount(&node, "ro");
        let before = tree(&node.pool());
        let agent = node.agent_with(&[]).await;
        let clients = agent.clients().await;
        assert!(clients.ready().await, "{:?}", clients.diagnose().await);
        clients.take_down(&volume).await.unwrap();
        clients.stage(&volume.id, &volume.staging).await.unwrap();
        clients
            .publish(&volume.id, &volume.staging, &volume.target)
            .await
            .unwrap();
        assert_eq!(std::fs::read(volume.target.join("a")).unwrap(), b"data");
        let mut live = [volume.id.clone(), left.undeleted.clone()];
        live.sort();
        assert_eq!(clients.list().await.unwrap(), live);
        let shown = clients.summaries().await.unwrap();
        let shown = shown.iter().find(|shown| shown.volume_id == left.deleted).unwrap();
        assert_eq!(Path::new(&shown.path), node.volume(&left.deleted), "it is not there");
        // What is empty, or a temporary file, is no data; what a record explains is no orphan. That of a
        // volume which is not deleted is told of: nobody finds it in the trash otherwise.
        let findings = clients.diagnose().await;
        let orphaned = findings.iter().filter(|finding| finding.reason == "OrphanedData");
        let mut orphaned: Vec<_> = orphaned.map(|finding| PathBuf::from(&finding.object)).collect();
        orphaned.sort();
        let mut expected = [&Leftovers::orphans(&node)[..], &[node.trash(&left.undeleted)]].concat();
        expected.sort();
        assert_eq!(orphaned, expected);
        assert_eq!(tree(&node.pool()), before);
        agent.kill();

        remount(&node, "rw");
        let agent = node.agent_with(&[]).await;
        let clients = agent.clients().await;
        eventually("what was deleted goes", async || !node.volume(&left.purging).exists()).await;
        assert!(node.trash(&left.deleted).join("a").exists());
        assert!(node.volume(&left.undeleted).join("a").exists());
        assert_eq!(names(&node.pool().join(".berth/staging")).len(), 1);
        assert!(!node.volume("vol-empty").exists() && !node.trash("vol-empty").exists());
        assert_eq!(clients.diagnose().await.len(), 3, "{:?}", clients.diagnose().await);
    });
}

/// Writes to a file until the file system has no byte left.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let block = vec![0x5a; 1 << 20];
    for size in [1 << 20, 64 << 10, 4 << 10, 512] {
        while let Ok(()) = file.write_all(&block[..size]) {}
    }
    // Until here the file system may only have promised the space.
    let _ = file.sync_all();
    for size in [64 << 10, 4 << 10, 512] {
        while let Ok(()) = file.write_all(&block[..size]) {}
        let _ = file.sync_all();
    }
}

/// Makes files until the file system makes no more.
fn fill_with_files(path: &Path) {
    std::fs::create_dir(path).unwrap();
    let full = (0..1_000_000).find(|number| File::create(path.join(number.to_string())).is_err());
    assert!(full.is_some_and(|made| made > 10), "inodes without end");
}

#[test]
fn privileged_a_full_disk_refuses_volumes_and_takes_deletions() {
    let name = "privileged_a_full_disk_refuses_volumes_and_takes_deletions";
    on_every_filesystem(name, async |node| full_disk(&node, fill).await);
}

#[test]
fn privileged_a_disk_out_of_inodes_refuses_volumes_and_takes_deletions() {
    let name = "privileged_a_disk_out_of_inodes_refuses_volumes_and_takes_deletions";
    on_filesystems(name, &[Filesystem::Ext4], async |_| {
        let node = Node::with_disk(Filesystem::Ext4, 64, &["-N", "256"]);
        full_disk(&node, fill_with_files).await;
    });
}

async fn full_disk(node: &Node, fill: fn(&Path)) {
    let agent = node.agent().await;
    let clients = agent.clients().await;
    let hog = clients.publish_new(&agent, "hog").await;
    let kept = clients
        .publish_new_from(&agent, create_with("kept", MIB, &[("berth.dev/trash-retention", "1h")]))
        .await;
    let small = clients.create("small").await.unwrap();
    let space = clients.available().await.unwrap();
    fill(&hog.target.join("fill"));

    assert_eq!(clients.storage_reasons().await, ["PoolNearlyFull"]);
    refused(clients.create("new").await, Code::ResourceExhausted, "");
    assert!(
        !clients
            .list()
            .await
            .unwrap()
            .iter()
            .any(|id| ![&hog.id, &kept.id, &small].contains(&id))
    );
    // What frees space, and what lets go of it, is served.
    clients.delete(&small).await.unwrap();
    clients.take_down(&kept).await.unwrap();
    clients.delete(&kept.id).await.unwrap();
    assert!(node.trash(&kept.id).is_dir());
    clients.take_down(&hog).await.unwrap();
    assert_eq!((mount_depth(&hog.target), mount_depth(&hog.staging)), (0, 0));
    clients.delete(&hog.id).await.unwrap();
    eventually("the space is back", async || {
        // btrfs gives space back with its next transaction only, which may be half a minute away.
        run(Command::new("sync").arg("-f").arg(node.pool()));
        clients.storage_reasons().await.is_empty() && clients.available().await.unwrap() > space * 9 / 10
    })
    .await;
    let id = clients.create_from(create("new", MIB)).await.unwrap();
    clients.undelete(&kept.id).await.unwrap();
    let ballast = node.pool().join(".berth/ballast");
    assert!(ballast.metadata().unwrap().len() > 0, "no ballast for the next time");
    agent.kill();

    // And all of it was durable.
    let agent = node.agent().await;
    let mut expected = vec![id, kept.id];
    expected.sort();
    assert_eq!(agent.clients().await.list().await.unwrap(), expected);
}

/// A start on a full disk must do without space, and still leave a way to make some.
#[test]
fn privileged_an_agent_that_starts_on_a_full_disk_takes_deletions() {
    let name = "privileged_an_agent_that_starts_on_a_full_disk_takes_deletions";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let volume = agent.clients().await.publish_new(&agent, "hog").await;
        let names = ["one", "two", "three"];
        for name in names {
            agent.clients().await.create(name).await.unwrap();
        }
        fill(&volume.target.join("fill"));
        agent.kill();
        let agent = node.agent().await;
        let clients = agent.clients().await;
        assert!(clients.ready().await);
        clients
            .publish(&volume.id, &volume.staging, &volume.target)
            .await
            .unwrap();
        refused(clients.create("new").await, Code::ResourceExhausted, "");
        for name in names {
            let id = clients.create(name).await.expect("a name that exists is found");
            clients.delete(&id).await.unwrap();
        }
        clients.take_down(&volume).await.unwrap();
        clients.delete(&volume.id).await.unwrap();
        eventually("the space is back", async || clients.create("new").await.is_ok()).await;
    });
}

/// What makes the kernel stop writing: with errors=remount-ro, the default of most systems.
#[test]
fn privileged_a_disk_that_the_kernel_made_read_only_is_reported() {
    let name = "privileged_a_disk_that_the_kernel_made_read_only_is_reported";
    on_filesystems(name, &[Filesystem::Ext4], async |node| {
        common::disk::unmount(&node.pool());
        node.disk.mount(&node.pool(), "errors=remount-ro");
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        let unused = clients.create("unused").await.unwrap();
        let device = node.device();
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(&trigger, "a test").unwrap_or_else(|error| panic!("{trigger}: {error}"));
        std::fs::write(volume.target.join("b"), "data").unwrap_err();
        // Linux 6.1 refuses changes then, and shows the file system as writable all the same.
        let lock = std::fs::OpenOptions::new()
            .write(true)
            .open(node.pool().join(".berth/lock"));
        let shown = lock.is_err();
        if shown {
            assert_eq!(clients.storage_reasons().await, ["PoolReadOnly"]);
        }
        let read_only = "Read-only file system";
        refused(clients.create("new").await, Code::FailedPrecondition, read_only);
        refused(clients.delete(&unused).await, Code::FailedPrecondition, read_only);
        let reason = if shown { "PoolReadOnly" } else { "PoolRefusesChanges" };
        assert_eq!(clients.storage_reasons().await, [reason]);
        clients.take_down(&volume).await.unwrap();
    });
}

/// The last of the volumes in the test below.
const LAST: u8 = 19;

/// Whoever fills the disk takes what the ballast sets free, too: deletions must do without.
#[test]
fn privileged_deletions_give_space_back_on_a_disk_that_somebody_keeps_full() {
    let name = "privileged_deletions_give_space_back_on_a_disk_that_somebody_keeps_full";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let mut ids = Vec::new();
        for number in 0..=LAST {
            // Long names, so that the trash soon needs another block for them.
            let retention = if number == LAST { "1h" } else { "3s" };
            let parameters = [("berth.dev/trash-retention", retention)];
            let request = create_with(&format!("pvc-{number:0>36}"), 64 << 10, &parameters);
            let id = clients.create_from(request).await.unwrap();
            std::fs::write(node.volume(&id).join("data"), [number; 4096]).unwrap();
            ids.push(id);
        }
        let stop = AtomicBool::new(false);
        let hog = node.pool().join("somebody-elses");
        std::fs::create_dir(&hog).unwrap();
        fill(&hog.join("first"));
        std::thread::scope(|scope| {
            scope.spawn(|| keep_full(&hog, &stop));
            let stopped = StopOnDrop(&stop);
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    for id in &ids {
                        clients.delete(id).await.unwrap();
                    }
                    eventually("the data is gone", async || {
                        let left = |area: &str| std::fs::read_dir(node.pool().join(area)).unwrap().count();
                        (left("volumes") + left(".berth/trash"), left(".berth/records")) == (1, 1)
                    })
                    .await;
                });
            });
            drop(stopped);
        });
        std::fs::remove_dir_all(&hog).unwrap();
        run(Command::new("sync").arg("-f").arg(node.pool()));
        let back = clients.undelete(&ids[usize::from(LAST)]).await.unwrap();
        assert_eq!(std::fs::read(back.join("data")).unwrap(), [LAST; 4096]);
    });
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Takes every block that gets free, until told to stop.
fn keep_full(directory: &Path, stop: &AtomicBool) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let Ok(mut file) = File::create(directory.join(number.to_string())) else {
            continue;
        };
        while file.write_all(&[0x5a; 4096]).is_ok() {}
        let _ = file.sync_data();
    }
}
