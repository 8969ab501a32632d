//! Pods: started, asked, deleted; and what is said of them.

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, DeleteParams, ListParams, LogParams};
use tokio::io::AsyncReadExt;

use super::{Answer, SOON, Scene, given, until};
use crate::manifest::Manifest;

impl Scene {
    /// Starts a pod, waits until it is ready and returns the node that it is on.
    pub async fn start(&self, manifest: &Manifest) -> Result<String> {
        self.apply(manifest).await?;
        self.pod_ready(manifest.value()["metadata"]["name"].as_str().unwrap_or_default())
            .await
    }

    pub async fn pod(&self, name: &str) -> Result<Pod> {
        Ok(self.objects::<Pod>().get(name).await?)
    }

    /// The node of a pod, once it is ready.
    pub async fn pod_ready(&self, name: &str) -> Result<String> {
        until(format!("{name} is ready"), SOON, async || {
            let pod = self.pod(name).await?;
            if !is_ready(&pod) {
                bail!("it is not; {}", self.last_event(name).await?);
            }
            node_of(&pod)
        })
        .await
    }

    /// Where a pod can be reached.
    pub async fn address(&self, name: &str) -> Result<String> {
        given(self.pod(name).await?.status.and_then(|status| status.pod_ip), "address")
    }

    /// Deletes a pod that nothing makes anew, and waits until it is gone.
    pub async fn delete_pod(&self, name: &str) -> Result<()> {
        self.ask_to_end(name).await?;
        self.pod_gone(name).await
    }

    pub async fn ask_to_end(&self, name: &str) -> Result<()> {
        self.objects::<Pod>().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until a pod that was on a node that stopped is ready again, as the same pod.
    pub async fn pod_restarted(&self, name: &str) -> Result<()> {
        until(format!("{name} is ready again"), SOON, async || {
            let pod = self.pod(name).await?;
            ensure!(is_ready(&pod) && restarts(&pod) > 0, "{}", self.last_event(name).await?);
            Ok(())
        })
        .await
    }

    pub async fn pod_gone(&self, name: &str) -> Result<()> {
        until(format!("the end of {name}"), SOON, async || {
            ensure!(
                self.objects::<Pod>().get_opt(name).await?.is_none(),
                "it is still there"
            );
            Ok(())
        })
        .await
    }

    /// What a shell script prints in a pod's container.
    pub async fn sh(&self, pod: &str, script: &str) -> Result<String> {
        self.ask(pod, script).await?.unless_failed()
    }

    /// The same for a script that may fail.
    pub async fn ask(&self, pod: &str, script: &str) -> Result<Answer> {
        exec(&self.objects(), pod, None, &["sh", "-c", script]).await
    }

    /// What a pod has printed.
    pub async fn log(&self, pod: &str) -> Result<String> {
        Ok(self.objects::<Pod>().logs(pod, &LogParams::default()).await?)
    }

    /// The message of an event about the object of this name that says `text`, as soon as there is one.
    pub async fn event(&self, name: &str, text: &str) -> Result<String> {
        until(format!("an event of {name} that says {text:?}"), SOON, async || {
            let messages = self.events(name).await?;
            match messages.iter().find(|message| message.contains(text)) {
                Some(message) => Ok(message.clone()),
                None => bail!("its events are: {}", messages.join("; ")),
            }
        })
        .await
    }

    /// The pod waits, and its events say why.
    pub async fn waits(&self, pod: &str, reason: &str) -> Result<()> {
        let event = self.event(pod, reason).await?;
        let phase = self
            .pod(pod)
            .await?
            .status
            .and_then(|status| status.phase)
            .unwrap_or_default();
        self.same(format!("{pod} is"), phase.as_str(), "Pending")?;
        self.saw(format!("its event: {event}"));
        Ok(())
    }

    async fn last_event(&self, name: &str) -> Result<String> {
        Ok(self.events(name).await?.pop().unwrap_or_default())
    }

    async fn events(&self, name: &str) -> Result<Vec<String>> {
        let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let mut events = self.objects::<Event>().list(&about).await?.items;
        events.sort_by_key(|event| {
            event
                .metadata
                .resource_version
                .as_ref()
                .and_then(|version| version.parse::<u64>().ok())
        });
        let line = |event: Event| {
            format!(
                "{}: {}",
                event.reason.unwrap_or_default(),
                event.message.unwrap_or_default()
            )
        };
        Ok(events.into_iter().map(line).collect())
    }
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
    ready && pod.metadata.deletion_timestamp.is_none()
}

pub fn node_of(pod: &Pod) -> Result<String> {
    given(pod.spec.as_ref().and_then(|spec| spec.node_name.clone()), "node")
}

/// How often the containers of a pod were started anew.
pub fn restarts(pod: &Pod) -> i32 {
    let containers = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    containers
        .into_iter()
        .flatten()
        .map(|container| container.restart_count)
        .sum()
}

/// Runs a command in a container.
pub async fn exec(pods: &Api<Pod>, pod: &str, container: Option<&str>, command: &[&str]) -> Result<Answer> {
    let mut how = AttachParams::default();
    how.container = container.map(str::to_owned);
    let mut process = pods.exec(pod, command.iter().copied(), &how).await?;
    let status = given(process.take_status(), "status")?;
    let (mut output, mut errors) = (given(process.stdout(), "output")?, given(process.stderr(), "errors")?);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (read, also, status) = tokio::join!(output.read_to_end(&mut stdout), errors.read_to_end(&mut stderr), status);
    (read?, also?);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    Ok(Answer {
        question: format!("{} in {pod}", command.last().copied().unwrap_or_default()),
        problem: problem(status),
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

fn problem(status: Option<Status>) -> Option<String> {
    match status {
        Some(status) if status.status.as_deref() == Some("Success") => None,
        Some(status) => Some(status.message.unwrap_or_else(|| "it failed".to_owned())),
        None => Some("the connection broke".to_owned()),
    }
}
