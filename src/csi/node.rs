//! The Node service: mounting volumes for pods.

use tonic::{Request, Response, Status};

use super::{Driver, request, status};
use crate::engine::Space;
use crate::mount::TargetPath;
use crate::proto::csi;
use crate::proto::csi::node_server::Node;
use crate::proto::csi::node_service_capability::{Rpc, Type, rpc};
use crate::proto::csi::volume_usage::Unit;
use crate::volume::shorten;

/// What the Node service can do.
const SERVED: [rpc::Type; 5] = [
    rpc::Type::StageUnstageVolume,
    rpc::Type::GetVolumeStats,
    rpc::Type::SingleNodeMultiWriter,
    rpc::Type::GetVolumeHealth,
    rpc::Type::GetStorageHealth,
];
/// The key in the volume context that marks an inline volume, which the CSIDriver object does not offer.
const EPHEMERAL: &str = "csi.storage.k8s.io/ephemeral";

#[tonic::async_trait]
impl Node for Driver {
    async fn node_stage_volume(
        &self,
        request: Request<csi::NodeStageVolumeRequest>,
    ) -> Result<Response<csi::NodeStageVolumeResponse>, Status> {
        let request = request.into_inner();
        let id = request::required("volume_id", &request.volume_id)?.to_owned();
        let staging = self.path("staging_target_path", &request.staging_target_path)?;
        let capability = request::one_capability(request.volume_capability.as_ref())?;
        self.work
            .run_at_disk(move |engine| engine.pool()?.stage(&id, &staging, &capability))
            .await?;
        Ok(Response::new(csi::NodeStageVolumeResponse {}))
    }

    async fn node_unstage_volume(
        &self,
        request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Result<Response<csi::NodeUnstageVolumeResponse>, Status> {
        let request = request.into_inner();
        let id = request::required("volume_id", &request.volume_id)?.to_owned();
        let staging = self.path("staging_target_path", &request.staging_target_path)?;
        self.work.run(move |engine| engine.unstage(&id, &staging)).await?;
        Ok(Response::new(csi::NodeUnstageVolumeResponse {}))
    }

    async fn node_publish_volume(
        &self,
        request: Request<csi::NodePublishVolumeRequest>,
    ) -> Result<Response<csi::NodePublishVolumeResponse>, Status> {
        let request = request.into_inner();
        let id = request::required("volume_id", &request.volume_id)?.to_owned();
        let target = self.path("target_path", &request.target_path)?;
        let capability = request::one_capability(request.volume_capability.as_ref())?;
        if request
            .volume_context
            .get(EPHEMERAL)
            .is_some_and(|value| value == "true")
        {
            return Err(status::invalid(
                "inline ephemeral volumes are not served: use a generic ephemeral volume (volumeClaimTemplate)",
            ));
        }
        if request.staging_target_path.is_empty() {
            return Err(Status::failed_precondition(
                "staging_target_path is required: NodeStageVolume comes first",
            ));
        }
        let staging = self.path("staging_target_path", &request.staging_target_path)?;
        let read_only = request.readonly;
        self.work
            .run_at_disk(move |engine| {
                let pool = engine.pool()?;
                pool.publish(&id, &staging, &target, &capability, read_only)
            })
            .await?;
        Ok(Response::new(csi::NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<csi::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<csi::NodeUnpublishVolumeResponse>, Status> {
        let request = request.into_inner();
        let id = request::required("volume_id", &request.volume_id)?.to_owned();
        let target = self.path("target_path", &request.target_path)?;
        self.work.run(move |engine| engine.unpublish(&id, &target)).await?;
        Ok(Response::new(csi::NodeUnpublishVolumeResponse {}))
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<csi::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<csi::NodeGetVolumeStatsResponse>, Status> {
        let request = request.into_inner();
        let id = request::required("volume_id", &request.volume_id)?.to_owned();
        let path = request::required("volume_path", &request.volume_path)?;
        // A path that no volume can be at is a path at which this volume is not.
        let path = self
            .kubelet_dir
            .target(path)
            .map_err(|error| Status::not_found(format!("volume {} is not there: {error}", shorten(&id))))?;
        let space = self
            .work
            .run_at_disk(move |engine| engine.pool()?.stats(&id, &path))
            .await?;
        Ok(Response::new(csi::NodeGetVolumeStatsResponse { usage: usage(&space) }))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<csi::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<csi::NodeGetCapabilitiesResponse>, Status> {
        let capability = |r#type: rpc::Type| csi::NodeServiceCapability {
            r#type: Some(Type::Rpc(Rpc { r#type: r#type.into() })),
        };
        Ok(Response::new(csi::NodeGetCapabilitiesResponse {
            capabilities: SERVED.into_iter().map(capability).collect(),
        }))
    }

    /// Fails while there is no pool, so that the kubelet does not register the node without one.
    async fn node_get_info(
        &self,
        _: Request<csi::NodeGetInfoRequest>,
    ) -> Result<Response<csi::NodeGetInfoResponse>, Status> {
        let driver = self.clone();
        let topology = self
            .work
            .run_in_pool(move |pool| Ok(driver.node_topology(pool)))
            .await?;
        Ok(Response::new(csi::NodeGetInfoResponse {
            node_id: self.node_name.to_string(),
            max_volumes_per_node: 0,
            accessible_topology: Some(topology),
        }))
    }

    async fn node_get_volume_health(
        &self,
        request: Request<csi::NodeGetVolumeHealthRequest>,
    ) -> Result<Response<csi::NodeGetVolumeHealthResponse>, Status> {
        let id = request.into_inner().volume_id;
        request::required("volume_id", &id)?;
        let health = self.volume_health(id).await?;
        Ok(Response::new(csi::NodeGetVolumeHealthResponse {
            volume_health: Some(health),
        }))
    }

    async fn node_get_storage_health(
        &self,
        _: Request<csi::NodeGetStorageHealthRequest>,
    ) -> Result<Response<csi::NodeGetStorageHealthResponse>, Status> {
        Ok(Response::new(csi::NodeGetStorageHealthResponse {
            backend_health: self.storage_health().await?,
        }))
    }
}

impl Driver {
    fn path(&self, field: &str, path: &str) -> Result<TargetPath, Status> {
        let path = request::required(field, path)?;
        self.kubelet_dir
            .target(path)
            .map_err(|error| status::invalid(format!("{field}: {error}")))
    }
}

fn usage(space: &Space) -> Vec<csi::VolumeUsage> {
    let entry = |unit: Unit, available: u64, total: u64, used: u64| csi::VolumeUsage {
        available: clamp(available),
        total: clamp(total),
        used: clamp(used),
        unit: unit.into(),
    };
    vec![
        entry(Unit::Bytes, space.available_bytes, space.total_bytes, space.used_bytes),
        entry(
            Unit::Inodes,
            space.available_inodes,
            space.total_inodes,
            space.used_inodes,
        ),
    ]
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
