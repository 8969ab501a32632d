//! Links for people: written, never followed, and never a way out of the pool.

use std::os::unix::fs::symlink;

use super::*;

fn claim(namespace: &str, name: &str) -> Claim {
    Claim::parse(namespace, name).unwrap()
}

fn target(id: &VolumeId) -> PathBuf {
    PathBuf::from(format!("../../volumes/{id}"))
}

#[test]
fn a_link_leads_to_its_volume_until_the_volume_goes() {
    let home = Home::new();
    let store = home.open();
    let (a, b) = (record("a").id, record("b").id);
    let link = home.path("by-claim/default/data-0");
    fs::create_dir(home.path("volumes").join(a.as_str())).unwrap();
    for _ in 0..2 {
        store.link_claim(&claim("default", "data-0"), &a).unwrap();
    }
    assert_eq!(fs::read_link(&link).unwrap(), target(&a));
    assert_eq!(
        fs::canonicalize(&link).unwrap(),
        fs::canonicalize(home.path("volumes").join(a.as_str())).unwrap()
    );
    store.link_claim(&claim("default", "data-0"), &b).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), target(&b));
    // The link is another volume's by now.
    store.unlink_claim(&claim("default", "data-0"), &a).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), target(&b));
    store.link_claim(&claim("default", "data-1"), &a).unwrap();
    store.unlink_claim(&claim("default", "data-0"), &b).unwrap();
    assert_eq!(home.names("by-claim/default"), ["data-1"]);
    store.unlink_claim(&claim("default", "data-1"), &a).unwrap();
    assert!(home.names("by-claim").is_empty());
    store.unlink_claim(&claim("default", "data-1"), &a).unwrap();
    assert!(home.names(".berth/staging").is_empty());
}

#[test]
fn a_namespace_that_an_interrupted_call_left_empty_goes_with_the_next() {
    let home = Home::new();
    let store = home.open();
    let id = record("a").id;
    store.link_claim(&claim("default", "data-0"), &id).unwrap();
    fs::remove_file(home.path("by-claim/default/data-0")).unwrap();
    store.unlink_claim(&claim("default", "data-0"), &id).unwrap();
    assert!(home.names("by-claim").is_empty());
}

#[test]
fn a_link_that_a_person_made_is_replaced_and_not_followed() {
    let home = Home::new();
    let store = home.open();
    let id = record("a").id;
    fs::create_dir(home.path("by-claim/default")).unwrap();
    fs::write(home.outside("precious"), "bytes").unwrap();
    symlink(home.outside("precious"), home.path("by-claim/default/data-0")).unwrap();
    store.unlink_claim(&claim("default", "data-0"), &id).unwrap();
    assert_eq!(home.names("by-claim/default"), ["data-0"]);
    store.link_claim(&claim("default", "data-0"), &id).unwrap();
    assert_eq!(
        fs::read_link(home.path("by-claim/default/data-0")).unwrap(),
        target(&id)
    );
    assert_eq!(fs::read_to_string(home.outside("precious")).unwrap(), "bytes");
}

#[test]
fn a_namespace_that_leads_elsewhere_is_refused() {
    let home = Home::new();
    let store = home.open();
    let id = record("a").id;
    let elsewhere = home.outside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(target(&id), elsewhere.join("data-0")).unwrap();
    symlink(&elsewhere, home.path("by-claim/default")).unwrap();
    let refused = store.link_claim(&claim("default", "data-1"), &id).unwrap_err();
    assert_eq!(refused.errno(), Some(nix::libc::ELOOP));
    assert!(store.unlink_claim(&claim("default", "data-0"), &id).is_err());
    assert!(elsewhere.join("data-0").symlink_metadata().is_ok());
    assert!(!elsewhere.join("data-1").exists());
    fs::write(home.path("by-claim/file"), "bytes").unwrap();
    assert!(store.link_claim(&claim("file", "data-0"), &id).is_err());
    assert!(store.unlink_claim(&claim("file", "data-0"), &id).is_err());
    assert!(home.names(".berth/staging").is_empty());
}

#[test]
fn a_directory_in_the_place_of_a_link_stays() {
    let home = Home::new();
    let store = home.open();
    let id = record("a").id;
    let planted = home.path("by-claim/default/data-0");
    fs::create_dir_all(planted.join("inner")).unwrap();
    assert!(store.link_claim(&claim("default", "data-0"), &id).is_err());
    assert!(home.names(".berth/staging").is_empty(), "the half-made link stayed");
    store.unlink_claim(&claim("default", "data-0"), &id).unwrap();
    assert!(planted.join("inner").is_dir());
}

#[test]
fn links_of_one_namespace_come_and_go_at_once() {
    let home = Home::new();
    let store = home.open();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                let (claim, id) = (
                    claim("default", &format!("data-{thread}")),
                    record(&format!("{thread}")).id,
                );
                for _ in 0..50 {
                    store.link_claim(&claim, &id).unwrap();
                    store.unlink_claim(&claim, &id).unwrap();
                }
                store.link_claim(&claim, &id).unwrap();
            });
        }
    });
    assert_eq!(home.names("by-claim/default").len(), 8);
    assert!(home.names(".berth/staging").is_empty());
}
