//! A claim and the volume bound to it: external-provisioner's part.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use uuid::Uuid;

use crate::proto::csi::{CapacityRange, CreateVolumeRequest, Volume};

use super::capability;
use super::driver::Driver;
use super::manifest::{AccessMode, ClaimTemplate, StatefulSet};
use super::tree::Tree;
use super::verdict::{State, Verdict};

/// A PersistentVolumeClaim that nothing is bound to yet.
#[derive(Debug, Clone)]
pub struct Pending {
    namespace: String,
    name: String,
    modes: Vec<AccessMode>,
    bytes: i64,
    /// The PersistentVolume's name, from the claim's UID: the same for every attempt.
    volume_name: String,
}

impl Pending {
    /// The claim that the StatefulSet controller makes of a template for the pod of this ordinal.
    pub fn new(set: &StatefulSet, template: &ClaimTemplate, ordinal: u64) -> Self {
        Self {
            namespace: set.namespace.clone(),
            name: format!("{}-{}-{ordinal}", template.name, set.name),
            modes: template.access_modes.clone(),
            bytes: template.bytes,
            volume_name: format!("pvc-{}", Uuid::new_v4()),
        }
    }

    /// What external-provisioner sends, with `--extra-create-metadata` and the node chosen.
    pub fn request(&self, driver: &Driver) -> CreateVolumeRequest {
        let parameters = [
            ("csi.storage.k8s.io/pvc/name", &self.name),
            ("csi.storage.k8s.io/pvc/namespace", &self.namespace),
            ("csi.storage.k8s.io/pv/name", &self.volume_name),
        ];
        let modes = self.modes.iter();
        CreateVolumeRequest {
            name: self.volume_name.clone(),
            capacity_range: Some(CapacityRange {
                required_bytes: self.bytes,
                limit_bytes: 0,
            }),
            volume_capabilities: modes
                .map(|mode| capability::of(*mode, driver.controller_single_node_modes))
                .collect(),
            parameters: parameters.map(|(key, value)| (key.to_owned(), value.clone())).into(),
            accessibility_requirements: Some(driver.topology_requirement()),
            ..Default::default()
        }
    }

    /// Binds the claim to the volume that was made for it.
    pub fn bind(self, volume: Volume, pool: &Path) -> Result<Claim> {
        ensure!(
            volume.capacity_bytes >= self.bytes,
            "{} asks for {} bytes and got {}",
            self.name,
            self.bytes,
            volume.capacity_bytes
        );
        let host_path = host_path(pool, &self.namespace, &self.name, &volume.volume_id)?;
        Ok(Claim {
            mode: self.modes.first().copied().context("a claim has an access mode")?,
            namespace: self.namespace,
            name: self.name,
            volume_name: self.volume_name,
            before: State {
                host_path,
                tree: Tree::default(),
            },
            volume,
        })
    }
}

/// A PersistentVolumeClaim and its volume.
#[derive(Debug, Clone)]
pub struct Claim {
    namespace: String,
    name: String,
    mode: AccessMode,
    /// The PersistentVolume's name.
    pub volume_name: String,
    /// The volume, as CreateVolume answered.
    pub volume: Volume,
    /// Where the volume was when it was bound, and what its pod has written since.
    pub before: State,
}

impl Claim {
    /// What people call the claim.
    pub fn title(&self) -> String {
        match self.namespace.as_str() {
            "default" => self.name.clone(),
            namespace => format!("{namespace}/{}", self.name),
        }
    }

    /// The access mode that the kubelet mounts with: the first.
    pub fn mode(&self) -> AccessMode {
        self.mode
    }

    /// What the PersistentVolume tells the driver about the volume.
    pub fn volume_context(&self) -> HashMap<String, String> {
        let mut context = self.volume.volume_context.clone();
        // external-provisioner adds this to every PersistentVolume that it makes.
        let key = "storage.kubernetes.io/csiProvisionerIdentity";
        context.insert(key.to_owned(), "demo-node-csi.berth.dev".to_owned());
        context
    }

    /// Looks at the volume on the node's disk, the way a person would: by its claim.
    pub fn inspect(&self, pool: &Path) -> Inspection {
        let after = host_path(pool, &self.namespace, &self.name, &self.volume.volume_id)
            .and_then(|host_path| {
                Ok(State {
                    tree: Tree::read(&host_path)?,
                    host_path,
                })
            })
            .map_err(|error| format!("{error:#}"));
        Inspection {
            claim: self.title(),
            verdict: Verdict::of(&self.before, &after),
            before: self.before.clone(),
            after,
        }
    }
}

/// What a claim's volume was and is.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// What people call the claim.
    pub claim: String,
    /// What the volume was.
    pub before: State,
    /// What it is, or why that isn't known.
    pub after: Result<State, String>,
    /// How the two compare.
    pub verdict: Verdict,
}

/// The directory that the claim's link leads to, which has to be that of its volume.
fn host_path(pool: &Path, namespace: &str, name: &str, volume_id: &str) -> Result<PathBuf> {
    let link = pool.join("by-claim").join(namespace).join(name);
    let path = link
        .canonicalize()
        .with_context(|| format!("follow {}", link.display()))?;
    let own = pool.join("volumes").join(volume_id);
    ensure!(path == own, "{} leads to {}", link.display(), path.display());
    Ok(path)
}
