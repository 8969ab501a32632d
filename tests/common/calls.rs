//! Calls, each a line in a test: requests from [`super::requests`], answers without their wrapping.

use std::error::Error;
use std::path::{Path, PathBuf};

use berth::proto::admin::{DiagnoseRequest, Finding, ListVolumesRequest, UndeleteRequest, VolumeSummary};
use berth::proto::csi;
use tonic::{Code, Status};

use super::requests::{self, MIB, text};
use super::{Agent, Clients};

/// A volume that is staged and published.
#[derive(Debug, Clone)]
pub struct Published {
    pub id: String,
    pub staging: PathBuf,
    pub target: PathBuf,
}

impl Clients {
    /// Creates a volume of 1 MiB and returns its ID.
    pub async fn create(&self, name: &str) -> Result<String, Status> {
        self.create_from(requests::create(name, MIB)).await
    }

    /// Creates a volume of 1 MiB with parameters of the class.
    pub async fn create_with(&self, name: &str, parameters: &[(&str, &str)]) -> Result<String, Status> {
        self.create_from(requests::create_with(name, MIB, parameters)).await
    }

    pub async fn create_from(&self, request: csi::CreateVolumeRequest) -> Result<String, Status> {
        let answer = self.controller.clone().create_volume(request).await?;
        Ok(answer.into_inner().volume.expect("a volume").volume_id)
    }

    pub async fn delete(&self, id: &str) -> Result<(), Status> {
        let answer = self.controller.clone().delete_volume(requests::delete(id)).await;
        answer.map(|_| ())
    }

    /// The IDs that ListVolumes tells.
    pub async fn list(&self) -> Result<Vec<String>, Status> {
        let request = csi::ListVolumesRequest::default();
        let answer = self.controller.clone().list_volumes(request).await?;
        let id = |entry: csi::list_volumes_response::Entry| entry.volume.expect("a volume").volume_id;
        Ok(answer.into_inner().entries.into_iter().map(id).collect())
    }

    pub async fn available(&self) -> Result<i64, Status> {
        let request = csi::GetCapacityRequest::default();
        let answer = self.controller.clone().get_capacity(request).await?;
        Ok(answer.into_inner().available_capacity)
    }

    pub async fn stage(&self, id: &str, staging: &Path) -> Result<(), Status> {
        let answer = self.node.clone().node_stage_volume(requests::stage(id, staging)).await;
        answer.map(|_| ())
    }

    pub async fn unstage(&self, id: &str, staging: &Path) -> Result<(), Status> {
        let request = requests::unstage(id, staging);
        self.node.clone().node_unstage_volume(request).await.map(|_| ())
    }

    pub async fn publish(&self, id: &str, staging: &Path, target: &Path) -> Result<(), Status> {
        self.publish_from(requests::publish(id, staging, target)).await
    }

    pub async fn publish_from(&self, request: csi::NodePublishVolumeRequest) -> Result<(), Status> {
        self.node.clone().node_publish_volume(request).await.map(|_| ())
    }

    pub async fn unpublish(&self, id: &str, target: &Path) -> Result<(), Status> {
        let request = requests::unpublish(id, target);
        self.node.clone().node_unpublish_volume(request).await.map(|_| ())
    }

    /// Takes a volume off its pod and its node.
    pub async fn take_down(&self, volume: &Published) -> Result<(), Status> {
        self.unpublish(&volume.id, &volume.target).await?;
        self.unstage(&volume.id, &volume.staging).await
    }

