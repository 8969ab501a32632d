//! Sectors that cannot be read: in a record, in the pool file, in a volume's data.

use std::path::Path;
use std::process::Command;

use super::common::disk::unmount;
use super::common::health::{all_is_well, pool_is_lost};
use super::common::requests::{staging_path, target_path};
use super::common::{Filesystem, eventually, refused};
use super::patient::{Patient, at_once};
use tonic::Code;

/// btrfs keeps small files among its metadata, and that twice: it would mend them by itself.
const WITH_DATA_OF_THEIR_OWN: [Filesystem; 2] = [Filesystem::Xfs, Filesystem::Ext4];

/// The first sector of a file's data on its disk.
fn sector_of(file: &Path) -> String {
    let output = Command::new("filefrag")
        .args(["-s", "-b512", "-e"])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let extent = text
        .lines()
        .find(|line| line.trim_start().starts_with("0:"))
        .expect("an extent");
    let physical = extent.split(':').nth(2).expect("where it is on the disk");
    physical.split("..").next().unwrap().trim().to_owned()
}

impl Patient {
    /// Mounts the disk with a bad sector.
    fn mount_with_bad(&self, sector: &str) {
        unmount(&self.pool());
        self.fall_ill("dust {} 0 512");
        self.message(&["addbadblock", sector]);
        self.message(&["enable"]);
        self.mount();
    }
}

#[test]
fn privileged_a_record_on_a_bad_sector_is_set_aside_and_the_rest_served() {
    let name = "bad_sectors::privileged_a_record_on_a_bad_sector_is_set_aside_and_the_rest_served";
    at_once(name, &WITH_DATA_OF_THEIR_OWN, async |patient| {
        let agent = patient.agent().await;
        let clients = agent.clients().await;
        let bad = clients.create("bad").await.unwrap();
        let good = clients.create("good").await.unwrap();
        agent.kill();
        let record = patient.pool().join(format!(".berth/records/{bad}.json"));
        patient.mount_with_bad(&sector_of(&record));
        let agent = patient.agent().await;
        let clients = agent.clients().await;
        assert!(clients.ready().await);
        assert_eq!(clients.node_reasons(&bad).await.unwrap(), ["RecordQuarantined"]);
        assert!(clients.node_reasons(&good).await.unwrap().is_empty());
        refused(clients.delete(&bad).await, Code::FailedPrecondition, "cannot be read");
        refused(clients.create("bad").await, Code::FailedPrecondition, "cannot be read");
        let new = clients.create("new").await.unwrap();
        clients.delete(&new).await.unwrap();
        patient.get_well();
        drop(agent);
        let agent = patient.agent().await;
        let clients = agent.clients().await;
        all_is_well(&clients, &bad).await;
        assert_eq!(clients.create("bad").await.unwrap(), bad);
        clients.delete(&bad).await.unwrap();
    });
}

#[test]
fn privileged_a_pool_file_on_a_bad_sector_is_waited_for() {
    let name = "bad_sectors::privileged_a_pool_file_on_a_bad_sector_is_waited_for";
    at_once(name, &WITH_DATA_OF_THEIR_OWN, async |patient| {
        let agent = patient.agent().await;
        let id = agent.clients().await.create("volume").await.unwrap();
        agent.kill();
        patient.mount_with_bad(&sector_of(&patient.pool().join("berth.json")));
        let agent = patient.agent().await;
        let clients = agent.clients().await;
        pool_is_lost(&clients, &id, "PoolUnreadable").await;
        patient.get_well();
        eventually("the agent takes up the pool", async || clients.ready().await).await;
        all_is_well(&clients, &id).await;
    });
}

#[test]
fn privileged_a_bad_sector_in_a_volume_is_the_pods_alone() {
    let name = "bad_sectors::privileged_a_bad_sector_in_a_volume_is_the_pods_alone";
    at_once(name, &WITH_DATA_OF_THEIR_OWN, async |patient| {
        let agent = patient.agent().await;
        let clients = agent.clients().await;
        let id = clients.create("volume").await.unwrap();
        let data = patient.pool().join("volumes").join(&id).join("data");
        std::fs::write(&data, [7; 1 << 16]).unwrap();
        std::fs::File::open(&data).unwrap().sync_all().unwrap();
        agent.kill();
        patient.mount_with_bad(&sector_of(&data));
        let agent = patient.agent().await;
        let clients = agent.clients().await;
        let (staging, target) = (staging_path(&agent, &id), target_path(&agent, "pod", &id));
        clients.stage(&id, &staging).await.unwrap();
        clients.publish(&id, &staging, &target).await.unwrap();
        std::fs::read(target.join("data")).unwrap_err();
        all_is_well(&clients, &id).await;
        clients.stats(&id, &target).await.unwrap();
        clients.unpublish(&id, &target).await.unwrap();
        clients.unstage(&id, &staging).await.unwrap();
        clients.delete(&id).await.unwrap();
        eventually("the trash is empty", async || {
            std::fs::read_dir(patient.pool().join(".berth/trash"))
                .unwrap()
                .next()
                .is_none()
        })
        .await;
        patient.get_well();
        all_is_well(&clients, &clients.create("new").await.unwrap()).await;
    });
}
