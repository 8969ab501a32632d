//! Records: there in full or not at all, and read with suspicion.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;

use super::*;

#[test]
fn what_was_committed_is_read_again() {
    let home = Home::new();
    let store = home.open();
    let (first, second) = (record("a"), record("b"));
    store.commit(&first, &[]).unwrap();
    store.commit(&second, &[store.area(Area::Volumes)]).unwrap();
    let changed = Record { created_at: 7, ..first };
    store.commit(&changed, &[]).unwrap();
    assert!(home.names(".berth/staging").is_empty());
    drop(store);
    let store = home.open();
    let mut contents = store.load().unwrap();
    contents
        .records
        .sort_by_key(|record| std::cmp::Reverse(record.created_at));
    assert_eq!(contents.records, [changed.clone(), second]);
    assert!(contents.quarantined.is_empty());
    for _ in 0..2 {
        store.forget(&changed).unwrap();
    }
    assert_eq!(store.load().unwrap().records.len(), 1);
}

#[test]
fn what_an_interrupted_write_left_is_written_over() {
    let home = Home::new();
    let store = home.open();
    let record = record("a");
    let temporary = home.path(format!(".berth/staging/{}.json", record.id));
    fs::write(&temporary, "{\"form").unwrap();
    store.commit(&record, &[]).unwrap();
    // A link in its place is not followed either.
    fs::write(home.outside("precious"), "bytes").unwrap();
    symlink(home.outside("precious"), &temporary).unwrap();
    store.commit(&record, &[]).unwrap();
    assert_eq!(fs::read_to_string(home.outside("precious")).unwrap(), "bytes");
    assert_eq!(store.load().unwrap().records, [record]);
}

#[test]
fn a_write_that_fails_leaves_the_old_record() {
    let home = Home::new();
    let store = home.open();
    let old = record("a");
    store.commit(&old, &[]).unwrap();
    let new = Record {
        created_at: 7,
        ..old.clone()
    };
    // What cannot be synced: a descriptor that does not refer to anything on disk.
    let pipe = nix::unistd::pipe().unwrap();
    let error = store.commit(&new, &[pipe.0.as_fd()]).unwrap_err();
    assert_eq!(error.errno(), Some(nix::libc::EINVAL));
    assert_eq!(store.load().unwrap().records, [old]);
    assert!(home.names(".berth/staging").is_empty());
}

/// What is planted in the place of a record is set aside, not waited for, not followed, and not
/// read to its end.
#[test]
fn planted_things_are_quarantined_and_the_rest_is_served() {
    let home = Home::new();
    let store = home.open();
    let good = record("good");
    store.commit(&good, &[]).unwrap();
    let place = |name: &str| home.path(format!(".berth/records/{}.json", record(name).id));
    let bytes = fs::read(home.path(format!(".berth/records/{}.json", good.id))).unwrap();
    nix::unistd::mkfifo(&place("fifo"), Mode::S_IRWXU).unwrap();
    fs::File::create(place("large")).unwrap().set_len(2 << 20).unwrap();
    fs::write(home.outside("copy"), &bytes).unwrap();
    symlink(home.outside("copy"), place("link")).unwrap();
    symlink("/dev/zero", place("endless")).unwrap();
    fs::create_dir(place("directory")).unwrap();
    fs::write(place("empty"), "").unwrap();
    fs::write(place("torn"), &bytes[..bytes.len() - 9]).unwrap();
    fs::write(place("other"), &bytes).unwrap();
    let begin = Instant::now();
    let contents = store.load().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(contents.records, [good]);
    let mut set_aside: Vec<_> = contents
        .quarantined
        .iter()
        .map(|found| found.id.clone().unwrap())
        .collect();
    set_aside.sort();
    let planted = [
        "fifo",
        "large",
        "link",
        "endless",
        "directory",
        "empty",
        "torn",
        "other",
    ];
    let mut expected: Vec<_> = planted.map(|name| record(name).id).into();
    expected.sort();
    assert_eq!(set_aside, expected);
    for found in &contents.quarantined {
        assert!(found.path.symlink_metadata().is_ok(), "{found:?}");
        assert!(!found.problem.is_empty());
    }
}

