//! The driver as the kubelet and external-provisioner see it: CSI over its unix socket.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::proto::csi::controller_client::ControllerClient;
use crate::proto::csi::controller_service_capability::{self as controller_capability, rpc as controller_rpc};
use crate::proto::csi::identity_client::IdentityClient;
use crate::proto::csi::node_client::NodeClient;
use crate::proto::csi::node_service_capability::{self as node_capability, rpc as node_rpc};
use crate::proto::csi::{
    ControllerGetCapabilitiesRequest, CreateVolumeRequest, DeleteVolumeRequest, GetCapacityRequest,
    GetPluginInfoRequest, ListVolumesRequest, NodeGetCapabilitiesRequest, NodeGetInfoRequest, NodePublishVolumeRequest,
    NodeStageVolumeRequest, NodeUnpublishVolumeRequest, NodeUnstageVolumeRequest, ProbeRequest, Topology,
    TopologyRequirement, Volume,
};

use super::DRIVER;

/// No call takes this long on a throwaway pool, and a hung one shall not hang the demo.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A call that the driver refused, or that never reached it.
#[derive(Debug, thiserror::Error)]
#[error("{call} of {subject}: {code:?}: {message}")]
pub struct CallError {
    call: &'static str,
    subject: String,
    code: Code,
    message: String,
}

impl CallError {
    fn new(call: &'static str, subject: &str, status: &Status) -> Self {
        Self {
            call,
            subject: subject.to_owned(),
            code: status.code(),
            message: status.message().to_owned(),
        }
    }

    /// Whether the sidecars would send the same request again at once: the outcome is unknown.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.code,
            Code::Unavailable | Code::Aborted | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
        )
    }
}

/// A connection to a driver that is ready.
#[derive(Debug, Clone)]
pub struct Driver {
    controller: ControllerClient<Channel>,
    node: NodeClient<Channel>,
    /// The node's place, as NodeGetInfo tells the kubelet.
    topology: Topology,
    /// Whether external-provisioner would ask for the single-node access modes.
    pub controller_single_node_modes: bool,
    /// Whether the kubelet would ask for the single-node access modes.
    pub node_single_node_modes: bool,
}

impl Driver {
    /// Connects and asks for all that the kubelet asks a driver at its registration; fails unless Probe says ready.
    pub async fn connect(socket: &Path) -> Result<Self> {
        let channel = Endpoint::from_shared(format!("unix://{}", socket.display()))?
            .timeout(CALL_TIMEOUT)
            .connect()
            .await
            .with_context(|| format!("connect to {}", socket.display()))?;
        let mut identity = IdentityClient::new(channel.clone());
        let mut node = NodeClient::new(channel.clone());
        let mut controller = ControllerClient::new(channel);
        let probe = identity.probe(ProbeRequest {}).await.map_err(failed("Probe"))?;
        // No answer counts as ready, says the specification of ProbeResponse.
        ensure!(probe.into_inner().ready.unwrap_or(true), "Probe says not ready");
        let plugin = identity
            .get_plugin_info(GetPluginInfoRequest {})
            .await
            .map_err(failed("GetPluginInfo"))?
            .into_inner();
        ensure!(plugin.name == DRIVER, "the driver calls itself {:?}", plugin.name);
        let info = node
            .node_get_info(NodeGetInfoRequest {})
            .await
            .map_err(failed("NodeGetInfo"))?;
        let Some(topology) = info.into_inner().accessible_topology else {
            bail!("NodeGetInfo tells no topology, so volumes wouldn't be tied to their node");
        };
        Ok(Self {
            controller_single_node_modes: controller_single_node_modes(&mut controller).await?,
            node_single_node_modes: node_single_node_modes(&mut node).await?,
            controller,
            node,
            topology,
        })
    }

    /// What external-provisioner asks for when the scheduler has chosen this node.
    pub fn topology_requirement(&self) -> TopologyRequirement {
        TopologyRequirement {
            requisite: vec![self.topology.clone()],
            preferred: vec![self.topology.clone()],
        }
    }

    /// How many bytes of volumes still fit.
    pub async fn capacity(&self) -> Result<i64> {
        let request = GetCapacityRequest {
            accessible_topology: Some(self.topology.clone()),
            ..Default::default()
        };
        let answer = self.controller.clone().get_capacity(request).await;
        Ok(answer.map_err(failed("GetCapacity"))?.into_inner().available_capacity)
    }

