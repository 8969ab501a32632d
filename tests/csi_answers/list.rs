//! ListVolumes and ControllerListVolumeHealth: pages that stay stable while volumes come and go.

use std::collections::BTreeSet;

use berth::proto::csi;
use tonic::{Code, Status};

use super::common::requests::{create, create_with};
use super::{Fixture, refused};

/// One page: the IDs on it and the token of the next.
async fn page(fixture: &Fixture, max_entries: i32, token: &str) -> Result<(Vec<String>, String), Status> {
    let request = csi::ListVolumesRequest {
        max_entries,
        starting_token: token.to_owned(),
    };
    let answer = fixture
        .clients
        .controller
        .clone()
        .list_volumes(request)
        .await?
        .into_inner();
    let id = |entry: csi::list_volumes_response::Entry| entry.volume.unwrap().volume_id;
    Ok((answer.entries.into_iter().map(id).collect(), answer.next_token))
}

async fn fill(fixture: &Fixture, names: std::ops::Range<u32>) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for name in names {
        ids.insert(fixture.create_id(create(&name.to_string(), 1)).await);
    }
    ids
}

#[tokio::test]
async fn pages_hold_every_volume_once() {
    let fixture = Fixture::new().await;
    assert_eq!(page(&fixture, 0, "").await.unwrap(), (vec![], String::new()));
    let ids: Vec<_> = fill(&fixture, 0..12).await.into_iter().collect();
    for size in [1, 5, 6, 11, 12, 13, 0, i32::MAX] {
        let (mut found, mut token, mut pages) = (vec![], String::new(), 0);
        loop {
            let (entries, next) = page(&fixture, size, &token).await.unwrap();
            assert!(size == 0 || entries.len() <= size.unsigned_abs() as usize);
            assert!(!entries.is_empty(), "an empty page follows a full one");
            found.extend(entries);
            pages += 1;
            token = next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(found, ids, "in pages of {size}");
        let expected = if size == 0 {
            1
        } else {
            12_i64.div_euclid(size.into()) + i64::from(12 % size != 0)
        };
        assert_eq!(pages, expected, "in pages of {size}");
    }
}

#[tokio::test]
async fn an_entry_is_the_volume_as_it_was_made() {
    let fixture = Fixture::new().await;
    let volume = fixture
        .create(create_with("a", 7, &[("berth.dev/mode", "0700")]))
        .await
        .unwrap();
    let request = csi::ListVolumesRequest::default();
    let answer = fixture
        .clients
        .controller
        .clone()
        .list_volumes(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.entries.len(), 1);
    assert_eq!(answer.entries[0].volume.as_ref(), Some(&volume));
}

#[tokio::test]
async fn volumes_that_stay_are_listed_once_whatever_comes_and_goes_between_pages() {
    let fixture = Fixture::new().await;
    let mut stay = fill(&fixture, 0..30).await;
    let (mut found, mut token, mut name) = (vec![], String::new(), 1000);
    loop {
        let (entries, next) = page(&fixture, 4, &token).await.unwrap();
        // The very volume that the token names goes, another that is still to come too, and new ones come.
        let Some(last) = entries.last().cloned() else {
            assert_eq!(next, "", "an empty page is the last one");
            break;
        };
        let ahead = stay.iter().find(|id| **id > last && !entries.contains(id)).cloned();
        found.extend(entries);
        for gone in ahead.into_iter().chain([last]) {
            fixture.delete(&gone).await.unwrap();
            stay.remove(&gone);
        }
        fill(&fixture, name..name + 3).await;
        name += 3;
        token = next;
        if token.is_empty() {
            break;
        }
    }
    let distinct: BTreeSet<_> = found.iter().cloned().collect();
    assert_eq!(distinct.len(), found.len(), "a volume is listed twice");
    assert!(stay.is_subset(&distinct), "missing: {:?}", stay.difference(&distinct));
    assert!(!stay.is_empty());
}

#[tokio::test]
async fn a_token_holds_across_a_restart() {
    let fixture = Fixture::new().await;
    let ids: Vec<_> = fill(&fixture, 0..6).await.into_iter().collect();
    let (first, token) = page(&fixture, 4, "").await.unwrap();
    let fixture = fixture.restart_with_mib(100).await;
    let (second, end) = page(&fixture, 4, &token).await.unwrap();
    assert_eq!([first, second].concat(), ids);
    assert_eq!(end, "");
}

#[tokio::test]
async fn deleted_volumes_are_not_listed_though_the_trash_keeps_them() {
    let fixture = Fixture::new().await;
    let kept = create_with("a", 1, &[("berth.dev/trash-retention", "1h")]);
    let deleted = fixture.create_id(kept).await;
    let other = fixture.create_id(create("b", 1)).await;
    fixture.delete(&deleted).await.unwrap();
    assert_eq!(
        page(&fixture, 0, "").await.unwrap(),
        (vec![other.clone()], String::new())
    );
    assert_eq!(page(&fixture, 1, "").await.unwrap(), (vec![other], String::new()));
}

#[tokio::test]
async fn tokens_that_berth_did_not_give_out_are_aborted_and_negative_sizes_invalid() {
    let fixture = Fixture::new().await;
    fill(&fixture, 0..3).await;
    let long = "x".repeat(4096);
    for token in [
        "0",
        "1",
        "after",
        "after:",
        "after:../x",
        "after:UPPER",
        "after:a/b",
        "after:\0",
        " ",
        "\n",
        &long,
    ] {
        let words = "begin again with an empty one";
        refused(page(&fixture, 0, token).await, Code::Aborted, words);
        let request = csi::ControllerListVolumeHealthRequest {
            max_entries: 0,
            starting_token: token.to_owned(),
            ..csi::ControllerListVolumeHealthRequest::default()
        };
        let answer = fixture
            .clients
            .controller
            .clone()
            .controller_list_volume_health(request)
            .await;
        refused(answer, Code::Aborted, words);
    }
    for negative in [-1, i32::MIN] {
        refused(
            page(&fixture, negative, "").await,
            Code::InvalidArgument,
            "max_entries must not be negative",
        );
    }
}

#[tokio::test]
async fn only_volumes_with_trouble_are_on_the_pages_of_health() {
    let fixture = Fixture::new().await;
    let ids: Vec<_> = fill(&fixture, 0..9).await.into_iter().collect();
    let health = async |max_entries, token: &str| {
        let request = csi::ControllerListVolumeHealthRequest {
            max_entries,
            starting_token: token.to_owned(),
            ..csi::ControllerListVolumeHealthRequest::default()
        };
        let answer = fixture
            .clients
            .controller
            .clone()
            .controller_list_volume_health(request)
            .await;
        let answer = answer.unwrap().into_inner();
        let reasons = |volume: csi::VolumeHealth| {
            let reasons: Vec<_> = volume.health_statuses.into_iter().map(|status| status.reason).collect();
            (volume.volume_id, reasons.join(" "))
        };
        let entries: Vec<_> = answer.entries.into_iter().map(reasons).collect();
        (entries, answer.next_token)
    };
    // Whoever fills this machine's disk makes every volume degraded; that is another test's matter.
    let own = |entries: Vec<(String, String)>| -> Vec<_> {
        let missing = |(_, reasons): &(String, String)| reasons.contains("DirectoryMissing");
        entries.into_iter().filter(missing).map(|(id, _)| id).collect()
    };
    assert_eq!(own(health(0, "").await.0), [""; 0]);
    let lost = [&ids[1], &ids[4], &ids[8]];
    for id in lost {
        std::fs::remove_dir(fixture.pool().join("volumes").join(id)).unwrap();
    }
    let (mut found, mut token) = (vec![], String::new());
    loop {
        let (entries, next) = health(2, &token).await;
        assert!(entries.len() <= 2);
        found.extend(own(entries));
        token = next;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found.iter().collect::<Vec<_>>(), lost);
}
