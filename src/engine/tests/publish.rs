//! Mounting: the depth of every target is 1 or 0, and what is there is what was asked for.

use std::fs;
use std::os::fd::AsFd;

use super::*;
use crate::mount::{Mounter, Occupant};
use crate::volume::MountOption;

/// A volume that is staged.
struct Staged {
    bench: Bench,
    engine: Engine,
    id: VolumeId,
    staging: TargetPath,
}

impl Staged {
    fn new(mode: AccessMode) -> Self {
        let bench = Bench::new();
        let engine = bench.engine(false);
        let mut spec = spec("a");
        spec.capabilities = vec![capability(mode)];
        let id = engine.pool().unwrap().create(spec, exactly(GIB)).unwrap().id.clone();
        let staging = bench.target("staging");
        engine
            .pool()
            .unwrap()
            .stage(id.as_str(), &staging, &capability(mode))
            .unwrap();
        Self {
            bench,
            engine,
            id,
            staging,
        }
    }

    fn publish(&self, target: &TargetPath, capability: &Capability, read_only: bool) -> Result<(), Error> {
        let pool = self.engine.pool().unwrap();
        pool.publish(self.id.as_str(), &self.staging, target, capability, read_only)
    }

    fn options_at(&self, target: &TargetPath) -> Vec<MountOption> {
        match self.bench.mounter.inspect(target).unwrap() {
            Occupant::Mount(mounted) => mounted.options,
            other => panic!("{other:?}"),
        }
    }

    fn depth(&self, target: &TargetPath) -> usize {
        self.bench.mounter.depth(target.path())
    }
}

fn with_options(mode: AccessMode, options: &[MountOption]) -> Capability {
    Capability {
        mode,
        options: options.to_vec(),
    }
}

#[test]
fn the_same_call_again_changes_nothing_and_another_is_a_conflict() {
    let staged = Staged::new(AccessMode::SingleNodeWriter);
    let target = staged.bench.target("pod");
    let writer = capability(AccessMode::SingleNodeWriter);
    for _ in 0..3 {
        staged.publish(&target, &writer, false).unwrap();
        assert_eq!(staged.depth(&target), 1);
    }
    assert_eq!(kind(staged.publish(&target, &writer, true)), Kind::Conflict);
    let no_exec = with_options(AccessMode::SingleNodeWriter, &[MountOption::NoExec]);
    assert_eq!(kind(staged.publish(&target, &no_exec, false)), Kind::Conflict);
    assert_eq!(staged.depth(&target), 1);
    let pool = staged.engine.pool().unwrap();
    pool.stage(staged.id.as_str(), &staged.staging, &writer).unwrap();
    assert_eq!(
        kind(pool.stage(staged.id.as_str(), &staged.staging, &no_exec)),
        Kind::Conflict
    );
    // An option that the mount itself cannot show makes no difference to it.
    let sync = with_options(AccessMode::SingleNodeWriter, &[MountOption::Sync]);
    staged.publish(&target, &sync, false).unwrap();
}

#[test]
fn read_only_is_said_in_three_ways_and_a_matter_of_each_target() {
    let staged = Staged::new(AccessMode::SingleNodeMultiWriter);
    let multi = AccessMode::SingleNodeMultiWriter;
    let ways = [
        (capability(multi), true),
        (with_options(multi, &[MountOption::ReadOnly]), false),
        (capability(AccessMode::SingleNodeReaderOnly), false),
    ];
    for (at, (capability, read_only)) in ways.into_iter().enumerate() {
        let target = staged.bench.target(&format!("reader-{at}"));
        staged.publish(&target, &capability, read_only).unwrap();
        staged.publish(&target, &capability, read_only).unwrap();
        assert!(staged.options_at(&target).contains(&MountOption::ReadOnly), "{at}");
    }
    let writer = staged.bench.target("writer");
    staged.publish(&writer, &capability(multi), false).unwrap();
    assert!(!staged.options_at(&writer).contains(&MountOption::ReadOnly));
    // The staging mount stays writable whatever one pod wants.
    let read_only = with_options(multi, &[MountOption::ReadOnly]);
    let pool = staged.engine.pool().unwrap();
    pool.stage(staged.id.as_str(), &staged.staging, &read_only).unwrap();
    assert!(!staged.options_at(&staged.staging).contains(&MountOption::ReadOnly));
}

