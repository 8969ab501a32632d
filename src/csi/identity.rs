//! The Identity service.

use std::collections::HashMap;

use tonic::{Request, Response, Status};

use super::{DRIVER_NAME, Driver};
use crate::proto::csi;
use crate::proto::csi::identity_server::Identity;
use crate::proto::csi::plugin_capability::{Service, Type, service};

#[tonic::async_trait]
impl Identity for Driver {
    async fn get_plugin_info(
        &self,
        _: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        Ok(Response::new(csi::GetPluginInfoResponse {
            name: DRIVER_NAME.to_owned(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: HashMap::new(),
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<csi::GetPluginCapabilitiesRequest>,
    ) -> Result<Response<csi::GetPluginCapabilitiesResponse>, Status> {
        let served = [
            service::Type::ControllerService,
            service::Type::VolumeAccessibilityConstraints,
        ];
        let capability = |r#type: service::Type| csi::PluginCapability {
            r#type: Some(Type::Service(Service { r#type: r#type.into() })),
        };
        Ok(Response::new(csi::GetPluginCapabilitiesResponse {
            capabilities: served.into_iter().map(capability).collect(),
        }))
    }

    /// Answers "not ready" while there is no pool to work with. An error would make
    /// external-provisioner exit, and restarting mends no disk; while the answer is "not ready" it
    /// waits (CSI 1.13, "Probe").
    async fn probe(&self, _: Request<csi::ProbeRequest>) -> Result<Response<csi::ProbeResponse>, Status> {
        let ready = self.work.run_in_pool(|pool| pool.verify()).await.is_ok();
        Ok(Response::new(csi::ProbeResponse { ready: Some(ready) }))
    }
}
