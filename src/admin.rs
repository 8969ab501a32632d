//! The service behind a person's commands, on the agent's socket and without an agent.

use tonic::{Request, Response, Status};

use crate::csi::Work;
use crate::engine::health::{Condition, Severity};
use crate::engine::{Engine, Error, Overview};
use crate::proto::admin::admin_server::Admin;
use crate::proto::admin::{
    DiagnoseRequest, DiagnoseResponse, Finding, ListVolumesRequest, ListVolumesResponse, UndeleteRequest,
    UndeleteResponse, VolumeSummary,
};

/// Every volume of the pool, for a person.
pub fn list_volumes(engine: &Engine, measure: bool) -> Result<ListVolumesResponse, Error> {
    let pool = engine.pool()?;
    let quarantined = pool.quarantined().map(|(id, _)| {
        let path = pool.volume_path(id);
        VolumeSummary {
            volume_id: id.to_string(),
            state: "Quarantined".to_owned(),
            path: path.display().to_string(),
            ..VolumeSummary::default()
        }
    });
    let mut volumes: Vec<_> = pool.overview(measure).iter().map(summary).chain(quarantined).collect();
    volumes.sort_by(|a, b| a.claim.cmp(&b.claim).then_with(|| a.volume_id.cmp(&b.volume_id)));
    Ok(ListVolumesResponse { volumes })
}

/// What is wrong, for a person.
pub fn diagnose(engine: &Engine) -> DiagnoseResponse {
    DiagnoseResponse {
        findings: engine.diagnose().into_iter().map(finding).collect(),
    }
}

/// Brings a deleted volume back.
pub fn undelete(engine: &Engine, id: &str) -> Result<UndeleteResponse, Error> {
    let pool = engine.pool()?;
    let record = pool.undelete(id)?;
    let path = pool.volume_path(&record.id);
    Ok(UndeleteResponse {
        path: path.display().to_string(),
    })
}

/// Serves the commands on the agent's socket.
#[derive(Clone)]
pub struct AdminService {
    work: Work,
}

impl AdminService {
    /// A service whose work shares the threads of the CSI services.
    pub fn new(work: Work) -> Self {
        Self { work }
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn list_volumes(
        &self,
        request: Request<ListVolumesRequest>,
    ) -> Result<Response<ListVolumesResponse>, Status> {
        let measure = request.into_inner().measure;
        let volumes = self.work.run_at_disk(move |engine| list_volumes(engine, measure));
        volumes.await.map(Response::new)
    }

    async fn diagnose(&self, _: Request<DiagnoseRequest>) -> Result<Response<DiagnoseResponse>, Status> {
        let findings = self.work.run(|engine| Ok(diagnose(engine)));
        findings.await.map(Response::new)
    }

    async fn undelete(&self, request: Request<UndeleteRequest>) -> Result<Response<UndeleteResponse>, Status> {
        let id = request.into_inner().volume_id;
        let undeleted = self.work.run_at_disk(move |engine| undelete(engine, &id));
        undeleted.await.map(Response::new)
    }
}

fn summary(overview: &Overview) -> VolumeSummary {
    let record = &overview.record;
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let state = match (&record.deletion, overview.present) {
        (Some(_), _) => "Deleted",
        (None, true) => "Ready",
        (None, false) => "Missing",
    };
    VolumeSummary {
        volume_id: record.id.to_string(),
        claim: record.spec.claim.as_ref().map(ToString::to_string).unwrap_or_default(),
        capacity_bytes: signed(record.capacity.bytes()),
        used_bytes: overview.usage.map(|usage| signed(usage.bytes)),
        used_inodes: overview.usage.map(|usage| signed(usage.inodes)),
        state: state.to_owned(),
        path: overview.path.display().to_string(),
        published_at: overview.mounts.iter().map(|path| path.display().to_string()).collect(),
        purge_at: record.deletion.map(|deletion| signed(deletion.purge_at())),
    }
}

fn finding((object, condition): (String, Condition)) -> Finding {
    let severity = match condition.severity {
        Severity::Degraded => "warning",
        Severity::Inaccessible | Severity::DataLoss => "error",
    };
    Finding {
        severity: severity.to_owned(),
        reason: condition.reason.to_owned(),
        object,
        message: condition.message,
        advice: condition.advice.to_owned(),
    }
}