#[test]
fn staging_comes_first() {
    let staged = Staged::new(AccessMode::SingleNodeWriter);
    let pool = staged.engine.pool().unwrap();
    let writer = capability(AccessMode::SingleNodeWriter);
    let target = staged.bench.target("pod");
    let elsewhere = staged.bench.target("elsewhere");
    let id = staged.id.as_str();
    assert_eq!(
        kind(pool.publish(id, &elsewhere, &target, &writer, false)),
        Kind::Precondition
    );
    // Another volume at the staging path is not this one.
    let other = pool.create(spec("b"), exactly(GIB)).unwrap();
    let refused = pool.publish(other.id.as_str(), &staged.staging, &target, &writer, false);
    assert_eq!(kind(refused), Kind::Precondition);
    assert_eq!(
        kind(pool.stage(other.id.as_str(), &staged.staging, &writer)),
        Kind::Conflict
    );
    assert!(!staged.bench.mounter.exists(target.path()));
    assert_eq!(kind(pool.stage("unknown", &target, &writer)), Kind::NotFound);
    assert_eq!(
        kind(pool.publish("unknown", &staged.staging, &target, &writer, false)),
        Kind::NotFound
    );
}

#[test]
fn a_single_writer_has_one_target_also_after_a_start() {
    let single = AccessMode::SingleNodeSingleWriter;
    let mut staged = Staged::new(single);
    let (first, second) = (staged.bench.target("first"), staged.bench.target("second"));
    staged.publish(&first, &capability(single), false).unwrap();
    for _ in 0..2 {
        staged.publish(&first, &capability(single), false).unwrap();
        for mode in [single, AccessMode::SingleNodeWriter] {
            // The volume was made for one pod, whatever mode a call says.
            let error = staged.publish(&second, &capability(mode), false).unwrap_err();
            assert_eq!(error.kind(), Kind::Precondition);
            assert!(error.to_string().contains("/kubelet/pods/first"), "{error}");
        }
        assert!(!staged.bench.mounter.exists(second.path()));
        drop(std::mem::replace(
            &mut staged.engine,
            Bench::without_pool().engine(false),
        ));
        staged.engine = staged.bench.engine(false);
    }
    staged.engine.unpublish(staged.id.as_str(), &first).unwrap();
    staged.publish(&second, &capability(single), false).unwrap();
}

#[test]
fn other_modes_serve_several_targets_on_the_node() {
    let staged = Staged::new(AccessMode::SingleNodeWriter);
    for name in ["one", "two", "three"] {
        let target = staged.bench.target(name);
        staged
            .publish(&target, &capability(AccessMode::SingleNodeWriter), false)
            .unwrap();
    }
    // A call that asks to be alone is not.
    let target = staged.bench.target("alone");
    let single = capability(AccessMode::SingleNodeSingleWriter);
    assert_eq!(kind(staged.publish(&target, &single, false)), Kind::Precondition);
}

#[test]
fn a_target_with_files_is_neither_mounted_over_nor_removed() {
    let staged = Staged::new(AccessMode::SingleNodeWriter);
    let target = staged.bench.target("pod");
    staged.bench.mounter.make_file_in(target.path());
    let writer = capability(AccessMode::SingleNodeWriter);
    assert_eq!(kind(staged.publish(&target, &writer, false)), Kind::Precondition);
    assert_eq!(
        kind(staged.engine.unpublish(staged.id.as_str(), &target)),
        Kind::Precondition
    );
    assert!(staged.bench.mounter.exists(target.path()));
    // What lies in a staging path that is not mounted is the kubelet's business.
    staged.engine.unstage(staged.id.as_str(), &target).unwrap();
}

#[test]
fn what_was_never_published_is_unpublished_already() {
    let staged = Staged::new(AccessMode::SingleNodeWriter);
    let target = staged.bench.target("pod");
    for id in [staged.id.as_str(), "unknown", "../malformed"] {
        staged.engine.unpublish(id, &target).unwrap();
        staged.engine.unstage(id, &target).unwrap();
    }
    staged.bench.mounter.make_directory(target.path());
    staged.engine.unpublish(staged.id.as_str(), &target).unwrap();
    assert!(!staged.bench.mounter.exists(target.path()));
    // The staging path is the kubelet's: the mount goes, the directory stays.
    staged.engine.unstage(staged.id.as_str(), &staged.staging).unwrap();
    staged.engine.unstage(staged.id.as_str(), &staged.staging).unwrap();
    assert_eq!(staged.depth(&staged.staging), 0);
    assert!(staged.bench.mounter.exists(staged.staging.path()));
}

