//! `berth volumes`: what is in the pool, for people and for programs.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::common::command::run;
use super::common::requests::{MIB, create, create_with, publish, stage, staging_path, target_path};
use super::common::{Agent, isolated};
use super::{Pool, berth_at};

/// A pool with a volume in each state, and the rows that show them.
async fn in_every_state() -> (Pool, Vec<Value>) {
    let mut pool = Pool::new().await;
    let claim = |namespace, name| {
        [
            ("csi.storage.k8s.io/pvc/namespace", namespace),
            ("csi.storage.k8s.io/pvc/name", name),
        ]
    };
    let used = pool
        .create(create_with("used", 3 * MIB, &claim("default", "data-0")))
        .await;
    std::fs::write(pool.volume(&used).join("file"), vec![1; 1 << 20]).unwrap();
    let missing = pool
        .create(create_with("missing", 1, &claim("default", "data-1")))
        .await;
    std::fs::remove_dir(pool.volume(&missing)).unwrap();
    let damaged = pool.create(create_with("damaged", 1, &claim("other", "data-0"))).await;
    let kept = pool
        .create(create_with("kept", 2 * MIB, &[("berth.dev/trash-retention", "1h")]))
        .await;
    pool.delete(&kept).await;
    pool.stop();
    std::fs::write(pool.path().join(format!(".berth/records/{damaged}.json")), "torn").unwrap();
    pool.start().await;
    let row = |id: &str, claim: Option<&str>, capacity: i64, state: &str, area: &str| {
        json!({
            "id": id,
            "claim": claim,
            "capacity_bytes": capacity,
            "state": state,
            "path": pool.path().join(area).join(id),
            "published_at": [],
        })
    };
    let mut unclaimed = vec![
        row(&damaged, None, 0, "Quarantined", "volumes"),
        row(&kept, None, 2 * MIB, "Deleted", ".berth/trash"),
    ];
    unclaimed.sort_by_key(|row| row["id"].to_string());
    let claimed = [
        row(&used, Some("default/data-0"), 3 * MIB, "Ready", "volumes"),
        row(&missing, Some("default/data-1"), 1, "Missing", "volumes"),
    ];
    let rows = unclaimed.into_iter().chain(claimed).collect();
    (pool, rows)
}

/// The rows without what depends on the disk and the time, and that for itself.
fn parse(text: &str) -> (Vec<Value>, Vec<[Value; 3]>) {
    let mut rows: Vec<Value> = serde_json::from_str(text).unwrap();
    let measured = |row: &mut Value| {
        let row = row.as_object_mut().unwrap();
        ["used_bytes", "used_inodes", "purge_at"].map(|key| row.remove(key).expect("every row has it"))
    };
    let varying = rows.iter_mut().map(measured).collect();
    (rows, varying)
}

#[tokio::test]
async fn json_tells_everything_about_every_volume() {
    let (mut pool, expected) = in_every_state().await;
    for way in ["through the agent", "without one"] {
        let (rows, varying) = parse(&pool.berth(&["volumes", "-o", "json"]).success());
        assert_eq!(rows, expected, "{way}");
        for (row, [bytes, inodes, purge_at]) in rows.iter().zip(varying) {
            match row["state"].as_str().unwrap() {
                "Ready" => {
                    assert!((MIB..2 * MIB).contains(&bytes.as_i64().unwrap()), "{bytes}");
                    assert_eq!(inodes, 2);
                }
                "Deleted" => {
                    let until = humantime::parse_rfc3339(purge_at.as_str().unwrap()).unwrap();
                    let left = until.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
                    assert!((3500..=3600).contains(&left), "kept for {left} s more");
                    continue;
                }
                _ => assert_eq!((bytes, inodes), (Value::Null, Value::Null)),
            }
            assert_eq!(purge_at, Value::Null);
        }
        if pool.agent.is_some() {
            pool.stop();
        }
    }
}

#[tokio::test]
async fn the_table_has_a_line_for_every_volume() {
    let (mut pool, expected) = in_every_state().await;
    let through_the_agent = pool.berth(&["volumes"]).success();
    pool.stop();
    let table = pool.berth(&["volumes"]).success();
    assert_eq!(table, through_the_agent);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[0],
        ["CLAIM", "ID", "CAPACITY", "USED", "STATE", "PATH", "PUBLISHED", "AT"]
    );
    assert_eq!(lines.len(), 1 + expected.len());
    for (line, row) in lines[1..].iter().zip(&expected) {
        assert_eq!(line[0], row["claim"].as_str().unwrap_or("-"));
        assert_eq!(line[1], row["id"].as_str().unwrap());
        assert_eq!(line[4], row["state"].as_str().unwrap());
        assert!(
            line.contains(&row["path"].as_str().unwrap()) && line.ends_with(&["-"]),
            "{line:?}"
        );
    }
    let used = &lines[3];
    assert_eq!(used[2], "3.0M");
    assert!(used[3].starts_with("1.") && used[3].ends_with('M'), "{used:?}");
    assert!(table.contains("Deleted (kept until 2"), "{table}");
    // Columns line up.
    let column = table.find("CAPACITY").unwrap();
    assert!(
        table
            .lines()
            .all(|line| line.as_bytes()[column - 1] == b' ' && line.as_bytes()[column] != b' ')
    );
}

