//! Making volumes: the same request gives the same answer, whoever asks and how often.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::volume::{Claim, MountOption};

#[test]
fn a_second_call_finds_what_the_first_one_made() {
    let bench = Bench::new();
    let pool = bench.open();
    let first = pool.create(spec("a"), exactly(GIB)).unwrap();
    bench.write(&first.id);
    assert_eq!(pool.create(spec("a"), exactly(GIB)).unwrap(), first);
    assert_ne!(pool.create(spec("b"), exactly(GIB)).unwrap().id, first.id);
    drop(pool);
    let pool = bench.open();
    assert_eq!(*pool.create(spec("a"), exactly(GIB)).unwrap(), *first);
    assert_eq!(bench.names(&format!("volumes/{}", first.id)), ["data"]);
    assert_eq!(pool.counts(), (2, 0));
}

#[test]
fn the_directory_has_the_mode_that_the_class_says() {
    let bench = Bench::new();
    let pool = bench.open();
    let mut spec = spec("a");
    spec.attributes.mode = 0o2750;
    let id = pool.create(spec, exactly(GIB)).unwrap().id.clone();
    let mode = fs::metadata(bench.path("volumes").join(id.as_str()))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o2750);
}

#[test]
fn each_difference_to_what_was_made_is_a_conflict() {
    let bench = Bench::new();
    let pool = bench.open();
    pool.create(spec("a"), exactly(2 * GIB)).unwrap();
    let changed = |change: &dyn Fn(&mut VolumeSpec)| {
        let mut spec = spec("a");
        change(&mut spec);
        spec
    };
    let different = [
        changed(&|spec| spec.capabilities = vec![capability(AccessMode::SingleNodeMultiWriter)]),
        changed(&|spec| spec.capabilities[0].options = vec![MountOption::NoAtime]),
        changed(&|spec| spec.attributes.mode = 0o700),
        changed(&|spec| spec.attributes.uid = Some(0)),
        changed(&|spec| spec.attributes.gid = Some(0)),
        changed(&|spec| spec.attributes.trash_retention = HOUR),
    ];
    for other in different {
        assert_eq!(
            kind(pool.create(other.clone(), exactly(2 * GIB))),
            Kind::Conflict,
            "{other:?}"
        );
    }
    let capacity = |bytes| Some(Capacity::new(bytes).unwrap());
    let at_least = |required| CapacityRange { required, limit: None };
    let at_most = |limit| CapacityRange { required: None, limit };
    assert_eq!(
        kind(pool.create(spec("a"), at_least(capacity(3 * GIB)))),
        Kind::Conflict
    );
    assert_eq!(kind(pool.create(spec("a"), at_most(capacity(GIB)))), Kind::Conflict);
    // What the volume satisfies is no difference, and neither is the claim: it may be told or not.
    assert!(pool.create(spec("a"), at_least(capacity(GIB))).is_ok());
    assert!(pool.create(spec("a"), at_most(capacity(3 * GIB))).is_ok());
    let claim = Some(Claim::parse("default", "data-0").unwrap());
    assert!(
        pool.create(changed(&|spec| spec.claim = claim.clone()), exactly(2 * GIB))
            .is_ok()
    );
    assert_consistent(&bench, &pool);
}

#[test]
fn a_name_is_looked_up_before_capacity() {
    let bench = Bench::new();
    let pool = bench.open();
    let made = pool.create(spec("a"), exactly(DISK)).unwrap();
    assert_eq!(kind(pool.create(spec("b"), exactly(1))), Kind::Exhausted);
    let asked = bench.backend.faults.calls("space");
    assert_eq!(pool.create(spec("a"), exactly(DISK)).unwrap(), made);
    assert_eq!(kind(pool.create(spec("a"), exactly(1))), Kind::Conflict);
    assert_eq!(bench.backend.faults.calls("space"), asked);
}

#[test]
fn a_volume_of_no_said_size_gets_the_default_within_the_limit() {
    let bench = Bench::new();
    let pool = bench.open();
    let any = CapacityRange {
        required: None,
        limit: None,
    };
    let small = CapacityRange {
        required: None,
        limit: Some(Capacity::new(7).unwrap()),
    };
    assert_eq!(pool.create(spec("a"), any).unwrap().capacity, CapacityRange::DEFAULT);
    assert_eq!(pool.create(spec("b"), small).unwrap().capacity.bytes(), 7);
}

