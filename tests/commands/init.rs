//! `berth init`: a pool is made once, in an empty directory, and whole.

use std::path::Path;

use super::Pool;
use super::common::command::{Outcome, berth};

fn init(pool: &Path) -> Outcome {
    berth(["init", "--pool", pool.to_str().unwrap()])
}

#[test]
fn an_empty_directory_becomes_a_pool() {
    let home = tempfile::tempdir().unwrap();
    let said = init(home.path()).success();
    let file = std::fs::read_to_string(home.path().join("berth.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&file).unwrap();
    let body = &json["body"];
    let expected = format!(
        "New pool {} at {} on {} {}.\n",
        body["pool_uuid"].as_str().unwrap(),
        home.path().display(),
        body["filesystem_type"].as_str().unwrap(),
        body["filesystem_id"].as_str().unwrap()
    );
    assert_eq!(said, expected);
}

#[test]
fn what_is_no_empty_directory_is_refused_and_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let (missing, file, full) = (
        home.path().join("missing"),
        home.path().join("file"),
        home.path().join("full"),
    );
    std::fs::write(&file, "precious").unwrap();
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("data"), "precious").unwrap();
    for (path, problem) in [
        (&missing, "No such file or directory"),
        (&file, "Not a directory"),
        (
            &full,
            "is not empty (it holds \"data\"): a new pool is made only in an empty directory",
        ),
    ] {
        let said = init(path).failure();
        assert!(
            said.contains(path.to_str().unwrap()) && said.contains(problem),
            "{said}"
        );
        assert_eq!(said.matches(problem).count(), 1, "said twice: {said}");
    }
    assert!(!missing.exists());
    assert_eq!(std::fs::read_dir(&full).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test]
async fn a_pool_is_never_made_anew_with_an_agent_on_it_or_without() {
    let mut pool = Pool::new().await;
    let file = std::fs::read(pool.path().join("berth.json")).unwrap();
    let refuse = || {
        let said = init(&pool.path()).failure();
        assert!(said.contains("is a pool already; nothing was changed"), "{said}");
        assert_eq!(std::fs::read(pool.path().join("berth.json")).unwrap(), file);
    };
    refuse();
    pool.stop();
    init(&pool.path()).failure();
    assert_eq!(std::fs::read(pool.path().join("berth.json")).unwrap(), file);
}

#[test]
fn what_an_interrupted_init_left_does_not_stop_the_next() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join(".berth/staging")).unwrap();
    std::fs::create_dir(home.path().join("lost+found")).unwrap();
    std::fs::write(home.path().join(".berth/staging/berth.json"), "to").unwrap();
    init(home.path()).success();
    let socket = home.path().join("none.sock");
    super::berth_at(home.path(), &socket, &["volumes"]).success();
}
