//! Volumes: where a claim's data is, and what is in it.

use std::fmt;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};

use super::{SOON, Scene, given, until};
use crate::cluster::{self, POOL};

/// The label of a node that tells which pool it has, and what a volume is tied to.
pub const POOL_LABEL: &str = "topology.berth.dev/pool";

/// Where the data of a claim is.
#[derive(Clone, PartialEq, Eq)]
pub struct Home {
    pub node: String,
    pub path: String,
    /// The name of the PV.
    pub volume: String,
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.path)
    }
}

impl Home {
    /// The checksum of a file of the volume, read on the node, past all mounts of pods.
    pub async fn sum(&self, file: &str) -> Result<String> {
        let sum = cluster::on_node(&self.node, &format!("sha256sum <{}/{file}", self.path)).await?;
        Ok(sum.chars().take(16).collect())
    }
}

impl Scene {
    pub async fn home(&self, claim: &str) -> Result<Home> {
        let bound = self.objects::<PersistentVolumeClaim>().get(claim).await?;
        let volume = given(bound.spec.and_then(|spec| spec.volume_name), "volume")?;
        self.home_of(&self.all::<PersistentVolume>().get(&volume).await?).await
    }

    pub async fn home_of(&self, volume: &PersistentVolume) -> Result<Home> {
        let spec = given(volume.spec.as_ref(), "spec")?;
        let csi = given(spec.csi.as_ref(), "CSI source")?;
        ensure!(
            csi.driver == "csi.berth.dev",
            "{} is of {}",
            volume.name_any(),
            csi.driver
        );
        let affinity = serde_json::to_value(&spec.node_affinity)?;
        let wanted = affinity
            .pointer("/required/nodeSelectorTerms/0/matchExpressions")
            .and_then(|all| all.as_array());
        let pool = wanted.into_iter().flatten().find(|one| one["key"] == POOL_LABEL);
        let pool = given(pool.and_then(|one| one["values"][0].as_str()), "pool")?;
        let here = ListParams::default().labels(&format!("{POOL_LABEL}={pool}"));
        let nodes = self.all::<Node>().list(&here).await?;
        Ok(Home {
            node: given(nodes.items.first(), "node with its pool")?.name_any(),
            path: format!("{POOL}/volumes/{}", csi.volume_handle),
            volume: volume.name_any(),
        })
    }

    /// The phase of a claim.
    pub async fn claim_phase(&self, claim: &str) -> Result<String> {
        let claim = self.objects::<PersistentVolumeClaim>().get(claim).await?;
        given(claim.status.and_then(|status| status.phase), "phase")
    }

    pub async fn delete_claim(&self, claim: &str) -> Result<()> {
        let claims = self.objects::<PersistentVolumeClaim>();
        claims.delete(claim, &DeleteParams::default()).await?;
        until(format!("the end of the claim {claim}"), SOON, async || {
            ensure!(claims.get_opt(claim).await?.is_none(), "it is still there");
            Ok(())
        })
        .await
    }

    /// Waits until a PV is in a phase; `None` is when it is gone.
    pub async fn volume_phase(&self, volume: &str, expected: Option<&str>) -> Result<()> {
        until(
            format!("{volume} is {}", expected.unwrap_or("gone")),
            SOON,
            async || {
                let volume = self.all::<PersistentVolume>().get_opt(volume).await?;
                let phase = volume.map(|volume| volume.status.and_then(|status| status.phase).unwrap_or_default());
                ensure!(phase.as_deref() == expected, "it is {}", phase.unwrap_or_default());
                Ok(())
            },
        )
        .await
        .with_context(|| format!("PV {volume}"))
    }
}

/// A claim, in the words of people.
pub struct Claim {
    pub name: String,
    pub class: String,
    pub phase: String,
}

impl Scene {
    /// The claims of this scene, by name.
    pub async fn claims(&self) -> Result<Vec<Claim>> {
        let claims = self
            .objects::<PersistentVolumeClaim>()
            .list(&ListParams::default())
            .await?;
        let mut claims: Vec<_> = claims
            .into_iter()
            .map(|claim| Claim {
                name: claim.name_any(),
                class: claim.spec.and_then(|spec| spec.storage_class_name).unwrap_or_default(),
                phase: claim.status.and_then(|status| status.phase).unwrap_or_default(),
            })
            .collect();
        claims.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(claims)
    }

    /// As docs/deploying.md says: `kubectl apply -k deploy/overlays/default-class`.
    pub async fn make_manual_the_default_class(&self) -> Result<()> {
        let overlay = cluster::repository().join("deploy/overlays/default-class");
        cluster::command(&["kubectl", "apply", "-k", &overlay.to_string_lossy()]).await?;
        self.saw("manual is the default class");
        Ok(())
    }
}
