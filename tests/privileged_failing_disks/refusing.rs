//! Disks that refuse writes, and disks that say yes and forget them.

use super::common::health::all_is_well;
use super::common::{Clients, Filesystem, Published, http};
use super::patient::{Patient, at_once};

/// Makes volumes until one is refused: what is in the journal's buffers hides the first.
async fn refused(clients: &Clients) -> String {
    for number in 0..50 {
        if let Err(status) = clients.create(&format!("refused {number}")).await {
            return status.message().to_owned();
        }
    }
    panic!("fifty volumes were made on a disk that refuses writes");
}

async fn lives(clients: &Clients, volume: &Published) {
    clients.stage(&volume.id, &volume.staging).await.unwrap();
    clients
        .publish(&volume.id, &volume.staging, &volume.target)
        .await
        .unwrap();
    assert_eq!(std::fs::read(volume.target.join("data")).unwrap(), b"synced");
    clients.take_down(volume).await.unwrap();
}

async fn volume_with_data(patient: &Patient, agent: &super::common::Agent) -> Published {
    let clients = agent.clients().await;
    let volume = clients.publish_new(agent, "pod").await;
    std::fs::write(volume.target.join("data"), "synced").unwrap();
    let pool = std::fs::File::open(patient.pool()).unwrap();
    nix::unistd::syncfs(&pool).unwrap();
    volume
}

#[test]
fn privileged_a_disk_that_refuses_writes_is_told_and_taken_up_again() {
    let name = "refusing::privileged_a_disk_that_refuses_writes_is_told_and_taken_up_again";
    at_once(name, &Filesystem::ALL, async |patient| {
        let agent = patient.agent().await;
        let clients = agent.clients().await;
        let volume = volume_with_data(&patient, &agent).await;
        let deleted = clients.create("deleted").await.unwrap();
        let illness = patient.fall_ill("flakey {} 0 0 3600 1 error_writes");
        let message = refused(&clients).await;
        eprintln!("{:?}: {message}", patient.filesystem);
        let pool = patient.pool().display().to_string();
        assert!(
            message.contains(&pool) || message.contains("volume"),
            "it does not tell where: {message}"
        );
        // Some file systems never show it, XFS only when its log is refused too: the agent tells at once.
        assert!(
            !clients.storage_reasons().await.is_empty(),
            "the health calls do not tell"
        );
        // In between the file system may have found out by itself, and nothing changes from there on.
        let _ = nix::unistd::syncfs(std::fs::File::open(patient.pool()).unwrap());
        clients.create("again").await.unwrap_err();
        let reason = clients.storage_reasons().await.remove(0);
        assert!(
            ["PoolUnreadable", "PoolReadOnly", "PoolRefusesChanges"].contains(&reason.as_str()),
            "{reason}"
        );
        assert_eq!(clients.node_reasons(&volume.id).await.unwrap().last(), Some(&reason));
        assert!(clients.diagnose().await.iter().any(|finding| finding.reason == reason));
        // What can still be read can be used; without a file system the agent is not ready.
        let status = http::get(agent.http_address().trim_start_matches("http://"), "/readyz").status;
        assert_eq!(status == 200, reason != "PoolUnreadable");
        clients.delete(&deleted).await.unwrap_err();
        clients.take_down(&volume).await.unwrap();

        drop(illness);
        patient.mount_again(&clients).await;
        all_is_well(&clients, &volume.id).await;
        lives(&clients, &volume).await;
        clients.delete(&deleted).await.unwrap();
        clients.create("refused 49").await.unwrap();
        all_is_well(&clients, &volume.id).await;
    });
}

/// Nobody can keep what a disk forgets. What it kept is whole, and what it forgot can be made again.
#[test]
fn privileged_a_disk_that_forgets_writes_leaves_a_pool_that_is_whole() {
    let name = "refusing::privileged_a_disk_that_forgets_writes_leaves_a_pool_that_is_whole";
    at_once(name, &Filesystem::ALL, async |patient| {
        let agent = patient.agent().await;
        let clients = agent.clients().await;
        let volume = volume_with_data(&patient, &agent).await;
        clients.take_down(&volume).await.unwrap();
        let illness = patient.fall_ill("flakey {} 0 0 3600 1 drop_writes");
        for number in 0..20 {
            clients.create(&format!("forgotten {number}")).await.unwrap();
        }
        agent.kill();
        super::common::disk::unmount(&patient.pool());
        drop(illness);
        patient.mount();
        let agent = patient.agent().await;
        let clients = agent.clients().await;
        all_is_well(&clients, &volume.id).await;
        assert_eq!(
            clients.list().await.unwrap(),
            std::slice::from_ref(&volume.id),
            "a disk that forgets kept something"
        );
        lives(&clients, &volume).await;
        for number in 0..20 {
            clients.create(&format!("forgotten {number}")).await.unwrap();
        }
        all_is_well(&clients, &volume.id).await;
    });
}
