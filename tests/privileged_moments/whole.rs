//! A whole pool while nothing is going on: exactly what its volumes should be, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::common::Clients;
use super::common::disk::{mounts_beneath, names};
use super::common::requests::MIB;
use super::ground::soon;
use super::model::{Record, Target};
use super::volume::{Place, Volume};

/// Checks the disk, the mounts and the agent's answers. `capacity` is what an empty pool can promise.
pub async fn check(place: &Place, clients: &Clients, capacity: i64, all: &[&Volume]) {
    for volume in all {
        if volume.state.record == Record::None {
            // The agent tells of it until a moment after the record went.
            soon("the trash gives it up", async || {
                let told = clients.summaries().await.unwrap();
                volume.records().is_empty() && told.iter().all(|told| told.volume_id != volume.id)
            })
            .await;
        }
        assert_eq!(volume.look(), volume.state, "{} on the disk", volume.id);
    }
    check_disk(place, all);
    check_answers(clients, capacity, all).await;
}

fn check_disk(place: &Place, all: &[&Volume]) {
    let in_pool = |area: &str| names(&place.pool.join(area));
    let (live, kept) = (ids(all, Record::Live), ids(all, Record::Kept));
    assert_eq!(in_pool("volumes"), live, "in volumes/");
    assert_eq!(in_pool(".berth/trash"), kept, "in the trash");
    assert_eq!(in_pool("by-claim"), live.iter().map(|id| format!("of-{id}")).collect());
    assert_eq!(in_pool(".berth/staging"), set([]), "in staging/");
    assert_eq!(in_pool(".berth/records").len(), live.len() + kept.len(), "in records/");
    let mut top = in_pool("");
    top.remove("lost+found");
    assert_eq!(
        top,
        set([".berth", "berth.json", "by-claim", "volumes"].map(str::to_owned))
    );
    let mounted: BTreeSet<_> = all.iter().flat_map(|volume| mounted(volume)).collect();
    assert_eq!(
        mounts_beneath(&place.kubelet).into_iter().collect::<BTreeSet<_>>(),
        mounted
    );
}

async fn check_answers(clients: &Clients, capacity: i64, all: &[&Volume]) {
    let live = ids(all, Record::Live);
    assert_eq!(set(clients.list().await.unwrap()), live, "ListVolumes");
    let promised = MIB * live.len() as i64;
    assert_eq!(clients.available().await.unwrap(), capacity - promised, "GetCapacity");
    let mut expected = BTreeMap::new();
    for volume in all {
        let state = match volume.state.record {
            Record::None | Record::Purging => continue,
            Record::Live => "Ready",
            Record::Kept => "Deleted",
        };
        expected.insert(volume.id.clone(), (state.to_owned(), mounted(volume).collect()));
    }
    let mut told = BTreeMap::new();
    for volume in clients.summaries().await.unwrap() {
        let mounted: BTreeSet<_> = volume.published_at.into_iter().map(PathBuf::from).collect();
        told.insert(volume.volume_id, (volume.state, mounted));
    }
    assert_eq!(told, expected, "what `berth volumes` shows");
    let findings = clients.diagnose().await;
    assert!(findings.is_empty(), "{findings:?}");
}

fn ids(all: &[&Volume], record: Record) -> BTreeSet<String> {
    let with = all.iter().filter(|volume| volume.state.record == record);
    with.map(|volume| volume.id.clone()).collect()
}

/// Where the volume is to be mounted.
fn mounted(volume: &Volume) -> impl Iterator<Item = PathBuf> {
    let staging = volume.state.staged.then(|| volume.staging.clone());
    let target = (volume.state.target == Target::Mounted).then(|| volume.target.clone());
    staging.into_iter().chain(target)
}

fn set(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    names.into_iter().collect()
}
