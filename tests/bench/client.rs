//! The calls as the external-provisioner and the kubelet make them.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, ensure};
use berth::proto::csi::{
    CapacityRange, CreateVolumeRequest, DeleteVolumeRequest, GetPluginInfoRequest, ListVolumesRequest,
    NodeGetVolumeStatsRequest, NodePublishVolumeRequest, NodeStageVolumeRequest, NodeUnpublishVolumeRequest,
    NodeUnstageVolumeRequest, Volume, VolumeCapability,
    controller_client::ControllerClient,
    identity_client::IdentityClient,
    node_client::NodeClient,
    volume_capability::{AccessMode, AccessType, MountVolume, access_mode::Mode},
};
use tonic::transport::Channel;
use uuid::Uuid;

pub const DRIVER: &str = "csi.berth.dev";

/// Small, so that tens of thousands of volumes fit into the pool.
const CAPACITY_BYTES: i64 = 1 << 20;

/// Makes a name as the external-provisioner does.
pub fn volume_name() -> String {
    format!("pvc-{}", Uuid::new_v4())
}

/// One connection's clients.
#[derive(Clone)]
pub struct Client {
    identity: IdentityClient<Channel>,
    controller: ControllerClient<Channel>,
    node: NodeClient<Channel>,
}

impl Client {
    pub fn new(channel: Channel) -> Self {
        Self {
            identity: IdentityClient::new(channel.clone()),
            controller: ControllerClient::new(channel.clone()),
            node: NodeClient::new(channel),
        }
    }

    /// Makes the call that asks nothing of the agent but to answer.
    pub async fn ping(&mut self) -> anyhow::Result<()> {
        let request = GetPluginInfoRequest {};
        self.identity.get_plugin_info(request).await.context("GetPluginInfo")?;
        Ok(())
    }

    /// Creates a volume whose ID is its name.
    pub async fn create(&mut self, name: &str) -> anyhow::Result<Volume> {
        let request = CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: Some(CapacityRange {
                required_bytes: CAPACITY_BYTES,
                limit_bytes: 0,
            }),
            volume_capabilities: vec![capability()],
            ..CreateVolumeRequest::default()
        };
        let answer = self.controller.create_volume(request).await.context("CreateVolume")?;
        let volume = answer.into_inner().volume.context("CreateVolume answered no volume")?;
        ensure!(volume.volume_id == name, "{name} became volume {}", volume.volume_id);
        Ok(volume)
    }

    pub async fn delete(&mut self, id: &str) -> anyhow::Result<()> {
        let request = DeleteVolumeRequest {
            volume_id: id.to_owned(),
            ..DeleteVolumeRequest::default()
        };
        self.controller.delete_volume(request).await.context("DeleteVolume")?;
        Ok(())
    }

    /// Counts the volumes, page by page.
    pub async fn count(&mut self) -> anyhow::Result<usize> {
        let mut count = 0;
        let mut request = ListVolumesRequest {
            max_entries: 1000,
            starting_token: String::new(),
        };
        loop {
            let answer = self
                .controller
                .list_volumes(request.clone())
                .await
                .context("ListVolumes")?;
            let page = answer.into_inner();
            count += page.entries.len();
            if page.next_token.is_empty() {
                return Ok(count);
            }
            request.starting_token = page.next_token;
        }
    }

    pub async fn stage(&mut self, id: &str, context: &HashMap<String, String>, staging: &Path) -> anyhow::Result<()> {
        let request = NodeStageVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: text(staging)?,
            volume_capability: Some(capability()),
            volume_context: context.clone(),
            ..NodeStageVolumeRequest::default()
        };
        self.node.node_stage_volume(request).await.context("NodeStageVolume")?;
        Ok(())
    }

    pub async fn publish(
        &mut self,
        id: &str,
        context: &HashMap<String, String>,
        staging: &Path,
        target: &Path,
    ) -> anyhow::Result<()> {
        let request = NodePublishVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: text(staging)?,
            target_path: text(target)?,
            volume_capability: Some(capability()),
            volume_context: context.clone(),
            ..NodePublishVolumeRequest::default()
        };
        self.node
            .node_publish_volume(request)
            .await
            .context("NodePublishVolume")?;
        Ok(())
    }

    pub async fn stats(&mut self, id: &str, staging: &Path, target: &Path) -> anyhow::Result<()> {
        let request = NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: text(target)?,
            staging_target_path: text(staging)?,
        };
        let answer = self
            .node
            .node_get_volume_stats(request)
            .await
            .context("NodeGetVolumeStats")?;
        ensure!(
            !answer.into_inner().usage.is_empty(),
            "NodeGetVolumeStats answered no usage"
        );
        Ok(())
    }

    pub async fn unpublish(&mut self, id: &str, target: &Path) -> anyhow::Result<()> {
        let request = NodeUnpublishVolumeRequest {
            volume_id: id.to_owned(),
            target_path: text(target)?,
        };
        self.node
            .node_unpublish_volume(request)
            .await
            .context("NodeUnpublishVolume")?;
        Ok(())
    }

    pub async fn unstage(&mut self, id: &str, staging: &Path) -> anyhow::Result<()> {
        let request = NodeUnstageVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: text(staging)?,
        };
        self.node
            .node_unstage_volume(request)
            .await
            .context("NodeUnstageVolume")?;
        Ok(())
    }
}

fn capability() -> VolumeCapability {
    VolumeCapability {
        access_type: Some(AccessType::Mount(MountVolume::default())),
        access_mode: Some(AccessMode {
            mode: Mode::SingleNodeWriter.into(),
        }),
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is no UTF-8", path.display()))?;
    Ok(text.to_owned())
}