#[test]
fn mounts_that_others_stacked_of_the_volume_go_and_foreign_ones_stay() {
    let staged = Staged::new(AccessMode::SingleNodeWriter);
    let target = staged.bench.target("pod");
    staged
        .publish(&target, &capability(AccessMode::SingleNodeWriter), false)
        .unwrap();
    let volume = fs::File::open(staged.bench.path(format!("volumes/{}", staged.id))).unwrap();
    staged.bench.mounter.mount_by_hand(volume.as_fd(), target.path());
    staged.engine.unpublish(staged.id.as_str(), &target).unwrap();
    assert!(!staged.bench.mounter.exists(target.path()));

    let foreign = fs::File::open(staged.bench.home.path()).unwrap();
    staged.bench.mounter.mount_by_hand(foreign.as_fd(), target.path());
    assert_eq!(
        kind(staged.engine.unpublish(staged.id.as_str(), &target)),
        Kind::Precondition
    );
    assert_eq!(kind(staged.engine.unpublish("unknown", &target)), Kind::Precondition);
    let writer = capability(AccessMode::SingleNodeWriter);
    assert_eq!(kind(staged.publish(&target, &writer, false)), Kind::Conflict);
    assert_eq!(staged.depth(&target), 1);

    let endless = staged.bench.target("endless");
    for _ in 0..40 {
        staged.bench.mounter.mount_by_hand(volume.as_fd(), endless.path());
    }
    assert_eq!(
        kind(staged.engine.unpublish(staged.id.as_str(), &endless)),
        Kind::Internal
    );
}

/// A pod must be able to end while its disk is away, or when it came back as another device.
#[test]
fn unpublish_works_without_the_pool_and_after_it_changed() {
    let mut staged = Staged::new(AccessMode::SingleNodeWriter);
    let writer = capability(AccessMode::SingleNodeWriter);
    let (away, changed) = (staged.bench.target("away"), staged.bench.target("changed"));
    staged.publish(&away, &writer, false).unwrap();
    staged.publish(&changed, &writer, false).unwrap();
    let pool = staged.bench.pool_path();
    let hidden = staged.bench.home.path().join("hidden");
    fs::rename(&pool, &hidden).unwrap();
    staged.engine.look_after_pool();
    assert!(staged.engine.pool().is_err());
    assert_eq!(kind(staged.engine.unpublish("unknown", &away)), Kind::Precondition);
    staged.engine.unpublish(staged.id.as_str(), &away).unwrap();
    assert!(!staged.bench.mounter.exists(away.path()));
    // A copy of the pool: the same volumes, but not the same directories.
    fs::rename(&hidden, &pool).unwrap();
    let volume = staged.bench.path(format!("volumes/{}", staged.id));
    fs::rename(&volume, staged.bench.home.path().join("first")).unwrap();
    fs::create_dir(&volume).unwrap();
    staged.engine = staged.bench.engine(false);
    staged.engine.unpublish(staged.id.as_str(), &changed).unwrap();
    staged.engine.unstage(staged.id.as_str(), &staged.staging).unwrap();
    assert_eq!(staged.depth(&changed) + staged.depth(&staged.staging), 0);
}

/// The kubelet does not stage again while another pod has the volume: it must not be told to.
#[test]
fn a_staging_path_that_shows_an_earlier_disk_is_told_apart_from_an_empty_one() {
    let staged = Staged::new(AccessMode::SingleNodeWriter);
    let writer = capability(AccessMode::SingleNodeWriter);
    let target = staged.bench.target("pod");
    let refusal = |staged: &Staged| {
        let error = staged.publish(&target, &writer, false).unwrap_err();
        assert_eq!(error.kind(), Kind::Precondition);
        assert!(!staged.bench.mounter.exists(target.path()));
        error.to_string()
    };
    let volume = staged.bench.path(format!("volumes/{}", staged.id));
    fs::rename(&volume, staged.bench.home.path().join("first")).unwrap();
    fs::create_dir(&volume).unwrap();
    let message = refusal(&staged);
    for said in ["something else", "stop all pods", staged.id.as_str()] {
        assert!(message.contains(said), "{message}");
    }
    assert!(!message.contains("NodeStageVolume"), "{message}");
    staged.bench.mounter.kill(staged.staging.path());
    let pool = staged.engine.pool().unwrap();
    let staging_again = pool.stage(staged.id.as_str(), &staged.staging, &writer).unwrap_err();
    assert_eq!(staging_again.kind(), Kind::Precondition);
    for message in [refusal(&staged), staging_again.to_string()] {
        for said in ["a disk that is gone", "stop all pods", staged.id.as_str()] {
            assert!(message.contains(said), "{message}");
        }
    }
    // As the message says.
    staged.engine.unstage(staged.id.as_str(), &staged.staging).unwrap();
    assert!(refusal(&staged).contains("NodeStageVolume comes first"));
    pool.stage(staged.id.as_str(), &staged.staging, &writer).unwrap();
    staged.publish(&target, &writer, false).unwrap();
}

