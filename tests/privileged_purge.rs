//! What a pod can leave in its volume to keep it from being purged, and what a full disk does to a purge.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

mod common;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use berth::backend::{Backend, DirectoryBackend, Error, Purge};
use berth::volume::VolumeId;
use common::disk::{names, run};
use common::{Filesystem, Node, eventually, on_filesystems};

/// Has an agent delete a volume in which `leave` left something, and waits until all of it is gone.
async fn purged(node: &Node, leave: impl FnOnce(&Path)) {
    let agent = node.agent().await;
    let clients = agent.clients().await;
    let id = clients.create("plain").await.unwrap();
    leave(&node.volume(&id));
    clients.delete(&id).await.unwrap();
    eventually("it is purged or refused", async || {
        !node.trash(&id).exists() || agent.log().contains("not purged")
    })
    .await;
    assert!(!node.trash(&id).exists(), "{}", agent.log());
}

/// The ID of a volume that no agent made.
const ID: &str = "v";

/// Purges it with the pool for the trash.
fn purge(node: &Node, pace: &mut dyn FnMut() -> bool) -> Result<Purge, Error> {
    let trash = File::open(node.pool()).unwrap();
    DirectoryBackend.purge(trash.as_fd(), &VolumeId::parse(ID).unwrap(), pace)
}

/// Gives a directory a project that what is in it does not have.
fn set_project(directory: &Path) {
    run(Command::new("xfs_io")
        .args(["-c", "chproj 42", "-c", "chattr +P"])
        .arg(directory));
}

fn shell(directory: &Path, script: &str) {
    run(Command::new("sh").args(["-euc", script]).current_dir(directory));
}

/// A directory that hands its project down takes nothing of another project by rename(2).
#[test]
fn privileged_a_volume_with_a_project_of_its_own_is_purged() {
    let name = "privileged_a_volume_with_a_project_of_its_own_is_purged";
    // Not every kernel mounts ext4 with the feature that it takes there.
    on_filesystems(name, &[Filesystem::Xfs], async |node| {
        purged(&node, |volume| {
            std::fs::create_dir_all(volume.join("a/b/c/d")).unwrap();
            set_project(volume);
        })
        .await;
    });
}

/// Nothing but a subvolume itself can be moved out of it, and out of one that is read-only not even that.
#[test]
fn privileged_subvolumes_in_a_volume_are_purged() {
    let name = "privileged_subvolumes_in_a_volume_are_purged";
    on_filesystems(name, &[Filesystem::Btrfs], async |node| {
        purged(&node, |volume| {
            shell(
                volume,
                "btrfs subvolume create a
                 mkdir -p a/1/2/3 deep/er && touch a/1/2/file
                 btrfs subvolume create a/1/2/3/b
                 mkdir -p a/1/2/3/b/4/5/6 && touch a/1/2/3/b/4/5/file
                 btrfs subvolume create a/1/2/3/b/4/c
                 mkdir -p a/1/2/3/b/4/c/7/8/9
                 btrfs subvolume create a/empty
                 chattr +i a/1/2/file a/1/2
                 btrfs subvolume snapshot -r a deep/er/snapshot
                 btrfs subvolume snapshot -r a/1/2/3/b a/1/snapshot
                 btrfs property set a/1/2/3/b ro true
                 btrfs property set a ro true",
            );
        })
        .await;
        assert!(subvolumes(&node).is_empty(), "{}", subvolumes(&node));
    });
}

fn subvolumes(node: &Node) -> String {
    let list = Command::new("btrfs")
        .args(["subvolume", "list"])
        .arg(node.pool())
        .output();
    String::from_utf8(list.unwrap().stdout).unwrap()
}

/// How deep the trees below are.
const DEPTH: u64 = 1200;

