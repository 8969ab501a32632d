//! What becomes of data when its claim goes.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cluster;
use crate::manifest;
use crate::scenario::{Scenario, scenario};
use crate::scene::{Home, SOON, Scene, until};

pub const ALL: &[Scenario] = &[
    scenario!(
        retained,
        Light,
        "Retain: the PV is Released, data and path are as they were, and a new claim can have them"
    ),
    scenario!(deleted, Light, "Delete: the data goes with the claim"),
    scenario!(
        kept_in_the_trash,
        Whole,
        "Delete with trash-retention: data stays in the trash and counts, until its time has come"
    ),
];

/// A pod wrote to a volume and is gone.
async fn written(s: &Scene, claim: &manifest::Manifest) -> Result<Home> {
    s.apply(claim).await?;
    s.start(&manifest::pod(
        "writer",
        &["data"],
        "head -c 1048576 /dev/urandom >/data/bytes; sync",
    ))
    .await?;
    s.delete_pod("writer").await?;
    s.home("data").await
}

async fn exists(home: &Home) -> Result<bool> {
    Ok(cluster::on_node(&home.node, &format!("[ -e {} ] && echo yes || echo no", home.path)).await? == "yes")
}

/// What `berth volumes` says of a volume.
async fn listed(s: &Scene, home: &Home) -> Result<Option<serde_json::Value>> {
    let volumes = s.berth_volumes(&home.node).await?;
    Ok(volumes
        .into_iter()
        .find(|volume| home.path.ends_with(volume["id"].as_str().unwrap_or("?"))))
}

async fn retained(s: &Scene) -> Result<()> {
    let home = written(s, &manifest::claim("data", "1Gi")).await?;
    let bytes = home.sum("bytes").await?;
    s.saw(format!("{home}/bytes is {bytes}"));
    s.delete_claim("data").await?;
    s.volume_phase(&home.volume, Some("Released")).await?;
    s.saw("the claim was deleted, and the PV is Released");
    s.same("the bytes", home.sum("bytes").await?, bytes.clone())?;
    let state = listed(s, &home)
        .await?
        .map(|volume| volume["state"].as_str().unwrap_or_default().to_owned());
    s.same(
        "berth volumes says that it is",
        state.unwrap_or_default().as_str(),
        "Ready",
    )?;
    // docs/deploying.md: give it to a new claim with the same namespace and name.
    let forget = json!({ "spec": { "claimRef": { "uid": null, "resourceVersion": null } } });
    s.all::<PersistentVolume>()
        .patch(&home.volume, &PatchParams::default(), &Patch::Merge(forget))
        .await?;
    s.apply(&manifest::claim("data", "1Gi")).await?;
    let node = s.start(&manifest::pod("reader", &["data"], "true")).await?;
    s.same(
        "the new claim's volume",
        &s.home("data").await?.to_string(),
        &home.to_string(),
    )?;
    s.same("the pod that reads it is on", &node, &home.node)?;
    let read = s.sh("reader", "sha256sum </data/bytes").await?;
    s.same("it reads", read.chars().take(16).collect(), bytes)
}

async fn deleted(s: &Scene) -> Result<()> {
    let class = format!("{}-class", s.namespace);
    s.apply(&manifest::deleting_class(&class)).await?;
    let home = written(
        s,
        &manifest::claim("data", "1Gi").set("/spec/storageClassName", class.as_str()),
    )
    .await?;
    s.same(format!("{home} exists"), exists(&home).await?, true)?;
    s.delete_claim("data").await?;
    s.volume_phase(&home.volume, None).await?;
    s.same(
        "the claim was deleted, the PV is gone, and the path exists",
        exists(&home).await?,
        false,
    )?;
    until("the end of the data", SOON, async || {
        ensure!(listed(s, &home).await?.is_none(), "berth volumes still lists it");
        Ok(())
    })
    .await?;
    let trash = cluster::on_node(&home.node, &format!("find /mnt/data -name '{}*'", home.volume)).await?;
    s.same("what is left of it in the pool", trash.as_str(), "")
}

async fn kept_in_the_trash(s: &Scene) -> Result<()> {
    const COMMITTED: &str = "berth_pool_committed_bytes";
    let class = format!("{}-class", s.namespace);
    s.apply(&manifest::deleting_class(&class).set("/parameters", json!({ "berth.dev/trash-retention": "20s" })))
        .await?;
    let claim = manifest::claim("data", "3Gi").set("/spec/storageClassName", class.as_str());
    let home = written(s, &claim).await?;
    let bytes = home.sum("bytes").await?;
    let saved = s.all::<PersistentVolume>().get(&home.volume).await?;
    let promised = s.metric(&home.node, COMMITTED).await?;
    s.same(
        "bytes that are promised",
        promised,
        f64::from(3 << 10) * f64::from(1 << 20),
    )?;
    s.delete_claim("data").await?;
    s.volume_phase(&home.volume, None).await?;
    s.same(
        "the claim was deleted, the PV is gone, and the path exists",
        exists(&home).await?,
        false,
    )?;
    let volume = listed(s, &home).await?.unwrap_or_default();
    s.same(
        "berth volumes says that it is",
        volume["state"].as_str().unwrap_or_default(),
        "Deleted",
    )?;
    s.saw(format!("and that it is kept until {}", volume["purge_at"]));
    s.same(
        "bytes that are promised",
        s.metric(&home.node, COMMITTED).await?,
        promised,
    )?;
    let id = volume["id"].as_str().unwrap_or_default();
    s.berth(&home.node, &["undelete", id]).await?.unless_failed()?;
    s.same(
        "berth undelete brought it back; the bytes",
        home.sum("bytes").await?,
        bytes,
    )?;
    // The PV as it was, and a claim of the same name: Kubernetes knows it again.
    s.all::<PersistentVolume>()
        .create(&PostParams::default(), &unborn(saved)?)
        .await?;
    s.apply(&claim).await?;
    until("the claim to be bound", SOON, async || {
        let phase = s.claim_phase("data").await?;
        ensure!(phase == "Bound", "it is {phase}");
        Ok(())
    })
    .await?;
    s.same(
        "with its PV made again, the new claim has",
        &s.home("data").await?.to_string(),
        &home.to_string(),
    )?;
    s.delete_claim("data").await?;
    s.volume_phase(&home.volume, None).await?;
    let purged = until("the end of the data", SOON, async || {
        ensure!(listed(s, &home).await?.is_none(), "berth volumes still lists it");
        s.metric(&home.node, COMMITTED).await
    })
    .await?;
    s.same(
        "deleted again, and its time has come; bytes that are promised",
        purged,
        0.0,
    )?;
    let trash = cluster::on_node(&home.node, "ls -A /mnt/data/.berth/trash").await?;
    s.same("the trash", trash.as_str(), "")
}

/// A PV as its maker wrote it.
fn unborn(volume: PersistentVolume) -> Result<PersistentVolume> {
    let mut object = serde_json::to_value(volume)?;
    let (name, annotations) = (
        object["metadata"]["name"].take(),
        object["metadata"]["annotations"].take(),
    );
    object["metadata"] = json!({ "name": name, "annotations": annotations });
    for server_set in ["uid", "resourceVersion"] {
        object["spec"]["claimRef"][server_set].take();
    }
    object["status"].take();
    Ok(serde_json::from_value(object)?)
}
