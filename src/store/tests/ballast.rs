//! Space kept back so that a deletion can be written down on a full disk.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

use super::*;
use crate::volume::Deletion;

fn ballast_bytes(home: &Home) -> u64 {
    fs::metadata(home.path(layout::BALLAST)).map_or(0, |found| found.len())
}

fn tombstone(name: &str) -> Record {
    let deletion = Some(Deletion {
        deleted_at: 1,
        purge_at: 1,
        purging: true,
    });
    Record {
        deletion,
        ..record(name)
    }
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
    store.commit_deletion(&tombstone("a")).unwrap();
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
    home.open().commit_deletion(&tombstone("a")).unwrap();
    assert_eq!(fs::read_to_string(home.outside("precious")).unwrap(), "bytes");
}

/// Runs `body` in a mount namespace of its own, with a disk of 4 MiB at the pool's path.
fn on_a_small_disk(home: &Home, body: impl FnOnce() + Send) {
    let path = home.pool();
    let prepare = move || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
        mount(nothing, &path, Some("tmpfs"), MsFlags::empty(), Some("size=4m"))
    };
    // The namespace is the thread's, and goes with it.
    std::thread::scope(|scope| {
        scope.spawn(move || {
            prepare().expect("a mount namespace, which takes root");
            body();
        });
    });
}

/// Writes until there is no space.
fn fill(home: &Home) {
    let mut file = fs::File::create(home.path("volumes/filler")).unwrap();
    let error = loop {
        if let Err(error) = std::io::Write::write_all(&mut file, &[1; 4096]) {
            break error;
        }
    };
    assert_eq!(error.raw_os_error(), Some(nix::libc::ENOSPC));
}

#[test]
fn privileged_a_deletion_is_recorded_on_a_full_disk_and_the_ballast_comes_back() {
    let home = Home::empty();
    on_a_small_disk(&home, || {
        super::super::init(&home.pool()).unwrap();
        let store = home.open();
        store.commit(&record("a"), &[]).unwrap();
        fill(&home);
        let refused = store.commit(&record("b"), &[]).unwrap_err();
        assert_eq!(refused.errno(), Some(nix::libc::ENOSPC));
        assert!(home.names(".berth/staging").is_empty());
        store.commit_deletion(&tombstone("a")).unwrap();
        assert_eq!(store.load().unwrap().records, [tombstone("a")]);
        assert_eq!(ballast_bytes(&home), 0, "it was not needed");
        // Spent and full again: the error is told, and what was is still there.
        fs::remove_file(home.path("volumes/filler")).unwrap();
        fill(&home);
        let refused = store.commit_deletion(&tombstone("b")).unwrap_err();
        assert_eq!(refused.errno(), Some(nix::libc::ENOSPC));
        store.restore_ballast();
        assert_eq!(store.load().unwrap().records, [tombstone("a")]);
        fs::remove_file(home.path("volumes/filler")).unwrap();
        store.restore_ballast();
        assert_eq!(ballast_bytes(&home), 1 << 20);
    });
}