#[test]
fn stats_are_told_at_the_volumes_own_paths_only() {
    let staged = Staged::new(AccessMode::SingleNodeWriter);
    let pool = staged.engine.pool().unwrap();
    let other = pool.create(spec("b"), exactly(GIB)).unwrap();
    assert_eq!(
        pool.stats(staged.id.as_str(), &staged.staging).unwrap().total_bytes,
        DISK
    );
    assert_eq!(kind(pool.stats(other.id.as_str(), &staged.staging)), Kind::NotFound);
    assert_eq!(
        kind(pool.stats(staged.id.as_str(), &staged.bench.target("pod"))),
        Kind::NotFound
    );
    assert_eq!(kind(pool.stats("unknown", &staged.staging)), Kind::NotFound);
}

/// Each of them has its own key, and finds the path free.
#[test]
fn two_volumes_are_not_mounted_at_one_path_by_calls_at_once() {
    let staged = Staged::new(AccessMode::SingleNodeWriter);
    let pool = staged.engine.pool().unwrap();
    let other = pool.create(spec("b"), exactly(GIB)).unwrap().id.clone();
    let writer = capability(AccessMode::SingleNodeWriter);
    let target = staged.bench.target("target");
    let gate = staged.bench.mounter.faults.hold_next("bind");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| staged.publish(&target, &writer, false));
        gate.meet();
        assert_eq!(kind(pool.stage(other.as_str(), &target, &writer)), Kind::Busy);
        assert_eq!(kind(staged.engine.unstage(other.as_str(), &target)), Kind::Busy);
        assert_eq!(kind(staged.engine.unpublish(other.as_str(), &target)), Kind::Busy);
        gate.meet();
        first.join().unwrap().unwrap();
    });
    assert_eq!(staged.depth(&target), 1);
}

/// Until the first is mounted, the mount table tells the second call nothing of it.
#[test]
fn a_volume_for_one_pod_is_not_mounted_for_two_by_calls_at_once() {
    let single = AccessMode::SingleNodeSingleWriter;
    let staged = Staged::new(single);
    let (first, second) = (staged.bench.target("first"), staged.bench.target("second"));
    let gate = staged.bench.mounter.faults.hold_next("bind");
    std::thread::scope(|scope| {
        let call = scope.spawn(|| staged.publish(&first, &capability(single), false));
        gate.meet();
        assert_eq!(kind(staged.publish(&second, &capability(single), false)), Kind::Busy);
        gate.meet();
        call.join().unwrap().unwrap();
    });
    assert_eq!((staged.depth(&first), staged.depth(&second)), (1, 0));
}

#[test]
fn a_volume_on_the_way_to_its_first_mount_is_not_deleted() {
    let staged = Staged::new(AccessMode::SingleNodeWriter);
    let pool = staged.engine.pool().unwrap();
    let id = pool.create(spec("b"), exactly(GIB)).unwrap().id.clone();
    let (target, writer) = (staged.bench.target("b"), capability(AccessMode::SingleNodeWriter));
    let gate = staged.bench.mounter.faults.hold_next("bind");
    std::thread::scope(|scope| {
        let call = scope.spawn(|| pool.stage(id.as_str(), &target, &writer));
        gate.meet();
        assert_eq!(kind(pool.delete(id.as_str())), Kind::Busy);
        gate.meet();
        call.join().unwrap().unwrap();
    });
    assert_eq!(staged.depth(&target), 1);
    assert!(pool.volume(id.as_str()).is_ok());
}