    pub async fn stats(&self, id: &str, path: &Path) -> Result<Vec<csi::VolumeUsage>, Status> {
        let request = csi::NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: text(path),
            ..csi::NodeGetVolumeStatsRequest::default()
        };
        Ok(self
            .node
            .clone()
            .node_get_volume_stats(request)
            .await?
            .into_inner()
            .usage)
    }

    pub async fn node_info(&self) -> Result<csi::NodeGetInfoResponse, Status> {
        let request = csi::NodeGetInfoRequest::default();
        Ok(self.node.clone().node_get_info(request).await?.into_inner())
    }

    /// Whether Probe says that the agent is ready.
    pub async fn ready(&self) -> bool {
        let answer = self.identity.clone().probe(csi::ProbeRequest {}).await;
        answer.expect("Probe answers").into_inner().ready == Some(true)
    }

    /// Undeletes a volume and returns its path.
    pub async fn undelete(&self, id: &str) -> Result<PathBuf, Status> {
        let request = UndeleteRequest {
            volume_id: id.to_owned(),
        };
        Ok(self.admin.clone().undelete(request).await?.into_inner().path.into())
    }

    /// What `berth volumes` would show.
    pub async fn summaries(&self) -> Result<Vec<VolumeSummary>, Status> {
        let request = ListVolumesRequest { measure: false };
        Ok(self.admin.clone().list_volumes(request).await?.into_inner().volumes)
    }

    /// What `berth doctor` would show.
    pub async fn diagnose(&self) -> Vec<Finding> {
        let answer = self.admin.clone().diagnose(DiagnoseRequest {}).await;
        answer.expect("Diagnose answers").into_inner().findings
    }

    /// The reasons that NodeGetStorageHealth gives.
    pub async fn storage_reasons(&self) -> Vec<String> {
        let request = csi::NodeGetStorageHealthRequest::default();
        let answer = self.node.clone().node_get_storage_health(request).await;
        let found = answer
            .expect("NodeGetStorageHealth answers")
            .into_inner()
            .backend_health;
        found.into_iter().map(|health| health.reason).collect()
    }

    /// The reasons that ControllerGetVolumeHealth gives.
    pub async fn controller_reasons(&self, id: &str) -> Result<Vec<String>, Status> {
        let request = csi::ControllerGetVolumeHealthRequest {
            volume_id: id.to_owned(),
            ..csi::ControllerGetVolumeHealthRequest::default()
        };
        let answer = self.controller.clone().controller_get_volume_health(request).await?;
        Ok(reasons(answer.into_inner().volume_health.expect("the volume's health")))
    }

    /// The reasons that NodeGetVolumeHealth gives.
    pub async fn node_reasons(&self, id: &str) -> Result<Vec<String>, Status> {
        let request = csi::NodeGetVolumeHealthRequest {
            volume_id: id.to_owned(),
            ..csi::NodeGetVolumeHealthRequest::default()
        };
        let answer = self.node.clone().node_get_volume_health(request).await?;
        Ok(reasons(answer.into_inner().volume_health.expect("the volume's health")))
    }

    /// What ControllerListVolumeHealth tells, with at most `most` volumes to a page.
    pub async fn ailing(&self, most: i32) -> Result<Vec<(String, Vec<String>)>, Status> {
        let mut found = Vec::new();
        let mut request = csi::ControllerListVolumeHealthRequest {
            max_entries: most,
            ..csi::ControllerListVolumeHealthRequest::default()
        };
        loop {
            let answer = self
                .controller
                .clone()
                .controller_list_volume_health(request.clone())
                .await?;
            let page = answer.into_inner();
            assert!(
                most == 0 || page.entries.len() <= most as usize,
                "a page of {}",
                page.entries.len()
            );
            found.extend(
                page.entries
                    .into_iter()
                    .map(|health| (health.volume_id.clone(), reasons(health))),
            );
            if page.next_token.is_empty() {
                return Ok(found);
            }
            assert_ne!(page.next_token, request.starting_token, "the same page for ever");
            request.starting_token = page.next_token;
        }
    }

    /// Creates, stages and publishes a volume for a pod of the same name.
    pub async fn publish_new(&self, agent: &Agent, name: &str) -> Published {
        self.publish_new_from(agent, requests::create(name, MIB)).await
    }

    /// Like [`Clients::publish_new`], with a request of the caller's.
    pub async fn publish_new_from(&self, agent: &Agent, request: csi::CreateVolumeRequest) -> Published {
        let pod = request.name.clone();
        let id = self.create_from(request).await.expect("create");
        let published = Published {
            staging: requests::staging_path(agent, &id),
            target: requests::target_path(agent, &pod, &id),
            id,
        };
        self.stage(&published.id, &published.staging).await.expect("stage");
        let request = requests::publish(&published.id, &published.staging, &published.target);
        self.publish_from(request).await.expect("publish");
        published
    }
}

fn reasons(health: csi::VolumeHealth) -> Vec<String> {
    health.health_statuses.into_iter().map(|entry| entry.reason).collect()
}

/// Whether the agent died before it answered: only a status that the connection itself caused has a
/// source.
pub fn is_interrupted(status: &Status) -> bool {
    status.source().is_some()
}

/// Asserts that a call was refused with `code` and that its message holds `words`.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, words: &str) {
    match answer {
        Ok(served) => panic!("served ({served:?}) instead of {code:?}"),
        Err(status) => {
            assert_eq!(status.code(), code, "{}", status.message());
            assert!(
                status.message().contains(words),
                "{words:?} is not in {:?}",
                status.message()
            );
        }
    }
}

/// Waits until `check` holds; `what` says what for.
pub async fn eventually(what: &str, check: impl AsyncFn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !check().await {
        assert!(std::time::Instant::now() < deadline, "still waiting: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
