//! After everything else: what was made is gone.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume};
use kube::ResourceExt;
use kube::api::ListParams;

use crate::cluster::{self, NODES};
use crate::scenario::{Scenario, scenario};
use crate::scene::{SOON, Scene, until};

pub const ALL: &[Scenario] = &[scenario!(
    nothing_is_left,
    Whole,
    "with all claims gone the pools are empty, nothing is mounted, and the agents find nothing wrong"
)];

async fn nothing_is_left(s: &Scene) -> Result<()> {
    let system = [
        "default",
        "kube-system",
        "kube-public",
        "kube-node-lease",
        "berth-system",
        s.namespace.as_str(),
    ];
    until("the end of all other namespaces", SOON, async || {
        let namespaces = s.all::<Namespace>().list(&ListParams::default()).await?;
        let left: Vec<_> = namespaces
            .iter()
            .map(ResourceExt::name_any)
            .filter(|name| !system.contains(&name.as_str()))
            .collect();
        ensure!(left.is_empty(), "there are {}", left.join(", "));
        Ok(())
    })
    .await?;
    s.same(
        "PVs",
        s.all::<PersistentVolume>()
            .list(&ListParams::default())
            .await?
            .items
            .len(),
        0,
    )?;
    for node in NODES {
        until(format!("the end of the data on {node}"), SOON, async || {
            let volumes = s.berth_volumes(node).await?;
            ensure!(volumes.is_empty(), "there are {volumes:?}");
            Ok(())
        })
        .await?;
        s.same(
            format!("berth doctor on {node}"),
            s.berth(node, &["doctor"]).await?.unless_failed()?.as_str(),
            "Nothing is wrong.",
        )?;
        let files = "cd /mnt/data && find . -mindepth 1 ! -name berth.json ! -name lock | sort | xargs";
        let expected =
            "./.berth ./.berth/ballast ./.berth/records ./.berth/staging ./.berth/trash ./by-claim ./volumes";
        s.same(
            format!("what is in the pool of {node}"),
            cluster::on_node(node, files).await?.as_str(),
            expected,
        )?;
        let mounts = cluster::on_node(node, "grep -c 'kubernetes.io~csi' /proc/mounts || true").await?;
        s.same(format!("volumes mounted on {node}"), mounts.as_str(), "0")?;
    }
    Ok(())
}
