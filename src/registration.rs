//! The kubelet's plugin registration, served by the agent itself.

use std::path::Path;

use tonic::{Request, Response, Status};
use tracing::{error, info};

use crate::csi::DRIVER_NAME;
use crate::proto::registration::registration_server::Registration;
use crate::proto::registration::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};

/// The version of the specification that the driver speaks.
const CSI_VERSION: &str = "1.13.0";

/// Where the kubelet of `kubelet_dir` looks for the driver.
pub fn socket_path(kubelet_dir: &Path) -> std::path::PathBuf {
    kubelet_dir
        .join("plugins_registry")
        .join(format!("{DRIVER_NAME}-reg.sock"))
}

/// Where the kubelet of `kubelet_dir` has the volumes of the driver staged.
pub fn staging_dir(kubelet_dir: &Path) -> std::path::PathBuf {
    kubelet_dir.join("plugins/kubernetes.io/csi").join(DRIVER_NAME)
}

/// Answers the kubelet's questions about the driver.
#[derive(Debug, Clone)]
pub struct Registrar {
    endpoint: String,
}

impl Registrar {
    /// A registrar for the driver whose CSI services are at the socket `endpoint`.
    pub fn new(endpoint: &Path) -> Self {
        Self {
            endpoint: endpoint.to_string_lossy().into_owned(),
        }
    }
}

#[tonic::async_trait]
impl Registration for Registrar {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: DRIVER_NAME.to_owned(),
            endpoint: self.endpoint.clone(),
            supported_versions: vec![CSI_VERSION.to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        if status.plugin_registered {
            info!("registered with the kubelet");
        } else {
            error!(
                reason = status.error,
                "the kubelet refused the registration; it will try again"
            );
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