    /// Provisions a volume.
    pub async fn create(&self, request: &CreateVolumeRequest) -> Result<Volume, CallError> {
        let refused = |status: &Status| CallError::new("CreateVolume", &request.name, status);
        let answer = self.controller.clone().create_volume(request.clone()).await;
        let volume = answer.map_err(|status| refused(&status))?.into_inner().volume;
        volume.ok_or_else(|| refused(&Status::internal("the answer has no volume in it")))
    }

    /// Deletes a volume.
    pub async fn delete(&self, volume_id: &str) -> Result<(), CallError> {
        let request = DeleteVolumeRequest {
            volume_id: volume_id.to_owned(),
            ..Default::default()
        };
        let answer = self.controller.clone().delete_volume(request).await;
        answer
            .map(drop)
            .map_err(|status| CallError::new("DeleteVolume", volume_id, &status))
    }

    /// The IDs of all volumes, page by page.
    pub async fn list(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        let mut starting_token = String::new();
        loop {
            let request = ListVolumesRequest {
                max_entries: 0,
                starting_token,
            };
            let answer = self.controller.clone().list_volumes(request).await;
            let page = answer.map_err(failed("ListVolumes"))?.into_inner();
            ids.extend(
                page.entries
                    .into_iter()
                    .filter_map(|entry| Some(entry.volume?.volume_id)),
            );
            if page.next_token.is_empty() {
                return Ok(ids);
            }
            starting_token = page.next_token;
        }
    }

    /// Prepares a volume on the node.
    pub async fn stage(&self, request: NodeStageVolumeRequest) -> Result<(), CallError> {
        let id = request.volume_id.clone();
        let answer = self.node.clone().node_stage_volume(request).await;
        answer
            .map(drop)
            .map_err(|status| CallError::new("NodeStageVolume", &id, &status))
    }

    /// Mounts a volume for a pod.
    pub async fn publish(&self, request: NodePublishVolumeRequest) -> Result<(), CallError> {
        let id = request.volume_id.clone();
        let answer = self.node.clone().node_publish_volume(request).await;
        answer
            .map(drop)
            .map_err(|status| CallError::new("NodePublishVolume", &id, &status))
    }

    /// Takes a volume from a pod.
    pub async fn unpublish(&self, request: NodeUnpublishVolumeRequest) -> Result<(), CallError> {
        let id = request.volume_id.clone();
        let answer = self.node.clone().node_unpublish_volume(request).await;
        answer
            .map(drop)
            .map_err(|status| CallError::new("NodeUnpublishVolume", &id, &status))
    }

    /// Undoes the preparation of a volume on the node.
    pub async fn unstage(&self, request: NodeUnstageVolumeRequest) -> Result<(), CallError> {
        let id = request.volume_id.clone();
        let answer = self.node.clone().node_unstage_volume(request).await;
        answer
            .map(drop)
            .map_err(|status| CallError::new("NodeUnstageVolume", &id, &status))
    }
}

fn failed(call: &'static str) -> impl Fn(Status) -> CallError {
    move |status| CallError::new(call, "the driver", &status)
}

async fn controller_single_node_modes(client: &mut ControllerClient<Channel>) -> Result<bool> {
    let answer = client
        .controller_get_capabilities(ControllerGetCapabilitiesRequest {})
        .await;
    let capabilities = answer
        .map_err(failed("ControllerGetCapabilities"))?
        .into_inner()
        .capabilities;
    Ok(capabilities.iter().any(|capability| {
        matches!(&capability.r#type, Some(controller_capability::Type::Rpc(rpc))
            if rpc.r#type() == controller_rpc::Type::SingleNodeMultiWriter)
    }))
}

async fn node_single_node_modes(client: &mut NodeClient<Channel>) -> Result<bool> {
    let answer = client.node_get_capabilities(NodeGetCapabilitiesRequest {}).await;
    let capabilities = answer.map_err(failed("NodeGetCapabilities"))?.into_inner().capabilities;
    Ok(capabilities.iter().any(|capability| {
        matches!(&capability.r#type, Some(node_capability::Type::Rpc(rpc))
            if rpc.r#type() == node_rpc::Type::SingleNodeMultiWriter)
    }))
}
