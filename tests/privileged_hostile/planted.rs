//! Symbolic links in the place of every component of every path: each leads to a copy of what it hides,
//! outside, so that whoever follows one finds all that they look for.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tonic::Code;

use super::canary::Canary;
use super::common::disk::{mount_depth, mounts_beneath, run, unmount};
use super::common::requests::create_with;
use super::common::{Agent, Clients, Node, Published, on_every_filesystem, refused};
use super::soon;

/// Everything in a pool that has a name, `ID` and `KEPT` being those of volumes.
const POOL: [&str; 14] = [
    "berth.json",
    ".berth",
    ".berth/lock",
    ".berth/ballast",
    ".berth/records",
    ".berth/records/ID.json",
    ".berth/staging",
    ".berth/trash",
    ".berth/trash/KEPT",
    "volumes",
    "volumes/ID",
    "by-claim",
    "by-claim/shop",
    "by-claim/shop/data",
];

#[test]
fn privileged_a_link_in_the_place_of_any_component_of_a_target_is_refused() {
    let name = "planted::privileged_a_link_in_the_place_of_any_component_of_a_target_is_refused";
    on_every_filesystem(name, async |node| {
        let mut canary = Canary::new(node.home().join("canary"));
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let mut planted = 0;
        let id = clients.create("pod").await.unwrap();
        let target = agent.kubelet(&format!("pods/pod/volumes/kubernetes.io~csi/{id}/mount"));
        let staging = agent.kubelet(&format!("stage/kubernetes.io/csi/{id}/globalmount"));
        for path in [&target, &staging] {
            std::fs::create_dir_all(path).unwrap();
            std::fs::create_dir_all(elsewhere(&canary, &agent, path)).unwrap();
        }
        canary.sings();
        let volume = Published { id, staging, target };
        for (attacked, other) in [(&volume.target, &volume.staging), (&volume.staging, &volume.target)] {
            for component in components(&agent, attacked) {
                let link = Planted::new(&component, &elsewhere(&canary, &agent, &component));
                refused_at(&clients, &volume, attacked, other).await;
                canary.check(&component);
                assert!(component.is_symlink(), "{} is gone", component.display());
                drop(link);
                planted += 1;
            }
        }
        clients
            .stage(&volume.id, &volume.staging)
            .await
            .expect("without links it is served");
        clients
            .publish(&volume.id, &volume.staging, &volume.target)
            .await
            .unwrap();
        clients.take_down(&volume).await.unwrap();
        super::common::isolated::figure(&format!("{planted} links planted"));
    });
}

async fn refused_at(clients: &Clients, volume: &Published, attacked: &Path, other: &Path) {
    let code = Code::FailedPrecondition;
    let id = &volume.id;
    refused(soon("stage", clients.stage(id, attacked)).await, code, "");
    // Nothing of the volume is mounted there, which is what it asks for.
    soon("unstage", clients.unstage(id, attacked)).await.unwrap();
    refused(soon("publish", clients.publish(id, attacked, other)).await, code, "");
    refused(soon("unpublish", clients.unpublish(id, attacked)).await, code, "");
    refused(soon("stats", clients.stats(id, attacked)).await, Code::NotFound, id);
}

/// The path and what it lies in, beneath the kubelet's directory.
fn components(agent: &Agent, path: &Path) -> Vec<PathBuf> {
    let kubelet = agent.kubelet("");
    let within = |path: &&Path| path.starts_with(&kubelet) && path.components().count() > kubelet.components().count();
    path.ancestors().take_while(within).map(Path::to_owned).collect()
}

/// Where the copy of a path is.
fn elsewhere(canary: &Canary, agent: &Agent, path: &Path) -> PathBuf {
    canary.path().join(path.strip_prefix(agent.kubelet("")).unwrap())
}

