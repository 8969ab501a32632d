//! The kubelet's part: volumes staged once on the node, and published where a pod's containers find them.

use std::fs::{create_dir_all, metadata, remove_dir};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::proto::csi::{
    NodePublishVolumeRequest, NodeStageVolumeRequest, NodeUnpublishVolumeRequest, NodeUnstageVolumeRequest,
};

use super::claim::Claim;
use super::driver::Driver;
use super::{DRIVER, capability, mounts};

/// A kubelet with its directory.
pub struct Kubelet {
    directory: PathBuf,
}

impl Kubelet {
    /// A kubelet that keeps its things in `directory`.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Gives a pod its volume. Doing so again changes nothing, as after a restart of the kubelet.
    pub async fn mount(&self, driver: &Driver, claim: &Claim, pod_uid: &str) -> Result<PathBuf> {
        let staging = self.staging(claim);
        let target = self.target(claim, pod_uid);
        // The driver makes the target, the kubelet what is above it.
        make(&staging)?;
        make(target.parent().unwrap_or(&target))?;
        let capability = capability::of(claim.mode(), driver.node_single_node_modes);
        let stage = NodeStageVolumeRequest {
            volume_id: claim.volume.volume_id.clone(),
            staging_target_path: text(&staging)?,
            volume_capability: Some(capability.clone()),
            volume_context: claim.volume_context(),
            ..Default::default()
        };
        driver.stage(stage).await?;
        let publish = NodePublishVolumeRequest {
            volume_id: claim.volume.volume_id.clone(),
            staging_target_path: text(&staging)?,
            target_path: text(&target)?,
            volume_capability: Some(capability),
            volume_context: claim.volume_context(),
            ..Default::default()
        };
        driver.publish(publish).await?;
        check_mounted(claim, &target)?;
        Ok(target)
    }

    /// Takes a pod's volume from it.
    pub async fn unmount(&self, driver: &Driver, claim: &Claim, pod_uid: &str) -> Result<()> {
        let staging = self.staging(claim);
        let target = self.target(claim, pod_uid);
        let unpublish = NodeUnpublishVolumeRequest {
            volume_id: claim.volume.volume_id.clone(),
            target_path: text(&target)?,
        };
        driver.unpublish(unpublish).await?;
        ensure!(!target.exists(), "NodeUnpublishVolume left {}", target.display());
        let unstage = NodeUnstageVolumeRequest {
            volume_id: claim.volume.volume_id.clone(),
            staging_target_path: text(&staging)?,
        };
        driver.unstage(unstage).await?;
        // Only an empty directory goes this way, never a volume that is still mounted.
        remove(&staging)?;
        remove(staging.parent().unwrap_or(&staging))?;
        remove(target.parent().unwrap_or(&target))
    }

    /// Removes what is left of a pod that has no volumes any more.
    pub fn forget(&self, pod_uid: &str) -> Result<()> {
        let pod = self.directory.join("pods").join(pod_uid);
        remove(&pod.join("volumes/kubernetes.io~csi"))?;
        remove(&pod.join("volumes"))?;
        remove(&pod)
    }

    /// Where a pod's containers find the volume.
    pub fn target(&self, claim: &Claim, pod_uid: &str) -> PathBuf {
        let pod = self.directory.join("pods").join(pod_uid);
        pod.join("volumes/kubernetes.io~csi")
            .join(&claim.volume_name)
            .join("mount")
    }

    fn staging(&self, claim: &Claim) -> PathBuf {
        let plugin = self.directory.join("plugins/kubernetes.io/csi").join(DRIVER);
        plugin.join(&claim.volume.volume_id).join("globalmount")
    }
}

/// Holds the driver to its word: the pod sees the volume's directory, mounted once.
fn check_mounted(claim: &Claim, target: &Path) -> Result<()> {
    let host_path = &claim.before.host_path;
    ensure!(
        identity(target)? == identity(host_path)?,
        "{} isn't {}",
        target.display(),
        host_path.display()
    );
    let depth = mounts::beneath(target)?.len();
    ensure!(depth == 1, "{} mounts at {}", depth, target.display());
    Ok(())
}

fn identity(path: &Path) -> Result<(u64, u64)> {
    let metadata = metadata(path).with_context(|| format!("look at {}", path.display()))?;
    Ok((metadata.dev(), metadata.ino()))
}

fn make(path: &Path) -> Result<()> {
    create_dir_all(path).with_context(|| format!("make {}", path.display()))
}

fn remove(path: &Path) -> Result<()> {
    match remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn text(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} isn't UTF-8", path.display()))?;
    Ok(text.to_owned())
}
