//! The Controller service: provisioning on this node's pool.

use tonic::{Request, Response, Status};

use super::{Driver, request, status, token};
use crate::engine::{Error, Kind, Pool};
use crate::proto::csi;
use crate::proto::csi::controller_server::Controller;
use crate::proto::csi::controller_service_capability::{Rpc, Type, rpc};
use crate::proto::csi::validate_volume_capabilities_response::Confirmed;
use crate::volume::{Record, VolumeName, VolumeSpec, shorten};

/// What the Controller service can do.
const SERVED: [rpc::Type; 7] = [
    rpc::Type::CreateDeleteVolume,
    rpc::Type::ListVolumes,
    rpc::Type::GetCapacity,
    rpc::Type::GetVolume,
    rpc::Type::SingleNodeMultiWriter,
    rpc::Type::GetVolumeHealth,
    rpc::Type::ListVolumeHealth,
];

#[tonic::async_trait]
impl Controller for Driver {
    async fn create_volume(
        &self,
        request: Request<csi::CreateVolumeRequest>,
    ) -> Result<Response<csi::CreateVolumeResponse>, Status> {
        let request = request.into_inner();
        let name = VolumeName::parse(&request.name).map_err(status::invalid)?;
        let capabilities = request::capabilities(&request.volume_capabilities)?;
        let parameters = request::parameters(&request.parameters)?;
        if let Some(key) = request.mutable_parameters.keys().next() {
            let message = format!("mutable parameter {:?} is unknown: there are none", shorten(key));
            return Err(status::invalid(message));
        }
        if request.volume_content_source.is_some() {
            return Err(status::invalid(
                "volume_content_source is not served: this Berth makes no snapshots and no clones",
            ));
        }
        let range = request::capacity_range(request.capacity_range.as_ref()).map_err(status::of)?;
        let spec = VolumeSpec {
            name,
            capabilities,
            attributes: parameters.attributes,
            claim: parameters.claim,
        };
        let driver = self.clone();
        let topology = request.accessibility_requirements.unwrap_or_default();
        let volume = self
            .work
            .run_at_disk(move |engine| {
                let pool = &*engine.pool()?;
                request::require_filesystem(&request.volume_capabilities, pool.filesystem())?;
                driver.require_here(pool, &topology)?;
                let record = pool.create(spec, range)?;
                Ok(describe(pool, &record))
            })
            .await?;
        Ok(Response::new(csi::CreateVolumeResponse { volume: Some(volume) }))
    }

