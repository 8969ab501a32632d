//! Berth's own pods, and what is asked of a program.

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::storage::v1::{CSINode, CSIStorageCapacity};
use kube::api::{DeleteParams, GetParams, ListParams};
use kube::core::Request;
use kube::{Api, ResourceExt};

use super::pods::{exec, is_ready};
use super::volumes::POOL_LABEL;
use super::{SOON, Scene, given, until};
use crate::cluster::{self, NODES};

/// What a program answered.
pub struct Answer {
    pub question: String,
    /// Why it failed, if it did.
    pub problem: Option<String>,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    pub fn unless_failed(self) -> Result<String> {
        match self.problem {
            None => Ok(self.stdout),
            Some(problem) => bail!("{}: {problem}: {} {}", self.question, self.stderr, self.stdout),
        }
    }

    /// What it said about its failure.
    pub fn if_failed(self) -> Result<String> {
        ensure!(
            self.problem.is_some(),
            "{} did not fail: {}",
            self.question,
            self.stdout
        );
        Ok(format!("{}{}", self.stdout, self.stderr))
    }
}

/// The agent's pod on a node.
pub struct Agent {
    pub pod: String,
    pub ready: bool,
}

impl Scene {
    fn agent_pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "berth-system")
    }

    pub fn daemon_sets(&self) -> Api<DaemonSet> {
        Api::namespaced(self.client.clone(), "berth-system")
    }

    pub async fn agent(&self, node: &str) -> Result<Agent> {
        let here = ListParams::default()
            .labels("app.kubernetes.io/component=agent")
            .fields(&format!("spec.nodeName={node}"));
        let pods = self.agent_pods().list(&here).await?.items;
        let staying = pods.iter().find(|pod| pod.metadata.deletion_timestamp.is_none());
        let pod = given(staying, "agent")?;
        Ok(Agent {
            pod: pod.name_any(),
            ready: is_ready(pod),
        })
    }

    pub async fn agent_ready(&self, node: &str) -> Result<()> {
        until(format!("the agent of {node} is ready"), SOON, async || {
            let agent = self.agent(node).await?;
            ensure!(agent.ready, "{} is not", agent.pod);
            ensure!(self.registered(node).await?, "it is, and the kubelet does not know it");
            Ok(())
        })
        .await
    }

    pub async fn registered(&self, node: &str) -> Result<bool> {
        let drivers = self.all::<CSINode>().get(node).await?.spec.drivers;
        Ok(drivers.iter().any(|driver| driver.name == "csi.berth.dev"))
    }

    /// `berth ...` in the agent's container.
    pub async fn berth(&self, node: &str, arguments: &[&str]) -> Result<Answer> {
        let command = [&["/berth"], arguments].concat();
        exec(
            &self.agent_pods(),
            &self.agent(node).await?.pod,
            Some("agent"),
            &command,
        )
        .await
    }

    /// `berth volumes` as it is for programs.
    pub async fn berth_volumes(&self, node: &str) -> Result<Vec<serde_json::Value>> {
        let listed = self.berth(node, &["volumes", "-o", "json"]).await?.unless_failed()?;
        Ok(serde_json::from_str(&listed)?)
    }

    /// New agents' pods: the kubelet makes a container that was killed before wait longer each time.
    pub async fn new_agents(&self) -> Result<()> {
        for node in NODES {
            let old = self.agent(node).await?.pod;
            self.agent_pods().delete(&old, &DeleteParams::default()).await?;
            until(format!("another agent on {node}"), SOON, async || {
                let agent = self.agent(node).await?;
                ensure!(agent.pod != old, "{old} is still there");
                Ok(())
            })
            .await?;
        }
        for node in NODES {
            self.agent_ready(node).await?;
        }
        Ok(())
    }

    /// Sends SIGKILL to the agent of a node.
    pub async fn kill_agent(&self, node: &str) -> Result<()> {
        cluster::on_node(node, "kill -KILL $(pgrep -x berth)").await.map(drop)
    }

    /// Sends SIGKILL to the agents of these nodes amidst something: as soon as on each node what the shell command
    /// `count` prints is `steps` away from what it was. Returns by how much it had changed then, node by node.
    pub async fn kill_agents_amidst(
        &self,
        nodes: &[&str],
        count: &str,
        steps: i32,
        something: impl Future<Output = Result<()>>,
    ) -> Result<Vec<i32>> {
        let script = format!(
            "before=$({count}); touch /run/armed
             away() {{ now=$({count}); echo $((now > before ? now - before : before - now)); }}
             until [ $(away) -ge {steps} ]; do [ $SECONDS -lt 60 ] || exit 1; done
             kill -KILL $(pgrep -x berth); away; rm /run/armed"
        );
        let armed = async {
            for node in nodes {
                until("watching the agent", SOON, async || {
                    cluster::on_node(node, "test -e /run/armed").await
                })
                .await?;
            }
            something.await
        };
        let second = async {
            match nodes.get(1) {
                Some(node) => cluster::on_node(node, &script).await.map(Some),
                None => Ok(None),
            }
        };
        let (first, second, done) = tokio::join!(cluster::on_node(nodes[0], &script), second, armed);
        done?;
        [Some(first?), second?]
            .into_iter()
            .flatten()
            .map(|steps| Ok(steps.parse()?))
            .collect()
    }

    /// Waits until the kubelet has started a killed agent again, which had not been started again before.
    pub async fn agent_restarted(&self, node: &str) -> Result<()> {
        let pod = self.agent(node).await?.pod;
        until(format!("a restart of the agent of {node}"), SOON, async || {
            let containers = self
                .agent_pods()
                .get(&pod)
                .await?
                .status
                .and_then(|status| status.container_statuses);
            let agent = containers
                .into_iter()
                .flatten()
                .find(|container| container.name == "agent");
            ensure!(
                agent.is_some_and(|agent| agent.restart_count > 0),
                "it was not restarted"
            );
            Ok(())
        })
        .await?;
        self.agent_ready(node).await
    }

    /// The bytes that the scheduler is told a node has for claims of the class `manual`.
    pub async fn published_capacity(&self, node: &str) -> Result<u64> {
        let labels = self.all::<Node>().get(node).await?.metadata.labels.unwrap_or_default();
        let pool = given(labels.get(POOL_LABEL), POOL_LABEL)?;
        let objects: Api<CSIStorageCapacity> = Api::namespaced(self.client.clone(), "berth-system");
        let objects = objects.list(&ListParams::default()).await?;
        let of_pool = objects.items.into_iter().find(|object| {
            let labels = object
                .node_topology
                .as_ref()
                .and_then(|topology| topology.match_labels.as_ref());
            let pool_of = labels.and_then(|labels| labels.get(POOL_LABEL));
            object.storage_class_name == "manual" && pool_of == Some(pool)
        });
        bytes(&given(given(of_pool, "capacity")?.capacity, "capacity")?.0)
    }

    /// A figure of the agent's metrics.
    pub async fn metric(&self, node: &str, name: &str) -> Result<f64> {
        let pod = self.agent(node).await?.pod;
        let agent = Request::new(format!("/api/v1/namespaces/berth-system/pods/{pod}:9808/proxy"));
        let metrics = self
            .client
            .request_text(agent.get("metrics", &GetParams::default())?)
            .await?;
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(given(value, name)?.parse()?)
    }
}

/// "5Gi" as a number.
fn bytes(quantity: &str) -> Result<u64> {
    let digits = quantity.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = ["", "Ki", "Mi", "Gi", "Ti"]
        .iter()
        .position(|unit| *unit == &quantity[digits.len()..]);
    Ok(digits.parse::<u64>()? << (10 * given(power, "unit that is known")?))
}
