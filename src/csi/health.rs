//! What is wrong, in the words of CSI's health messages.

use tonic::Status;

use super::{Driver, token};
use crate::engine::Engine;
use crate::engine::health::{Condition, Severity};
use crate::proto::csi;
use crate::proto::csi::node_get_storage_health_response::StorageBackendHealth;
use crate::proto::csi::volume_health::VolumeHealthEntry;
use crate::proto::csi::{StorageHealthErrorType, VolumeHealthErrorType};
use crate::volume::VolumeId;

impl Driver {
    /// The health of one volume; nothing wrong is an empty list.
    pub(super) async fn volume_health(&self, id: String) -> Result<csi::VolumeHealth, Status> {
        let volume_id = id.clone();
        let conditions = self.work.run(move |engine| engine.volume_health(&id)).await?;
        Ok(volume_health(volume_id, &conditions))
    }

    /// A page of the volumes with which something is wrong, and the token of the next.
    pub(super) async fn unhealthy_volumes(
        &self,
        last: Option<VolumeId>,
        most: usize,
    ) -> Result<(Vec<csi::VolumeHealth>, String), Status> {
        let all = self.work.run(Engine::unhealthy_volumes).await?;
        let is_next = |id: &str| last.as_ref().is_none_or(|last| id > last.as_str());
        let mut rest = all.into_iter().filter(|(id, _)| is_next(id));
        let page: Vec<_> = rest
            .by_ref()
            .take(most)
            .map(|(id, conditions)| volume_health(id, &conditions))
            .collect();
        let next = page.last().filter(|_| rest.next().is_some());
        let token = next.map(|health| token::after(&health.volume_id)).unwrap_or_default();
        Ok((page, token))
    }

    /// The health of the pool as this node sees it.
    pub(super) async fn storage_health(&self) -> Result<Vec<StorageBackendHealth>, Status> {
        let conditions = self.work.run(|engine| Ok(engine.storage_health())).await?;
        Ok(conditions.iter().map(storage_health).collect())
    }
}

fn volume_health(volume_id: String, conditions: &[Condition]) -> csi::VolumeHealth {
    let entry = |condition: &Condition| VolumeHealthEntry {
        status: match condition.severity {
            Severity::Degraded => VolumeHealthErrorType::Degraded,
            Severity::Inaccessible => VolumeHealthErrorType::Inaccessible,
            Severity::DataLoss => VolumeHealthErrorType::DataLoss,
        }
        .into(),
        reason: condition.reason.to_owned(),
        message: sentence(condition),
    };
    csi::VolumeHealth {
        volume_id,
        health_statuses: conditions.iter().map(entry).collect(),
    }
}

fn storage_health(condition: &Condition) -> StorageBackendHealth {
    StorageBackendHealth {
        status: match condition.severity {
            Severity::Degraded => StorageHealthErrorType::StorageDegraded,
            Severity::Inaccessible | Severity::DataLoss => StorageHealthErrorType::StorageUnreachable,
        }
        .into(),
        reason: condition.reason.to_owned(),
        message: sentence(condition),
        volume_capability: None,
    }
}

fn sentence(condition: &Condition) -> String {
    format!("{}. {}", condition.message, condition.advice)
}
