//! How far a deletion is stands in the record's name, whatever happened on the way.

use super::*;
use crate::volume::Deletion;

const KEPT: Option<Deletion> = Some(Deletion::Kept { until: 17 });
const PURGING: Option<Deletion> = Some(Deletion::Purging);

#[test]
fn a_deletion_goes_forward_and_back_by_renames() {
    let home = Home::new();
    let store = home.open();
    let active = record("a");
    store.commit(&active, &[]).unwrap();
    store.commit_deletion(&active, KEPT, &[]).unwrap();
    let kept = Record {
        deletion: KEPT,
        ..active.clone()
    };
    assert_eq!(store.load().unwrap().records, std::slice::from_ref(&kept));
    store.commit_deletion(&kept, None, &[]).unwrap();
    assert_eq!(store.load().unwrap().records, std::slice::from_ref(&active));
    store.commit_deletion(&active, PURGING, &[]).unwrap();
    assert_eq!(home.names(".berth/records"), [format!("{}.purging", active.id)]);
}

/// The rename was done, but its sync failed, so the caller was told of a failure and asks again.
#[test]
fn a_rename_that_was_done_before_is_no_failure() {
    let home = Home::new();
    let store = home.open();
    let active = record("a");
    store.commit(&active, &[]).unwrap();
    for _ in 0..2 {
        store.commit_deletion(&active, PURGING, &[]).unwrap();
    }
    let never = record("never made");
    store.commit_deletion(&never, PURGING, &[]).unwrap_err();
}

#[test]
fn a_stale_tombstone_neither_deletes_a_volume_nor_keeps_it_from_being_deleted() {
    let home = Home::new();
    let store = home.open();
    let active = record("a");
    store.commit(&active, &[]).unwrap();
    let name = |ending: &str| home.path(format!(".berth/records/{}.{ending}", active.id));
    fs::copy(name("json"), name("purging")).unwrap();
    let contents = store.load().unwrap();
    assert_eq!(contents.records, std::slice::from_ref(&active));
    assert_eq!(contents.quarantined.len(), 1);
    store.commit_deletion(&active, PURGING, &[]).unwrap();
    assert_eq!(home.names(".berth/records"), [format!("{}.purging", active.id)]);
}
