//! Whether a pool holds what its clients were told.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::client::{Client, Journal};
use super::common::{Agent, Clients, Node, eventually};
use super::ledger::{Ledger, State, Volume};
use super::plan;

/// Checks the pool after a power cut, sends again what was not answered, and checks once more.
pub async fn check(node: &Node, agent: &Agent, journal: &Journal) {
    let client = Client::new(agent, &node.pool(), journal).await;
    holds(node, &client.clients, &journal.ledger()).await;
    client.converge().await;
    sent_again(&client).await;
    holds(node, &client.clients, &journal.ledger()).await;
}

/// What is there already is made again, and what is deleted is deleted again: nothing changes.
async fn sent_again(client: &Client) {
    for (number, volume) in client.journal.ledger().volumes {
        let id = plan::id(number);
        match volume.state {
            State::Live { .. } => {
                let made = client.clients.create_from(plan::request(number)).await;
                assert_eq!(made.expect("the same volume"), id);
            }
            State::Deleted { .. } => {
                let again = async || client.clients.delete(&id).await.is_ok();
                eventually("a deleted volume is deleted again", again).await;
            }
            State::Absent => {}
        }
    }
}

async fn holds(node: &Node, clients: &Clients, ledger: &Ledger) {
    let listed = clients.list().await.unwrap();
    for id in &listed {
        let known = ledger.volumes.keys().any(|number| plan::id(*number) == *id);
        assert!(known, "{id} was never asked for");
    }
    for (number, volume) in &ledger.volumes {
        match listed.contains(&plan::id(*number)) {
            true => is_live(node, *number, volume),
            false => is_not_live(node, *number, volume),
        }
    }
    let findings = clients.diagnose().await;
    assert!(findings.is_empty(), "{findings:?}");
    check_links(node, clients).await;
    let gone = |number: &u32, volume: &Volume| {
        let may_stay = plan::is_kept(*number) || volume.running.is_some();
        let deleted = matches!(volume.state, State::Deleted { .. });
        may_stay || !deleted || !node.trash(&plan::id(*number)).exists()
    };
    eventually("the trash gives up what it is not to keep", async || {
        ledger.volumes.iter().all(|(number, volume)| gone(number, volume))
    })
    .await;
}

fn is_live(node: &Node, number: u32, volume: &Volume) {
    let id = plan::id(number);
    let possible = volume.possible();
    let live: Vec<_> = possible
        .iter()
        .filter(|state| matches!(state, State::Live { .. }))
        .collect();
    assert!(!live.is_empty(), "{id} is back: {volume:?}");
    let directory = node.volume(&id);
    let found = std::fs::metadata(&directory).unwrap_or_else(|error| panic!("the directory of {id}: {error}"));
    assert_eq!(
        (found.mode() & 0o7777, found.uid(), found.gid()),
        plan::attributes(number),
        "mode and owner of {id}"
    );
    if live.iter().all(|state| matches!(state, State::Live { written: true })) {
        has_data(&directory, number);
    }
}

fn is_not_live(node: &Node, number: u32, volume: &Volume) {
    let id = plan::id(number);
    let possible = volume.possible();
    let other: Vec<_> = possible
        .iter()
        .filter(|state| !matches!(state, State::Live { .. }))
        .collect();
    assert!(!other.is_empty(), "{id} is gone: {volume:?}");
    assert!(
        !node.volume(&id).exists(),
        "{id} is not there and its directory is: {volume:?}"
    );
    let written = |state: &&State| matches!(state, State::Deleted { written: true });
    if plan::is_kept(number) && other.iter().all(written) {
        has_data(&node.trash(&id), number);
    }
}

fn has_data(directory: &Path, number: u32) {
    let data = std::fs::read_to_string(directory.join("data"));
    let data = data.unwrap_or_else(|error| panic!("data was synced in {}: {error}", directory.display()));
    assert!(
        data == plan::content(number),
        "the data in {}: {data:?}",
        directory.display()
    );
}

/// Every claim's link leads to its volume, and there is none of a claim without one.
async fn check_links(node: &Node, clients: &Clients) {
    let summaries = clients.summaries().await.unwrap();
    let active = summaries.iter().filter(|summary| summary.state != "Deleted");
    let expected: BTreeMap<_, _> = active
        .map(|summary| (summary.claim.clone(), summary.volume_id.clone()))
        .collect();
    let links = std::fs::read_dir(node.pool().join("by-claim/power"));
    let found: BTreeMap<_, _> = links
        .into_iter()
        .flatten()
        .map(|link| {
            let path = link.unwrap().path();
            let target = std::fs::read_link(&path).unwrap();
            let [claim, id] = [&path, &target].map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
            (format!("power/{claim}"), id)
        })
        .collect();
    assert_eq!(found, expected, "links of claims");
}
