//! DeleteVolume: gone is gone, and only what was asked for.

use std::time::{Duration, Instant};

use tonic::Code;

use super::common::requests::{MIB, create, create_with};
use super::{Fixture, refused, tree};

#[tokio::test]
async fn a_volume_is_deleted_with_all_that_speaks_of_it() {
    let fixture = Fixture::new().await;
    let claim = [
        ("csi.storage.k8s.io/pvc/namespace", "default"),
        ("csi.storage.k8s.io/pvc/name", "data"),
    ];
    let before = tree(&fixture.pool());
    let id = fixture.create_id(create_with("a", MIB, &claim)).await;
    let data = fixture.pool().join("volumes").join(&id);
    std::fs::create_dir_all(data.join("deep/er")).unwrap();
    std::fs::write(data.join("deep/er/file"), "bytes").unwrap();
    fixture.delete(&id).await.unwrap();
    assert!(!data.exists());
    assert_eq!(fixture.ids().await, [""; 0]);
    // The record is the last that goes; reading the tree before would meet files that vanish.
    let records = fixture.pool().join(".berth/records");
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::fs::read_dir(&records).unwrap().next().is_some() {
        assert!(Instant::now() < deadline, "the reaper leaves the record");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(tree(&fixture.pool()), before);
}

#[tokio::test]
async fn what_is_not_there_is_deleted_already() {
    let fixture = Fixture::new().await;
    let other = fixture.create_id(create("other", MIB)).await;
    let id = fixture.create_id(create("a", MIB)).await;
    for _ in 0..3 {
        fixture.delete(&id).await.unwrap();
    }
    let before = tree(&fixture.pool().join("volumes"));
    for unknown in ["pvc-unknown", "vol-0", "a", "UPPER", "has space", "x/y"] {
        fixture.delete(unknown).await.unwrap();
    }
    refused(fixture.delete("").await, Code::InvalidArgument, "volume_id is required");
    assert_eq!(tree(&fixture.pool().join("volumes")), before);
    assert_eq!(fixture.ids().await, [other]);
}

#[tokio::test]
async fn many_deletions_of_one_volume_at_once_all_converge() {
    let fixture = Fixture::new().await;
    let id = fixture.create_id(create("a", MIB)).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (mut controller, request) = (fixture.clients.controller.clone(), super::common::requests::delete(&id));
        calls.spawn(async move { controller.delete_volume(request).await });
    }
    while let Some(answer) = calls.join_next().await {
        if let Err(status) = answer.unwrap() {
            assert_eq!(status.code(), Code::Aborted, "{status}");
        }
    }
    fixture.delete(&id).await.unwrap();
    assert_eq!(fixture.ids().await, [""; 0]);
}

#[tokio::test]
async fn a_name_is_free_again_while_the_trash_keeps_the_old_volume() {
    let fixture = Fixture::new().await;
    let request = create_with("a", MIB, &[("berth.dev/trash-retention", "1h")]);
    let first = fixture.create_id(request.clone()).await;
    std::fs::write(fixture.pool().join("volumes").join(&first).join("old"), "").unwrap();
    fixture.delete(&first).await.unwrap();
    let second = fixture.create_id(request.clone()).await;
    assert_ne!(first, second);
    assert_eq!(fixture.create_id(request.clone()).await, second);
    let data = fixture.pool().join("volumes").join(&second);
    assert_eq!(std::fs::read_dir(data).unwrap().count(), 0, "it is new");
    // Deleting the first again does not touch the second.
    fixture.delete(&first).await.unwrap();
    assert_eq!(fixture.ids().await, [second.as_str()]);
    fixture.delete(&second).await.unwrap();
    let third = fixture.create_id(request).await;
    assert!(third != first && third != second);
}

#[tokio::test]
async fn a_volume_whose_directory_is_gone_can_be_deleted() {
    let fixture = Fixture::new().await;
    let id = fixture.create_id(create("a", MIB)).await;
    std::fs::remove_dir(fixture.pool().join("volumes").join(&id)).unwrap();
    fixture.delete(&id).await.unwrap();
    assert_eq!(fixture.ids().await, [""; 0]);
}

#[tokio::test]
async fn a_volume_whose_record_is_damaged_is_not_deleted() {
    let fixture = Fixture::new().await;
    let id = fixture.create_id(create("a", MIB)).await;
    std::fs::write(fixture.pool().join(format!(".berth/records/{id}.json")), "torn").unwrap();
    let fixture = fixture.restart_with_mib(100).await;
    let before = tree(&fixture.pool());
    refused(fixture.delete(&id).await, Code::FailedPrecondition, "berth doctor");
    refused(
        fixture.create(create("a", MIB)).await,
        Code::FailedPrecondition,
        "the data is untouched",
    );
    assert_eq!(tree(&fixture.pool()), before);
}