#[test]
fn privileged_a_link_in_the_place_of_anything_in_the_pool_leads_nowhere() {
    let name = "planted::privileged_a_link_in_the_place_of_anything_in_the_pool_leads_nowhere";
    on_every_filesystem(name, async |node| {
        for planted in POOL {
            let agent = node.agent_with(&["--init-pool"]).await;
            let clients = agent.clients().await;
            let kept = kept(&clients, "kept").await;
            let claim = [
                ("csi.storage.k8s.io/pvc/namespace", "shop"),
                ("csi.storage.k8s.io/pvc/name", "data"),
            ];
            let volume = clients
                .publish_new_from(&agent, create_with("pod", 1 << 20, &claim))
                .await;
            let mut canary = Canary::new(node.home().join("canary"));
            run(Command::new("cp").arg("--archive").arg(node.pool()).arg(canary.path()));
            let path = planted.replace("ID", &volume.id).replace("KEPT", &kept);
            // Copied are also the places to write to.
            let copy = canary.path().join("pool").join(&path);
            canary.sings();
            let link = Planted::new(&node.pool().join(&path), &copy);
            every_call(&agent, &clients, &volume, &kept).await;
            canary.check((planted, "while the agent ran"));
            agent.kill();
            // Again with an agent that finds the link when it starts, and may well refuse to serve.
            let agent = node.agent_with(&["--init-pool"]).await;
            every_call(&agent, &agent.clients().await, &volume, &kept).await;
            canary.check((planted, "at the agent's start"));
            agent.kill();
            drop(link);
            empty(&node, canary.path());
        }
        super::common::isolated::figure(&format!("{} links planted", POOL.len()));
    });
}

async fn kept(clients: &Clients, name: &str) -> String {
    let parameters = [("berth.dev/trash-retention", "1h")];
    let id = clients.create_with(name, &parameters).await.unwrap();
    clients.delete(&id).await.unwrap();
    id
}

/// Each answers, whatever it answers.
async fn every_call(agent: &Agent, clients: &Clients, volume: &Published, kept: &str) {
    let claim = [
        ("csi.storage.k8s.io/pvc/namespace", "shop"),
        ("csi.storage.k8s.io/pvc/name", "other"),
    ];
    let other = soon("create", clients.create_with("other", &claim)).await;
    let _ = soon(
        "publish again",
        clients.publish(&volume.id, &volume.staging, &volume.target),
    )
    .await;
    let _ = soon("stats", clients.stats(&volume.id, &volume.target)).await;
    let _ = soon("take down", clients.take_down(volume)).await;
    let _ = soon("stage", clients.stage(&volume.id, &volume.staging)).await;
    let _ = soon("unstage", clients.unstage(&volume.id, &volume.staging)).await;
    let _ = soon("undelete", clients.undelete(kept)).await;
    let _ = soon("delete", clients.delete(kept)).await;
    let _ = soon("delete", clients.delete(&volume.id)).await;
    if let Ok(id) = other {
        let _ = soon("delete", clients.delete(&id)).await;
    }
    let _ = soon("list", clients.list()).await;
    let _ = soon("summaries", clients.summaries()).await;
    let _ = soon("diagnose", clients.diagnose()).await;
    let _ = soon("capacity", clients.available()).await;
    let _ = soon("health", clients.ailing(0)).await;
    let _ = soon("health", clients.storage_reasons()).await;
    let _ = soon("ready", clients.ready()).await;
    assert!(!agent.log().contains("panicked"), "{}", agent.log());
}

/// A link in the place of something that comes back when this is dropped.
struct Planted {
    path: PathBuf,
    hidden: PathBuf,
}

impl Planted {
    fn new(path: &Path, target: &Path) -> Self {
        let hidden = path.with_file_name("hidden-from-view");
        std::fs::rename(path, &hidden).unwrap();
        symlink(target, path).unwrap();
        Self {
            path: path.to_owned(),
            hidden,
        }
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        if self.path.is_symlink() {
            let _ = std::fs::remove_file(&self.path);
            let _ = std::fs::rename(&self.hidden, &self.path);
        }
    }
}

/// Makes way for a new pool and a new canary.
fn empty(node: &Node, canary: &Path) {
    for point in mounts_beneath(&node.home().join("kubelet")) {
        unmount(&point);
    }
    assert_eq!(mount_depth(&node.pool()), 1);
    std::fs::remove_dir_all(canary).unwrap();
    for entry in std::fs::read_dir(node.pool()).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() && !path.is_symlink() {
            true => std::fs::remove_dir_all(path).unwrap(),
            false => std::fs::remove_file(path).unwrap(),
        }
    }
    std::fs::remove_file(node.home().join("agent.log")).unwrap();
}
