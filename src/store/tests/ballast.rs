//! Space kept back so that a deletion can be written down on a full disk.

use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

use super::*;

/// A deletion whose record has the longest name.
const DELETED: Option<Deletion> = Some(Deletion::Kept { until: u64::MAX });

fn ballast_bytes(home: &Home) -> u64 {
    fs::metadata(home.path(layout::BALLAST)).map_or(0, |found| found.len())
}

#[test]
fn the_ballast_is_there_after_each_start() {
    let home = Home::new();
    let store = home.open();
    assert_eq!(ballast_bytes(&home), 1 << 20);
    drop(store);
    fs::remove_file(home.path(layout::BALLAST)).unwrap();
    let store = home.open();
    assert_eq!(ballast_bytes(&home), 1 << 20);
    // While there is space, a deletion does not spend it.
    store.commit(&record("a"), &[]).unwrap();
    store.commit_deletion(&record("a"), DELETED, &[]).unwrap();
    assert_eq!(ballast_bytes(&home), 1 << 20);
}

#[test]
fn what_is_planted_in_its_place_blocks_nothing() {
    let home = Home::new();
    nix::unistd::mkfifo(&home.path(layout::BALLAST), Mode::S_IRWXU).unwrap();
    drop(home.open());
    fs::remove_file(home.path(layout::BALLAST)).unwrap();
    fs::write(home.outside("precious"), "bytes").unwrap();
    std::os::unix::fs::symlink(home.outside("precious"), home.path(layout::BALLAST)).unwrap();
    drop(home.open());
    assert_eq!(fs::read_to_string(home.outside("precious")).unwrap(), "bytes");
}

/// Runs `body` in a mount namespace of its own, with a disk of 8 MiB at the pool's path. Its
/// blocks are small, so that a directory soon needs another one.
fn on_a_small_disk(home: &Home, body: impl FnOnce() + Send) {
    let image = home.outside("disk.img");
    fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    // Where in a directory a name comes is the seed's choice, and so is when the directory needs more space.
    let seed = "hash_seed=b7d5a2e4-6a0c-4c55-9d1c-0e2f7a91c3d8";
    run(Command::new("mkfs.ext4")
        .args(["-q", "-F", "-b", "1024", "-E", seed])
        .arg(&image));
    // The namespace is the thread's, and goes with it; the loop device goes with the namespace.
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let nothing = None::<&str>;
            unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace, which takes root");
            mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
            run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(home.pool()));
            body();
        });
    });
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// Writes to the end of a file until there is no space for another byte.
fn fill(home: &Home, name: &str) {
    let mut file = fs::File::options()
        .create(true)
        .append(true)
        .open(home.path(name))
        .unwrap();
    loop {
        let before = file.metadata().unwrap().len();
        for size in [64 << 10, 1] {
            let error = loop {
                if let Err(error) = std::io::Write::write_all(&mut file, &vec![1; size]) {
                    break error;
                }
            };
            assert_eq!(error.raw_os_error(), Some(nix::libc::ENOSPC));
        }
        // What was reserved for writing back and not needed is free again now.
        file.sync_all().unwrap();
        if file.metadata().unwrap().len() == before {
            return;
        }
    }
}

#[test]
fn privileged_deletions_are_recorded_on_a_full_disk_and_the_ballast_comes_back() {
    let home = Home::empty();
    on_a_small_disk(&home, || {
        super::super::init(&home.pool()).unwrap();
        let store = home.open();
        // Each name becomes longer, so the directory needs a block that the disk does not have.
        let records: Vec<_> = (0..120).map(|at| record(&format!("{at}"))).collect();
        for record in &records {
            store.commit(record, &[]).unwrap();
        }
        fill(&home, "volumes/filler");
        let refused = store.commit(&record("new"), &[]).unwrap_err();
        assert_eq!(refused.errno(), Some(nix::libc::ENOSPC));
        assert!(home.names(".berth/staging").is_empty());
        for record in &records {
            fill(&home, "volumes/filler");
            store.commit_deletion(record, DELETED, &[]).unwrap();
        }
        assert!(ballast_bytes(&home) < 1 << 20, "it was not needed");
        let found = store.load().unwrap();
        assert_eq!((found.records.len(), found.quarantined.len()), (120, 0));
        assert!(found.records.iter().all(|record| record.deletion == DELETED));
        // Without space it stays away, and with space it comes back.
        fill(&home, "volumes/again");
        store.restore_ballast();
        fs::remove_file(home.path("volumes/filler")).unwrap();
        store.restore_ballast();
        assert_eq!(ballast_bytes(&home), 1 << 20);
    });
}