    async fn delete_volume(
        &self,
        request: Request<csi::DeleteVolumeRequest>,
    ) -> Result<Response<csi::DeleteVolumeResponse>, Status> {
        let request = request.into_inner();
        request::required("volume_id", &request.volume_id)?;
        self.work
            .run_at_disk(move |engine| engine.pool()?.delete(&request.volume_id))
            .await?;
        Ok(Response::new(csi::DeleteVolumeResponse {}))
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<csi::ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<csi::ValidateVolumeCapabilitiesResponse>, Status> {
        let request = request.into_inner();
        let id = request::required("volume_id", &request.volume_id)?.to_owned();
        if request.volume_capabilities.is_empty() {
            return Err(status::invalid("volume_capabilities is required"));
        }
        let record = self.work.run_in_pool(move |pool| pool.volume(&id)).await?;
        Ok(Response::new(match refusal(&record, &request) {
            Some(message) => csi::ValidateVolumeCapabilitiesResponse {
                confirmed: None,
                message,
            },
            None => csi::ValidateVolumeCapabilitiesResponse {
                confirmed: Some(Confirmed {
                    volume_context: request.volume_context,
                    volume_capabilities: request.volume_capabilities,
                    parameters: request.parameters,
                    mutable_parameters: request.mutable_parameters,
                }),
                message: String::new(),
            },
        }))
    }

    async fn list_volumes(
        &self,
        request: Request<csi::ListVolumesRequest>,
    ) -> Result<Response<csi::ListVolumesResponse>, Status> {
        let request = request.into_inner();
        let most = token::page_size(request.max_entries).map_err(status::of)?;
        let last = token::parse(&request.starting_token).map_err(status::of)?;
        let response = self
            .work
            .run_in_pool(move |pool| {
                let (page, more) = pool.page(last.as_ref(), most);
                let next = page
                    .last()
                    .filter(|_| more)
                    .map(|record| token::after(record.id.as_str()));
                let entry = |record: &Record| csi::list_volumes_response::Entry {
                    volume: Some(describe(pool, record)),
                    status: None,
                };
                Ok(csi::ListVolumesResponse {
                    entries: page.iter().map(|record| entry(record)).collect(),
                    next_token: next.unwrap_or_default(),
                })
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn controller_get_volume(
        &self,
        request: Request<csi::ControllerGetVolumeRequest>,
    ) -> Result<Response<csi::ControllerGetVolumeResponse>, Status> {
        let id = request.into_inner().volume_id;
        request::required("volume_id", &id)?;
        let node = self.node_name.to_string();
        let response = self
            .work
            .run_at_disk(move |engine| {
                let pool = &*engine.pool()?;
                let record = pool.volume(&id)?;
                // A volume whose data is gone is mounted nowhere, and the health calls tell why.
                let mounted = pool.mounts(&record).is_ok_and(|mounts| !mounts.is_empty());
                Ok(csi::ControllerGetVolumeResponse {
                    volume: Some(describe(pool, &record)),
                    status: Some(csi::controller_get_volume_response::VolumeStatus {
                        published_node_ids: mounted.then_some(node).into_iter().collect(),
                    }),
                })
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn get_capacity(
        &self,
        request: Request<csi::GetCapacityRequest>,
    ) -> Result<Response<csi::GetCapacityResponse>, Status> {
        let request = request.into_inner();
        request::parameters(&request.parameters)?;
        let served = request
            .volume_capabilities
            .iter()
            .all(|given| request::capability(given).is_ok());
        let driver = self.clone();
        let available = self
            .work
            .run_in_pool(move |pool| match &request.accessible_topology {
                Some(asked) if !driver.is_here(pool, asked) => Ok(0),
                _ if !served => Ok(0),
                _ => pool.available(),
            })
            .await?;
        let available = i64::try_from(available).unwrap_or(i64::MAX);
        Ok(Response::new(csi::GetCapacityResponse {
            available_capacity: available,
            maximum_volume_size: Some(available),
            minimum_volume_size: Some(1),
        }))
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<csi::ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<csi::ControllerGetCapabilitiesResponse>, Status> {
        let capability = |r#type: rpc::Type| csi::ControllerServiceCapability {
            r#type: Some(Type::Rpc(Rpc { r#type: r#type.into() })),
        };
        Ok(Response::new(csi::ControllerGetCapabilitiesResponse {
            capabilities: SERVED.into_iter().map(capability).collect(),
        }))
    }

    async fn controller_get_volume_health(
        &self,
        request: Request<csi::ControllerGetVolumeHealthRequest>,
    ) -> Result<Response<csi::ControllerGetVolumeHealthResponse>, Status> {
        let id = request.into_inner().volume_id;
        request::required("volume_id", &id)?;
        let health = self.volume_health(id).await?;
        Ok(Response::new(csi::ControllerGetVolumeHealthResponse {
            volume_health: Some(health),
        }))
    }

    async fn controller_list_volume_health(
        &self,
        request: Request<csi::ControllerListVolumeHealthRequest>,
    ) -> Result<Response<csi::ControllerListVolumeHealthResponse>, Status> {
        let request = request.into_inner();
        let most = token::page_size(request.max_entries).map_err(status::of)?;
        let last = token::parse(&request.starting_token).map_err(status::of)?;
        let (entries, next_token) = self.unhealthy_volumes(last, most).await?;
        Ok(Response::new(csi::ControllerListVolumeHealthResponse {
            entries,
            next_token,
        }))
    }
}

impl Driver {
    /// Fails with RESOURCE_EXHAUSTED, the code that makes the scheduler try another node, unless
    /// the request allows this one.
    fn require_here(&self, pool: &Pool, asked: &csi::TopologyRequirement) -> Result<(), Error> {
        let candidates = if asked.requisite.is_empty() {
            &asked.preferred
        } else {
            &asked.requisite
        };
        if candidates.is_empty() || candidates.iter().any(|topology| self.is_here(pool, topology)) {
            return Ok(());
        }
        let message = format!(
            "none of the topologies asked for is node {} with pool {}",
            self.node_name,
            pool.uuid()
        );
        Err(Error::new(Kind::Exhausted, message))
    }
}

/// Why the capabilities of the request do not fit the volume.
fn refusal(record: &Record, request: &csi::ValidateVolumeCapabilitiesRequest) -> Option<String> {
    for given in &request.volume_capabilities {
        if let Err(error) = request::capability(given) {
            return Some(error.to_string());
        }
    }
    match request::parameters(&request.parameters) {
        Err(status) => Some(status.message().to_owned()),
        Ok(parameters) if !request.parameters.is_empty() && parameters.attributes != record.spec.attributes => {
            Some(format!("volume {} was made with other parameters", record.id))
        }
        Ok(_) if !request.mutable_parameters.is_empty() => Some("there are no mutable parameters".to_owned()),
        Ok(_) => None,
    }
}

fn describe(pool: &Pool, record: &Record) -> csi::Volume {
    csi::Volume {
        capacity_bytes: i64::try_from(record.capacity.bytes()).unwrap_or(i64::MAX),
        volume_id: record.id.to_string(),
        accessible_topology: vec![Driver::volume_topology(pool)],
        ..csi::Volume::default()
    }
}
