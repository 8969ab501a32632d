//! What a start makes of half-made states, each of them made by hand on disk.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::*;
use crate::engine::Stray;
use crate::engine::pool::now;
use crate::store::Store;
use crate::volume::{Claim, Deletion};

/// The record of a volume, written to the disk without its directory.
fn write_record(bench: &Bench, spec: VolumeSpec, deletion: Option<Deletion>) -> VolumeId {
    let id = VolumeId::for_name(&spec.name, 0);
    let record = Record {
        id: id.clone(),
        spec,
        capacity: Capacity::new(GIB).unwrap(),
        created_at: 1,
        deletion,
    };
    Store::open(&bench.pool_path()).unwrap().commit(&record, &[]).unwrap();
    id
}

fn deleted() -> Option<Deletion> {
    Some(Deletion::Kept {
        until: now() + HOUR.as_secs(),
    })
}

fn make_data(bench: &Bench, area: &str, name: &str) -> PathBuf {
    let path = bench.path(area).join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("data"), "bytes").unwrap();
    path
}

#[test]
fn what_is_half_made_goes() {
    let bench = Bench::new();
    let id = id_of("a");
    fs::create_dir(bench.path(".berth/staging").join(id.as_str())).unwrap();
    fs::write(bench.path(format!(".berth/staging/{id}.json")), "{\"format\":1,\"che").unwrap();
    std::os::unix::fs::symlink("/etc", bench.path(format!(".berth/staging/link-{id}"))).unwrap();
    // Moved into place, but the record was not committed.
    fs::create_dir(bench.path("volumes").join(id_of("b").as_str())).unwrap();
    let pool = bench.open();
    assert_consistent(&bench, &pool);
    assert!(pool.strays().is_empty());
    pool.create(spec("a"), exactly(GIB)).unwrap();
    pool.create(spec("b"), exactly(GIB)).unwrap();
}

#[test]
fn data_without_a_record_is_reported_and_left() {
    let bench = Bench::new();
    let pool = bench.open();
    pool.create(spec("known"), exactly(GIB)).unwrap();
    drop(pool);
    let odd = OsStr::from_bytes(b"not \xff utf-8");
    let orphans = [
        make_data(&bench, "volumes", id_of("a").as_str()),
        make_data(&bench, "volumes", "not an id"),
        make_data(&bench, ".berth/trash", id_of("b").as_str()),
        make_data(&bench, ".berth/staging", id_of("c").as_str()),
        bench.path("volumes").join(odd),
    ];
    fs::create_dir(bench.path("volumes").join(odd)).unwrap();
    fs::write(bench.path("volumes").join(odd).join("data"), "bytes").unwrap();
    fs::write(bench.path("volumes/file"), "bytes").unwrap();
    for _ in 0..2 {
        let pool = bench.open();
        assert_eq!(pool.orphan_count(), 6, "{:?}", pool.strays());
        for path in &orphans[..4] {
            assert!(pool.strays().contains(&Stray::Orphan(path.clone())), "{path:?}");
        }
        for path in &orphans {
            assert_eq!(fs::read_to_string(path.join("data")).unwrap(), "bytes");
        }
        assert_eq!(pool.counts(), (1, 0));
        assert_eq!(kind(pool.create(spec("a"), exactly(GIB))), Kind::Precondition);
    }
}

#[test]
fn a_tombstone_takes_its_data_to_the_trash() {
    let bench = Bench::new();
    let id = write_record(&bench, kept("a"), deleted());
    make_data(&bench, "volumes", id.as_str());
    let pool = bench.open();
    assert_consistent(&bench, &pool);
    assert_eq!(bench.names(&format!(".berth/trash/{id}")), ["data"]);
    assert_eq!(pool.counts(), (0, 1));
    bench.backend.set_usage(0);
    pool.undelete(id.as_str()).unwrap();
    assert_eq!(bench.names(&format!("volumes/{id}")), ["data"]);
}

/// An undelete whose record became durable though the call failed.
#[test]
fn a_volume_that_is_not_deleted_takes_its_data_out_of_the_trash() {
    let bench = Bench::new();
    let id = write_record(&bench, kept("a"), None);
    make_data(&bench, ".berth/trash", id.as_str());
    let pool = bench.open();
    assert_consistent(&bench, &pool);
    assert_eq!(bench.names(&format!("volumes/{id}")), ["data"]);
    assert_eq!(pool.counts(), (1, 0));
}