#[test]
fn a_directory_with_data_in_the_way_is_left_alone() {
    let bench = Bench::new();
    let pool = bench.open();
    let orphan = bench.path("volumes").join(id_of("a").as_str());
    fs::create_dir(&orphan).unwrap();
    fs::write(orphan.join("precious"), "bytes").unwrap();
    let error = pool.create(spec("a"), exactly(GIB)).unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition);
    assert!(error.to_string().contains(orphan.to_str().unwrap()), "{error}");
    assert_eq!(fs::read_to_string(orphan.join("precious")).unwrap(), "bytes");
    assert!(bench.names(".berth/staging").is_empty());
    assert!(bench.names(".berth/records").is_empty());
    assert_eq!(pool.committed_bytes(), 0);
    fs::remove_file(orphan.join("precious")).unwrap();
    pool.create(spec("a"), exactly(GIB)).unwrap();
    assert_consistent(&bench, &pool);
}

#[test]
fn a_call_for_a_volume_in_the_making_is_told_that_it_is_busy() {
    let bench = Bench::new();
    let pool = bench.open();
    let gate = bench.backend.faults.hold_next("create");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| pool.create(spec("a"), exactly(60 * GIB)));
        gate.meet();
        let id = id_of("a");
        assert_eq!(kind(pool.create(spec("a"), exactly(60 * GIB))), Kind::Busy);
        assert_eq!(kind(pool.delete(id.as_str())), Kind::Busy);
        assert_eq!(kind(pool.undelete(id.as_str())), Kind::Busy);
        let target = bench.target("a");
        let writer = capability(AccessMode::SingleNodeWriter);
        assert_eq!(kind(pool.stage(id.as_str(), &target, &writer)), Kind::Busy);
        assert_eq!(
            kind(pool.publish(id.as_str(), &target, &target, &writer, false)),
            Kind::Busy
        );
        // Its space is promised, others go on, and nobody sees it yet.
        assert_eq!(pool.available().unwrap(), 40 * GIB);
        assert_eq!(kind(pool.create(spec("b"), exactly(41 * GIB))), Kind::Exhausted);
        pool.create(spec("b"), exactly(40 * GIB)).unwrap();
        assert_eq!(kind(pool.volume(id.as_str())), Kind::NotFound);
        gate.meet();
        first.join().unwrap().unwrap();
    });
    assert!(pool.create(spec("a"), exactly(60 * GIB)).is_ok());
    assert_consistent(&bench, &pool);
}

#[test]
fn twenty_threads_that_want_one_name_get_one_volume() {
    let bench = Bench::new();
    let pool = bench.open();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| pool.create(spec("a"), exactly(GIB))))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (served, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(!served.is_empty());
    assert!(served.iter().flatten().all(|record| record.id == id_of("a")));
    assert!(refused.into_iter().all(|answer| kind(answer) == Kind::Busy));
    assert_eq!(bench.backend.faults.calls("create"), 1);
    assert_consistent(&bench, &pool);
}

#[test]
fn pages_are_stable_while_volumes_come_and_go() {
    let bench = Bench::new();
    let pool = bench.open();
    for at in 0..9 {
        pool.create(spec(&format!("volume {at}")), exactly(GIB)).unwrap();
    }
    let ids = |page: &[Arc<Record>]| -> Vec<_> { page.iter().map(|record| record.id.clone()).collect() };
    let all = ids(&pool.page(None, 100).0);
    assert!(all.is_sorted());
    let (first, more) = pool.page(None, 3);
    assert_eq!((ids(&first), more), (all[..3].to_vec(), true));
    // The one that the token names goes, and so does one ahead; others come anywhere.
    pool.delete(all[2].as_str()).unwrap();
    pool.delete(all[5].as_str()).unwrap();
    let new: Vec<_> = (10..20)
        .map(|at| {
            pool.create(spec(&format!("volume {at}")), exactly(GIB))
                .unwrap()
                .id
                .clone()
        })
        .collect();
    let mut seen = ids(&first);
    loop {
        let (page, more) = pool.page(seen.last(), 3);
        seen.extend(ids(&page));
        if !more {
            break;
        }
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "an ID came twice: {seen:?}");
    let expected: Vec<_> = all.iter().filter(|id| **id != all[5]).collect();
    assert!(
        expected.iter().all(|id| seen.contains(id)),
        "one that stayed was left out"
    );
    assert!(seen.iter().all(|id| expected.contains(&id) || new.contains(id)));
    assert_eq!(pool.page(None, 17), (pool.page(None, 100).0, false));
}