/// Twice as deep takes twice as long, not four times; also when it is stopped again and again.
#[test]
fn privileged_depth_costs_no_more_where_a_pod_hinders_moving() {
    let name = "privileged_depth_costs_no_more_where_a_pod_hinders_moving";
    on_filesystems(name, &[Filesystem::Xfs, Filesystem::Btrfs], async |node| {
        let volume = node.pool().join(ID);
        std::fs::create_dir(&volume).unwrap();
        let deep = format!("for level in $(seq {DEPTH}); do mkdir d && cd -P d; done");
        if node.filesystem == Filesystem::Btrfs {
            let subvolumes = "for level in $(seq 50); do btrfs subvolume create s && mkdir -p s/a/b && cd s/a/b; done";
            shell(&volume, &format!("{subvolumes}\n{deep}"));
        } else {
            shell(&volume, &deep);
            set_project(&volume);
        }
        let mut steps = 0;
        let mut pace = || {
            steps += 1;
            steps % 100 > 0
        };
        let rounds = 8 * DEPTH / 100;
        let done = (0..rounds).any(|_| purge(&node, &mut pace).unwrap() == Purge::Done);
        assert!(done, "not after {steps} steps");
        assert!(!volume.exists());
    });
}

#[test]
fn privileged_what_is_in_subvolumes_is_measured() {
    let name = "privileged_what_is_in_subvolumes_is_measured";
    on_filesystems(name, &[Filesystem::Btrfs], async |node| {
        let pool = node.pool();
        let volume = pool.join("v");
        let measure = || {
            let usage = DirectoryBackend.usage(File::open(&volume).unwrap().as_fd(), &mut || true);
            usage.unwrap().expect("nobody stops it")
        };
        for path in [&volume, &pool.join("other")] {
            std::fs::create_dir(path).unwrap();
        }
        shell(
            &volume,
            "btrfs subvolume create a && mkdir a/1 && btrfs subvolume create a/1/b",
        );
        let write = |path: &Path| {
            let mut file = File::create(path).unwrap();
            file.write_all(&[0x5a; 1 << 20]).unwrap();
            file.sync_all().unwrap();
        };
        write(&volume.join("a/1/b/file"));
        write(&pool.join("other/file"));
        let before = measure();
        assert_eq!(before.inodes, 5);
        assert!(before.bytes >= 1 << 20, "{before:?}");
        // Mounts of the same file system, of a subvolume of it, and of another one.
        shell(&volume, "mkdir a/same a/subvolume a/other");
        let with_points = measure();
        shell(
            &volume,
            "mount --bind ../other a/same
             mount --bind a/1 a/subvolume
             mount -t tmpfs tmpfs a/other && head -c 1M /dev/zero > a/other/file",
        );
        let after = measure();
        assert!(after.inodes <= with_points.inodes, "{after:?}");
        assert!(after.bytes < 2 << 20, "{after:?}");
    });
}

/// Moving a directory up may take a block, and where none is left there is still all that is in it to unlink.
#[test]
fn privileged_a_volume_on_a_full_disk_is_purged() {
    let name = "privileged_a_volume_on_a_full_disk_is_purged";
    on_filesystems(name, &[Filesystem::Ext4, Filesystem::Xfs], async |node| {
        let (pool, volume) = (node.pool(), node.pool().join(ID));
        let spare = pool.join("spare");
        let tree = |root: &Path| {
            std::fs::create_dir_all(root.join("deep/er/still")).unwrap();
            std::fs::write(root.join("deep/er/file"), "data").unwrap();
        };
        for number in 0..400 {
            tree(&spare.join(number.to_string()));
        }
        tree(&volume.join("first"));
        fill(&pool.join("hog"));
        // Until there is no place for another name in the volume's directory.
        let full = (0..400).find(|number| {
            let to = volume.join(format!("{number:0>24}"));
            std::fs::rename(spare.join(number.to_string()), to).is_err()
        });
        assert!(full.is_some(), "there is place for every name");
        let before = names(&volume).len();
        let purged = purge(&node, &mut || true);
        assert_eq!(purged.expect("a full disk"), Purge::Done, "with {before} names");
        assert!(!volume.exists());
    });
}

/// Takes every block that is left.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![0x5a; size]).is_ok() {}
        let _ = file.sync_all();
    }
    for number in 0.. {
        let Ok(mut file) = File::create(path.with_file_name(format!("hog-{number}"))) else {
            break;
        };
        if file.write_all(&[0x5a; 4096]).and_then(|()| file.sync_all()).is_err() {
            break;
        }
    }
}