/// Two directories of one volume: neither is preferred and neither is lost.
#[test]
fn data_in_both_places_stays_in_both() {
    let bench = Bench::new();
    let id = write_record(&bench, kept("a"), None);
    make_data(&bench, ".berth/trash", id.as_str());
    make_data(&bench, "volumes", id.as_str());
    let pool = bench.open();
    assert_eq!(bench.names(&format!("volumes/{id}")), ["data"]);
    assert_eq!(bench.names(&format!(".berth/trash/{id}")), ["data"]);
    assert_eq!(pool.strays(), [Stray::Orphan(bench.path(format!(".berth/trash/{id}")))]);
}

/// What is in the way of one deleted volume keeps nobody else from being served.
#[test]
fn a_tombstone_whose_data_cannot_be_moved_does_not_stop_the_start() {
    let bench = Bench::new();
    let id = write_record(&bench, kept("a"), deleted());
    write_record(&bench, kept("b"), None);
    let in_volumes = make_data(&bench, "volumes", id.as_str());
    let in_trash = make_data(&bench, ".berth/trash", id.as_str());
    let pool = bench.open();
    assert_eq!(pool.counts(), (1, 1));
    assert_eq!(pool.strays(), [Stray::Orphan(in_volumes.clone())]);
    let stop = crate::engine::background::Stop::default();
    assert_eq!(kind(pool.purge(&id, &stop)), Kind::Precondition);
    assert!(in_volumes.join("data").exists() && in_trash.join("data").exists());
}

#[test]
fn a_record_without_its_directory_is_served_as_missing() {
    let bench = Bench::new();
    let id = write_record(&bench, kept("a"), None);
    let pool = bench.open();
    assert_eq!(pool.counts(), (1, 0));
    assert_eq!(pool.committed_bytes(), GIB);
    assert!(!pool.overview(true)[0].present);
    let (target, writer) = (bench.target("a"), capability(AccessMode::SingleNodeWriter));
    assert_eq!(kind(pool.stage(id.as_str(), &target, &writer)), Kind::Precondition);
    assert!(bench.names("volumes").is_empty(), "nothing is made in its place");
    assert!(!bench.mounter.exists(target.path()));
}

/// The purge had ended; only the record was still there.
#[test]
fn a_tombstone_without_data_is_purged_without_ado() {
    let bench = Bench::new();
    let id = write_record(&bench, kept("a"), deleted());
    let pool = bench.open();
    pool.purge(&id, &crate::engine::background::Stop::default()).unwrap();
    assert_consistent(&bench, &pool);
    assert_eq!(pool.counts(), (0, 0));
}

#[test]
fn a_record_of_a_newer_berth_stops_the_start() {
    let bench = Bench::new();
    let pool = bench.open();
    pool.create(spec("a"), exactly(GIB)).unwrap();
    drop(pool);
    fs::create_dir(bench.path("volumes").join(id_of("b").as_str())).unwrap();
    fs::write(bench.path(".berth/staging/temporary"), "").unwrap();
    let newer = bench.record_path(&id_of("b"));
    fs::write(&newer, "{\"format\":2,\"other\":[]}").unwrap();
    let error = bench.try_open().err().unwrap();
    assert!(
        matches!(&error, store::Error::TooNew { format: 2, known: 1, path } if *path == newer),
        "{error}"
    );
    // Not one file was touched.
    assert_eq!(bench.names("volumes").len(), 2);
    assert_eq!(bench.names(".berth/staging"), ["temporary"]);
    fs::remove_file(newer).unwrap();
    bench.open();
}

#[test]
fn the_link_of_a_claim_leads_to_its_latest_volume() {
    let bench = Bench::new();
    let pool = bench.open();
    let claimed = |name: &str| VolumeSpec {
        claim: Some(Claim::parse("default", "data-0").unwrap()),
        ..kept(name)
    };
    let link = bench.path("by-claim/default/data-0");
    // Volumes made in the same second are told apart by nothing, so these are written by hand.
    drop(pool);
    let ids: Vec<_> = (0..8u64)
        .map(|at| {
            let spec = claimed(&format!("volume {at}"));
            let id = VolumeId::for_name(&spec.name, 0);
            let (capacity, deletion) = (Capacity::new(GIB).unwrap(), None);
            let record = Record {
                id: id.clone(),
                spec,
                capacity,
                created_at: 100 - at,
                deletion,
            };
            Store::open(&bench.pool_path()).unwrap().commit(&record, &[]).unwrap();
            make_data(&bench, "volumes", id.as_str());
            id
        })
        .collect();
    for _ in 0..2 {
        let pool = bench.open();
        assert_eq!(
            fs::read_link(&link).unwrap(),
            Path::new(&format!("../../volumes/{}", ids[0]))
        );
        assert_eq!(pool.counts(), (8, 0));
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn one_process_at_a_time_has_the_pool() {
    let bench = Bench::new();
    let pool = bench.open();
    assert!(matches!(bench.try_open().err(), Some(store::Error::Locked { .. })));
    drop(pool);
    bench.open();
}
