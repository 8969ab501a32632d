//! `berth doctor`: what is wrong, what to do about it, and a status for scripts.

use std::path::Path;

use super::common::requests::create;
use super::{Pool, berth_at};

/// What the doctor says of one thing: severity, reason, what is wrong and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    severity: String,
    reason: String,
    what: String,
    advice: String,
}

/// Reads the doctor's findings about `object`. A nearly full disk of this machine is not its matter.
fn about(text: &str, object: &str) -> Vec<Entry> {
    let lines: Vec<_> = text.lines().collect();
    lines
        .chunks(3)
        .map(|entry| {
            let [head, what, advice] = entry else {
                panic!("a finding has three lines: {entry:?}");
            };
            let (severity, rest) = head.split_once(": ").unwrap();
            let (found, reason) = rest.trim_end_matches(')').rsplit_once(" (").unwrap();
            let entry = Entry {
                severity: severity.to_owned(),
                reason: reason.to_owned(),
                what: what.strip_prefix("  What: ").unwrap().to_owned(),
                advice: advice.strip_prefix("  Do:   ").unwrap().to_owned(),
            };
            (found == object, entry)
        })
        .filter_map(|(is_asked, entry)| (is_asked && entry.reason != "PoolNearlyFull").then_some(entry))
        .collect()
}

#[tokio::test]
async fn a_sound_pool_is_sound() {
    let mut pool = Pool::new().await;
    pool.create(create("a", 1)).await;
    for _ in 0..2 {
        let outcome = pool.berth(&["doctor"]);
        assert_eq!(outcome.code, 0);
        let nearly_full = outcome.out.contains("PoolNearlyFull");
        assert!(outcome.out == "Nothing is wrong.\n" || nearly_full, "{}", outcome.out);
        if pool.agent.is_some() {
            pool.stop();
        }
    }
}

#[tokio::test]
async fn every_finding_names_the_thing_what_is_wrong_and_what_to_do() {
    let mut pool = Pool::new().await;
    let missing = pool.create(create("missing", 1)).await;
    std::fs::remove_dir(pool.volume(&missing)).unwrap();
    let replaced = pool.create(create("replaced", 1)).await;
    std::fs::remove_dir(pool.volume(&replaced)).unwrap();
    std::os::unix::fs::symlink("/etc", pool.volume(&replaced)).unwrap();
    let damaged = pool.create(create("damaged", 1)).await;
    pool.stop();
    let record = pool.path().join(format!(".berth/records/{damaged}.json"));
    std::fs::write(&record, "torn").unwrap();
    let orphan = pool.volume("orphan");
    std::fs::create_dir_all(orphan.join("data")).unwrap();
    pool.start().await;
    let expected = [
        (
            missing.clone(),
            "error",
            "DirectoryMissing",
            pool.volume(&missing),
            "Restore the directory from a backup",
        ),
        (
            replaced.clone(),
            "error",
            "DirectoryReplaced",
            pool.volume(&replaced),
            "Put the volume's own directory back",
        ),
        (
            damaged,
            "error",
            "RecordQuarantined",
            record,
            "The data is untouched. Put the record back from a backup",
        ),
        (
            orphan.display().to_string(),
            "warning",
            "OrphanedData",
            orphan,
            "Move what is still needed elsewhere",
        ),
    ];
    for _ in 0..2 {
        let outcome = pool.berth(&["doctor"]);
        assert_eq!((outcome.code, outcome.err.as_str()), (1, ""));
        for (object, severity, reason, path, advice) in &expected {
            let found = about(&outcome.out, object);
            assert_eq!(found.len(), 1, "{object}: {}", outcome.out);
            let Entry {
                severity: s,
                reason: r,
                what,
                advice: a,
            } = &found[0];
            assert_eq!((s.as_str(), r.as_str()), (*severity, *reason));
            assert!(
                what.contains(path.to_str().unwrap()),
                "{what:?} does not name {}",
                path.display()
            );
            assert!(a.contains(advice), "{a:?} does not advise {advice:?}");
        }
        if pool.agent.is_some() {
            pool.stop();
        }
    }
}

#[tokio::test]
async fn warnings_alone_are_no_failure() {
    let mut pool = Pool::new().await;
    pool.stop();
    std::fs::create_dir_all(pool.volume("orphan").join("data")).unwrap();
    let outcome = pool.berth(&["doctor"]);
    assert_eq!(outcome.code, 0);
    assert_eq!(
        about(&outcome.out, pool.volume("orphan").to_str().unwrap())[0].severity,
        "warning"
    );
}

#[tokio::test]
async fn without_a_pool_the_pool_is_the_finding() {
    let home = tempfile::tempdir().unwrap();
    let empty = home.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let locked = Pool::new().await;
    let newer = Pool::new().await;
    let file = newer.path().join("berth.json");
    let damaged = Pool::new().await;
    let rewrite = |pool: &Path, from: &str, to: &str| {
        let file = pool.join("berth.json");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace(from, to)).unwrap();
    };
    drop((newer.agent, damaged.agent));
    rewrite(newer.home.path().join("pool").as_path(), "\"format\":1", "\"format\":2");
    rewrite(damaged.home.path().join("pool").as_path(), "created_at", "created_on");
    let rows = [
        (
            Path::new("/nonexistent").to_owned(),
            "PoolUnreadable",
            "No such file",
            "check the disk",
        ),
        (empty, "PoolWrongDisk", "has no berth.json", "Mount the pool's own disk"),
        (
            locked.path(),
            "PoolLocked",
            "in use by another process",
            "--csi-endpoint",
        ),
        (
            file.parent().unwrap().to_owned(),
            "PoolTooNew",
            "has format 2",
            "Run the newer Berth",
        ),
        (
            damaged.home.path().join("pool"),
            "PoolDamaged",
            "the checksum does not match",
            "Put berth.json back",
        ),
    ];
    for (pool, reason, what, advice) in rows {
        let outcome = berth_at(&pool, &home.path().join("none.sock"), &["doctor"]);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        let found = about(&outcome.out, pool.to_str().unwrap());
        assert_eq!(
            (found[0].severity.as_str(), found[0].reason.as_str()),
            ("error", reason),
            "{outcome:?}"
        );
        assert!(
            found[0].what.contains(what) && found[0].advice.contains(advice),
            "{found:?}"
        );
    }
    drop(locked);
}