#[test]
fn a_name_that_is_not_text_is_set_aside() {
    use std::os::unix::ffi::OsStrExt;

    let home = Home::new();
    let store = home.open();
    let odd = std::ffi::OsStr::from_bytes(b"\xff.json");
    fs::write(home.path(".berth/records").join(odd), "bytes").unwrap();
    let contents = store.load().unwrap();
    assert_eq!(contents.quarantined.len(), 1);
    assert_eq!(contents.quarantined[0].id, None);
}

#[test]
fn a_newer_record_is_an_error_of_the_whole_pool() {
    let home = Home::new();
    let store = home.open();
    store.commit(&record("a"), &[]).unwrap();
    let newer = home.path(format!(".berth/records/{}.json", record("b").id));
    fs::write(&newer, "{\"format\":2}").unwrap();
    assert!(matches!(store.load(), Err(Error::TooNew { format: 2, path, .. }) if path == newer));
    // Only a record of ours can say so: a file of another name is nobody's.
    fs::rename(&newer, home.path(".berth/records/NEW.json")).unwrap();
    assert_eq!(store.load().unwrap().quarantined.len(), 1);
}

#[test]
fn staging_is_emptied_of_all_that_is_ever_there() {
    let home = Home::new();
    let store = home.open();
    fs::write(home.path(".berth/staging/file"), "bytes").unwrap();
    fs::create_dir(home.path(".berth/staging/directory")).unwrap();
    fs::create_dir(home.outside("elsewhere")).unwrap();
    symlink(home.outside("elsewhere"), home.path(".berth/staging/link")).unwrap();
    fs::create_dir_all(home.path(".berth/staging/full/inner")).unwrap();
    store.clear_staging().unwrap();
    assert_eq!(home.names(".berth/staging"), ["full"]);
    assert!(home.outside("elsewhere").exists());
}

#[test]
fn a_directory_moves_only_to_where_nothing_is() {
    let home = Home::new();
    let store = home.open();
    let id = record("a").id;
    assert_eq!(
        store.relocate(&id, Area::Volumes, Area::Trash).unwrap_err().errno(),
        Some(nix::libc::ENOENT)
    );
    for area in ["volumes", ".berth/trash"] {
        fs::create_dir(home.path(area).join(id.as_str())).unwrap();
    }
    assert_eq!(
        store.relocate(&id, Area::Volumes, Area::Trash).unwrap_err().errno(),
        Some(nix::libc::EEXIST)
    );
    assert!(store.remove_empty(Area::Trash, id.as_str()).unwrap());
    store.relocate(&id, Area::Volumes, Area::Trash).unwrap();
    fs::write(home.path(".berth/trash").join(id.as_str()).join("data"), "bytes").unwrap();
    assert!(!store.remove_empty(Area::Trash, id.as_str()).unwrap());
    assert!(store.remove_empty(Area::Volumes, id.as_str()).unwrap());
}

/// A crash leaves no two records of one volume, but a person who brings back an old file does.
#[test]
fn of_two_records_of_a_volume_the_one_in_use_counts_and_nothing_beside_one_that_is_damaged() {
    let home = Home::new();
    let store = home.open();
    let (both, torn, intact) = (record("both"), record("torn"), record("intact"));
    let file = |record: &Record, state: &str| home.path(format!(".berth/records/{}.{state}", record.id));
    for record in [&both, &torn, &intact] {
        store.commit(record, &[]).unwrap();
    }
    fs::copy(file(&both, "json"), file(&both, "purging")).unwrap();
    fs::copy(file(&both, "json"), file(&both, "deleted.17")).unwrap();
    // Nobody can tell whether the torn record was newer than the tombstone.
    fs::copy(file(&torn, "json"), file(&torn, "purging")).unwrap();
    fs::write(file(&torn, "json"), "{").unwrap();
    fs::write(file(&intact, "purging"), "{").unwrap();
    let mut contents = store.load().unwrap();
    contents.records.sort_by_key(|record| record.spec.name.to_string());
    assert_eq!(contents.records, [both.clone(), intact.clone()]);
    let by_id: Vec<_> = contents
        .quarantined
        .iter()
        .filter_map(|found| found.id.clone())
        .collect();
    assert_eq!(by_id, std::slice::from_ref(&torn.id));
    let mut aside: Vec<_> = contents.quarantined.into_iter().map(|found| found.path).collect();
    aside.sort();
    let mut expected = [
        file(&both, "purging"),
        file(&both, "deleted.17"),
        file(&torn, "json"),
        file(&torn, "purging"),
        file(&intact, "purging"),
    ];
    expected.sort();
    assert_eq!(aside, expected);
}
