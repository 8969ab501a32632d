//! What has to be true when the last agent runs in peace.

use std::collections::BTreeSet;
use std::path::Path;

use berth::proto::csi;

use super::{Life, Volume};
use crate::common::disk::{mounts_beneath, names};
use crate::common::http::get;
use crate::common::{Agent, Clients, Node, eventually};

/// Checks what the clients were told, once more after a last restart, then deletes all volumes and
/// looks for what is left. `before` is what GetCapacity told before the first volume.
pub async fn check(node: &Node, agent: Agent, flags: &[&str], life: &Life, before: i64) {
    same_volumes(node, &agent, life).await;
    agent.kill();
    clear(node, &node.agent_with(flags).await, life, before).await;
}

/// Checks what the clients were told, then deletes all volumes and looks for what is left.
pub async fn clear(node: &Node, agent: &Agent, life: &Life, before: i64) {
    let (deleted, kept) = parts(life);
    assert!(
        deleted.len() > 10 && kept.len() > 3,
        "{} deleted, {} kept",
        deleted.len(),
        kept.len()
    );
    let listed = same_volumes(node, agent, life).await;
    let clients = agent.clients().await;
    let promised: i64 = listed.iter().map(|volume| volume.capacity_bytes).sum();
    assert_eq!(clients.available().await.unwrap(), before - promised);

    for volume in kept {
        end(&clients, volume).await;
    }
    for id in &life.given_up {
        clients.delete(id).await.unwrap();
    }
    nothing_is_left(node).await;
    assert_eq!(clients.available().await.unwrap(), before);
    let metrics = get(&agent.http_address(), "/metrics").body;
    for figure in [
        "volumes",
        "trash_volumes",
        "quarantined_records",
        "orphans",
        "pool_committed_bytes",
    ] {
        assert!(
            metrics.contains(&format!("\nberth_{figure} 0\n")),
            "{figure} in\n{metrics}"
        );
    }
    let log = agent.log();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

/// The volumes that were deleted, and those that were not.
fn parts(life: &Life) -> (Vec<&Volume>, Vec<&Volume>) {
    life.volumes.iter().partition(|volume| volume.deleted)
}

/// Exactly the volumes that were not deleted are there, and maybe some whose creation was given up;
/// each has its data and its claim's link. Returns what ListVolumes tells.
async fn same_volumes(node: &Node, agent: &Agent, life: &Life) -> Vec<csi::Volume> {
    let (_, kept) = parts(life);
    let request = csi::ListVolumesRequest::default();
    let answer = agent.clients().await.controller.list_volumes(request).await;
    let entries = answer.unwrap().into_inner().entries;
    let listed: Vec<_> = entries.into_iter().map(|entry| entry.volume.unwrap()).collect();
    let ids: BTreeSet<_> = listed.iter().map(|volume| volume.volume_id.clone()).collect();
    assert_eq!(names(&node.pool().join("volumes")), ids);
    let told: BTreeSet<_> = ids.into_iter().filter(|id| !life.given_up.contains(id)).collect();
    assert_eq!(told, kept.iter().map(|volume| volume.id.clone()).collect());
    for volume in kept {
        let data = node.volume(&volume.id).join("data");
        assert_eq!(std::fs::read_to_string(data).unwrap(), volume.content, "{}", volume.id);
        let [namespace, name] =
            ["namespace", "name"].map(|key| &volume.request.parameters[&format!("csi.storage.k8s.io/pvc/{key}")]);
        let link = std::fs::read_link(node.pool().join("by-claim").join(namespace).join(name)).unwrap();
        assert_eq!(link, Path::new("../../volumes").join(&volume.id));
    }
    listed
}

/// Reads a volume's data through a last mount, and deletes it.
async fn end(clients: &Clients, volume: &Volume) {
    let Volume {
        id, staging, target, ..
    } = volume;
    clients.stage(id, staging).await.unwrap();
    clients.publish(id, staging, target).await.unwrap();
    assert_eq!(std::fs::read_to_string(target.join("data")).unwrap(), volume.content);
    clients.unpublish(id, target).await.unwrap();
    clients.unstage(id, staging).await.unwrap();
    clients.delete(id).await.unwrap();
}

/// Waits for the reaper, and finds nothing in the pool and in the kubelet's directory.
async fn nothing_is_left(node: &Node) {
    for area in [
        "volumes",
        ".berth/records",
        ".berth/staging",
        ".berth/trash",
        "by-claim",
    ] {
        let directory = node.pool().join(area);
        let what = format!("{area} is empty");
        eventually(&what, async || names(&directory).is_empty()).await;
    }
    let kubelet = node.home().join("kubelet");
    assert_eq!(mounts_beneath(&kubelet), [""; 0].map(Path::new));
    for pod in std::fs::read_dir(kubelet.join("pods")).unwrap() {
        for volume in std::fs::read_dir(pod.unwrap().path().join("volumes/kubernetes.io~csi")).unwrap() {
            let volume = volume.unwrap().path();
            assert_eq!(names(&volume), BTreeSet::new(), "left in {}", volume.display());
        }
    }
}