#[tokio::test]
async fn without_measuring_nothing_is_said_of_use() {
    let (mut pool, expected) = in_every_state().await;
    for _ in 0..2 {
        let (rows, varying) = parse(&pool.berth(&["volumes", "-o", "json", "--no-usage"]).success());
        assert_eq!(rows, expected);
        assert!(
            varying
                .iter()
                .all(|[bytes, inodes, _]| bytes.is_null() && inodes.is_null())
        );
        if pool.agent.is_some() {
            pool.stop();
        }
    }
}

#[tokio::test]
async fn an_empty_pool_is_an_empty_list() {
    let mut pool = Pool::new().await;
    for _ in 0..2 {
        assert_eq!(pool.berth(&["volumes", "-o", "json"]).success(), "[]\n");
        assert_eq!(pool.berth(&["volumes"]).success().lines().count(), 1);
        if pool.agent.is_some() {
            pool.stop();
        }
    }
}

#[tokio::test]
async fn pool_and_socket_come_from_the_environment_too() {
    let pool = Pool::new().await;
    let id = pool.create(create("a", 1)).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command.env_clear().arg("volumes").env("BERTH_POOL", "/nonexistent");
    command.env("BERTH_CSI_ENDPOINT", Agent::socket_in(pool.home.path()));
    assert!(run(&mut command).success().contains(&id));
}

#[tokio::test]
async fn a_pool_that_an_agent_holds_elsewhere_is_left_to_it() {
    let pool = Pool::new().await;
    let id = pool.create(create("a", 1)).await;
    let socket = pool.home.path().join("another.sock");
    for command in [&["volumes"][..], &["undelete", &id]] {
        let said = berth_at(&pool.path(), &socket, command).failure();
        let expected = format!(
            "berth: no agent answers at {} (see --csi-endpoint): the pool cannot be used: {} is in use by another \
             process: an agent runs on this pool already\n",
            socket.display(),
            pool.path().display()
        );
        assert_eq!(said, expected);
    }
    assert!(pool.berth(&["volumes"]).success().contains(&id));
}

#[test]
fn without_a_pool_the_error_names_it_and_the_way_to_one() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("csi.sock");
    let said = berth_at(home.path(), &socket, &["volumes"]).failure();
    for words in [
        home.path().to_str().unwrap(),
        "is not a pool",
        "mount it",
        "run `berth init`",
        "--csi-endpoint",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let said = berth_at(Path::new("/nonexistent"), &socket, &["volumes"]).failure();
    assert!(
        said.contains("cannot open /nonexistent: No such file or directory"),
        "{said}"
    );
    assert_eq!(said.matches("No such file").count(), 1, "said twice: {said}");
}

/// Runs a command whose standard output is `output`, and returns its status and what it complains of.
fn into(output: impl Into<Stdio>, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command
        .args(arguments)
        .env_clear()
        .stdout(output)
        .stderr(Stdio::piped());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error_but_a_full_disk_is() {
    let pool = Pool::new().await;
    let socket = format!("--csi-endpoint={}", Agent::socket_in(pool.home.path()).display());
    for arguments in [
        &["volumes", &socket][..],
        &["doctor", &socket],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(into(writer, arguments), (Some(0), String::new()), "{arguments:?}");
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let said = "berth: cannot write the result: No space left on device (os error 28)\n";
        assert_eq!(into(full, arguments), (Some(1), said.to_owned()), "{arguments:?}");
    }
}

#[test]
fn privileged_it_shows_where_a_volume_is_mounted() {
    isolated("volumes::privileged_it_shows_where_a_volume_is_mounted", async {
        let mut pool = Pool::new().await;
        let id = pool.create(create("a", 1)).await;
        let agent = pool.agent.as_ref().unwrap();
        let (staging, target) = (staging_path(agent, &id), target_path(agent, "pod", &id));
        let mut node = agent.clients().await.node;
        node.node_stage_volume(stage(&id, &staging)).await.unwrap();
        node.node_publish_volume(publish(&id, &staging, &target)).await.unwrap();
        for _ in 0..2 {
            let (rows, _) = parse(&pool.berth(&["volumes", "-o", "json"]).success());
            let mut mounted: Vec<_> = rows[0]["published_at"].as_array().unwrap().clone();
            mounted.sort_by_key(Value::to_string);
            assert_eq!(mounted, [json!(staging), json!(target)]);
            let table = pool.berth(&["volumes"]).success();
            assert!(table.contains(target.to_str().unwrap()), "{table}");
            if pool.agent.is_some() {
                pool.stop();
            }
        }
    });
}
