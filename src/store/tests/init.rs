//! A new pool is made in an empty directory only, and once.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

#[test]
fn a_new_pool_is_complete_and_for_root_alone() {
    let home = Home::empty();
    let info = super::super::init(&home.pool()).unwrap();
    assert_eq!(*home.open().info(), info);
    assert!(home.names(".berth/staging").is_empty());
    for (path, mode) in [
        (".berth", 0o700),
        (".berth/records", 0o700),
        ("volumes", 0o700),
        ("berth.json", 0o600),
    ] {
        let found = fs::metadata(home.path(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found & !mode, 0, "{path} is open to others: {found:o}");
    }
}

#[test]
fn a_directory_with_anything_in_it_is_refused_and_left_as_it_is() {
    for content in [
        "file",
        ".hidden",
        "directory/",
        "volumes/x",
        ".berth/records/x",
        ".berth/trash/x/",
        "by-claim/ns/",
    ] {
        let home = Home::empty();
        let path = home.path(content);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if content.ends_with('/') {
            fs::create_dir_all(&path).unwrap();
        } else {
            fs::write(&path, "bytes").unwrap();
        }
        let before = home.names(".");
        let refused = super::super::init(&home.pool());
        assert!(matches!(refused, Err(Error::NotEmpty { .. })), "{content}: {refused:?}");
        assert_eq!(home.names("."), before, "{content}");
        assert!(path.exists());
    }
}

#[test]
fn a_directory_that_leads_elsewhere_is_refused_and_so_is_elsewhere() {
    for name in [".berth", "volumes", "by-claim"] {
        let home = Home::empty();
        fs::create_dir(home.outside("elsewhere")).unwrap();
        symlink(home.outside("elsewhere"), home.path(name)).unwrap();
        assert!(super::super::init(&home.pool()).is_err(), "{name}");
        assert_eq!(fs::read_dir(home.outside("elsewhere")).unwrap().count(), 0, "{name}");
        assert_eq!(home.names("."), [name]);
    }
}

#[test]
fn what_mkfs_or_an_interrupted_init_left_is_no_content() {
    let stages: [&[&str]; 6] = [
        &["lost+found"],
        &[".berth"],
        &[".berth/records", ".berth/staging"],
        &[".berth/records", ".berth/staging", ".berth/trash", "volumes"],
        &[
            ".berth/records",
            ".berth/staging",
            ".berth/trash",
            "volumes",
            "by-claim",
        ],
        &["lost+found", ".berth/staging", "volumes"],
    ];
    for stage in stages {
        let home = Home::empty();
        for path in stage {
            fs::create_dir_all(home.path(path)).unwrap();
        }
        if stage.contains(&".berth/staging") {
            fs::write(home.path(".berth/lock"), "").unwrap();
            fs::write(home.path(".berth/staging/berth.json"), "{\"format\":1,").unwrap();
        }
        let info = super::super::init(&home.pool()).unwrap_or_else(|error| panic!("{stage:?}: {error}"));
        assert_eq!(*home.open().info(), info, "{stage:?}");
    }
}

#[test]
fn a_pool_is_not_made_anew() {
    let home = Home::new();
    let before = fs::read(home.path("berth.json")).unwrap();
    assert!(matches!(
        super::super::init(&home.pool()),
        Err(Error::AlreadyAPool { .. })
    ));
    let _held = home.open();
    assert!(matches!(
        super::super::init(&home.pool()),
        Err(Error::AlreadyAPool { .. })
    ));
    assert_eq!(fs::read(home.path("berth.json")).unwrap(), before);
}

#[test]
fn of_many_that_make_a_pool_at_once_one_makes_it() {
    for _ in 0..20 {
        let home = Home::empty();
        let path = home.pool();
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| super::super::init(&path))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.len(), 1, "{made:?}");
        assert_eq!(*home.open().info(), made[0]);
    }
}
