//! `berth undelete`: what the trash keeps comes back, same ID, same path, same bytes.

use super::Pool;
use super::common::requests::{create, create_with};

/// A deleted volume that held a file.
async fn deleted(pool: &Pool, name: &str, retention: &str) -> String {
    let id = pool
        .create(create_with(name, 1, &[("berth.dev/trash-retention", retention)]))
        .await;
    std::fs::write(pool.volume(&id).join("file"), name).unwrap();
    pool.delete(&id).await;
    assert!(!pool.volume(&id).exists());
    id
}

#[tokio::test]
async fn a_deleted_volume_comes_back_with_its_bytes() {
    let mut pool = Pool::new().await;
    for name in ["a", "b"] {
        let id = deleted(&pool, name, "1h").await;
        // Once through the agent, once without.
        if name == "b" {
            pool.stop();
        }
        let said = pool.berth(&["undelete", &id]).success();
        assert_eq!(
            said,
            format!("Volume {id} is back at {}.\n", pool.volume(&id).display())
        );
        assert_eq!(std::fs::read_to_string(pool.volume(&id).join("file")).unwrap(), name);
        let rows = pool.berth(&["volumes", "-o", "json"]).success();
        assert!(!rows.contains("Deleted"), "{rows}");
    }
    // An agent that starts afterwards knows both under their names.
    pool.start().await;
    for name in ["a", "b"] {
        let id = pool
            .create(create_with(name, 1, &[("berth.dev/trash-retention", "1h")]))
            .await;
        assert_eq!(std::fs::read_to_string(pool.volume(&id).join("file")).unwrap(), name);
    }
}

#[tokio::test]
async fn what_cannot_come_back_is_named_with_the_reason() {
    let mut pool = Pool::new().await;
    let in_use = pool.create(create("in use", 1)).await;
    let taken = deleted(&pool, "taken", "1h").await;
    let new = pool.create(create("taken", 1)).await;
    let expired = deleted(&pool, "expired", "1s").await;
    // Without an agent nobody purges it.
    let trash = pool.path().join(".berth/trash");
    let (gone, long) = ("vol-0123", "x".repeat(5000));
    let shortened = format!("{}…", "x".repeat(80));
    let rows = [
        (gone, "there is no deleted volume \"vol-0123\" in the trash".to_owned()),
        (
            "../../etc",
            "there is no deleted volume \"../../etc\" in the trash".to_owned(),
        ),
        (&long, format!("there is no deleted volume {shortened:?} in the trash")),
        (
            &in_use,
            format!("volume {in_use} is not deleted: nothing to bring back"),
        ),
        (
            &taken,
            format!("volume {new} was made under the name of {taken} since its deletion"),
        ),
    ];
    for way in ["through the agent", "without one"] {
        for (id, expected) in &rows {
            assert_eq!(
                pool.berth(&["undelete", id]).failure(),
                format!("berth: {expected}\n"),
                "{way}"
            );
        }
        if pool.agent.is_some() {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
            while trash.join(&expired).exists() {
                assert!(std::time::Instant::now() < deadline, "the reaper does not come");
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            pool.berth(&["undelete", &expired]).failure();
            pool.stop();
        }
    }
    assert!(trash.join(&taken).join("file").exists(), "it is kept as it was");
}

#[tokio::test]
async fn a_volume_past_its_retention_does_not_come_back_though_it_is_still_there() {
    let mut pool = Pool::new().await;
    let id = deleted(&pool, "a", "1s").await;
    // Killed, so that nothing purges it.
    pool.agent.take().unwrap().kill();
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let said = pool.berth(&["undelete", &id]).failure();
    let expected = format!("berth: volume {id} is past its retention and being purged: it cannot come back\n");
    assert_eq!(said, expected);
}
