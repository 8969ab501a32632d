//! What hinders a purge: a full disk.

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

use berth::backend::{Backend, DirectoryBackend, Purge};
use berth::volume::VolumeId;
use common::disk::names;
use common::{Filesystem, on_filesystems};

/// Moving a directory up may take a block, and where none is left there is still all that is in it to unlink.
#[test]
fn privileged_a_volume_on_a_full_disk_is_purged() {
    let name = "privileged_a_volume_on_a_full_disk_is_purged";
    on_filesystems(name, &[Filesystem::Ext4, Filesystem::Xfs], async |node| {
        let id = VolumeId::parse("v").unwrap();
        let (pool, volume) = (node.pool(), node.pool().join(id.to_string()));
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
        let trash = File::open(&pool).unwrap();
        let purged = DirectoryBackend.purge(trash.as_fd(), &id, &mut || true);
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
