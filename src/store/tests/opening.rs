//! Which directory is taken for the pool, and which is not.

use std::os::unix::fs::symlink;

use super::*;
use crate::sys::filesystem::FilesystemId;

#[test]
fn what_is_no_pool_is_not_touched() {
    let home = Home::empty();
    assert!(matches!(Store::open(&home.pool()), Err(Error::NotAPool { .. })));
    assert!(home.names(".").is_empty());
    let missing = Store::open(&home.outside("missing")).unwrap_err();
    assert_eq!(missing.errno(), Some(nix::libc::ENOENT));
    assert!(!home.outside("missing").exists());
}

#[test]
fn one_process_holds_the_pool() {
    let home = Home::new();
    let held = home.open();
    assert!(matches!(Store::open(&home.pool()), Err(Error::Locked { .. })));
    drop(held);
    home.open();
}

#[test]
fn a_pool_on_another_file_system_is_refused_untouched() {
    let home = Home::new();
    let mut info = home.open().info().clone();
    for other in [
        FilesystemId {
            kind: "xfs".to_owned(),
            ..info.filesystem.clone()
        },
        FilesystemId {
            id: "uuid:00112233445566778899aabbccddeeff".to_owned(),
            ..info.filesystem.clone()
        },
    ] {
        info.filesystem = other;
        fs::write(home.path("berth.json"), pool_file::encode(&info).unwrap()).unwrap();
        fs::remove_dir(home.path("by-claim")).unwrap();
        assert!(matches!(Store::open(&home.pool()), Err(Error::WrongFilesystem { .. })));
        assert!(!home.path("by-claim").exists());
        fs::create_dir(home.path("by-claim")).unwrap();
    }
}

#[test]
fn a_pool_file_of_a_newer_berth_or_of_none_is_told_apart() {
    let home = Home::new();
    fs::write(home.path("berth.json"), "{\"format\":7,\"anything\":{}}").unwrap();
    assert!(matches!(
        Store::open(&home.pool()),
        Err(Error::TooNew {
            format: 7,
            known: 1,
            ..
        })
    ));
    for damaged in ["", "{}", "null", "{\"format\":1}", "{\"format\":-1}"] {
        fs::write(home.path("berth.json"), damaged).unwrap();
        assert!(
            matches!(Store::open(&home.pool()), Err(Error::Damaged { .. })),
            "{damaged:?}"
        );
    }
}

#[test]
fn a_path_that_leads_elsewhere_is_noticed_and_so_is_its_return() {
    let home = Home::new();
    let store = home.open();
    store.verify().unwrap();
    fs::rename(home.pool(), home.outside("away")).unwrap();
    assert!(matches!(store.verify(), Err(Error::Replaced { .. })));
    fs::write(home.pool(), "a file").unwrap();
    assert!(matches!(store.verify(), Err(Error::Replaced { .. })));
    fs::remove_file(home.pool()).unwrap();
    fs::create_dir(home.pool()).unwrap();
    super::super::init(&home.pool()).unwrap();
    assert!(matches!(store.verify(), Err(Error::Replaced { .. })));
    // Whatever the path says, the store works in the directory that it holds.
    store.commit(&record("a"), &[]).unwrap();
    assert!(home.names(".berth/records").is_empty());
    fs::remove_dir_all(home.pool()).unwrap();
    fs::rename(home.outside("away"), home.pool()).unwrap();
    store.verify().unwrap();
}

#[test]
fn the_path_of_the_pool_may_be_a_link_and_nothing_in_it() {
    let home = Home::new();
    symlink(home.pool(), home.outside("link")).unwrap();
    drop(Store::open(&home.outside("link")).unwrap());
    for area in Area::ALL {
        let path = home.path(area.path());
        let kept = home.outside("kept");
        fs::rename(&path, &kept).unwrap();
        symlink(&kept, &path).unwrap();
        let refused = Store::open(&home.pool()).unwrap_err();
        assert_eq!(refused.errno(), Some(nix::libc::ELOOP), "{area:?}: {refused}");
        fs::remove_file(&path).unwrap();
        fs::rename(&kept, &path).unwrap();
    }
    home.open();
}

#[test]
fn an_area_that_an_older_pool_lacks_is_made() {
    let home = Home::new();
    for area in Area::ALL {
        fs::remove_dir(home.path(area.path())).unwrap();
        home.open();
        assert!(home.path(area.path()).is_dir(), "{area:?}");
    }
}
