//! The agent goes, by force or to be replaced, and pods take no notice.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::writer::Writer;
use crate::cluster::{self, NODES};
use crate::manifest;
use crate::scenario::{Scenario, scenario};
use crate::scene::{SOON, Scene, until};

pub const ALL: &[Scenario] = &[
    scenario!(
        agents_replaced,
        Whole,
        "the DaemonSet is rolled to another image and back while clients write with fsync and verify"
    ),
    scenario!(
        agent_killed_during_io,
        Whole,
        "SIGKILL of the agent while clients write: they see nothing of it"
    ),
    scenario!(
        agent_killed_while_provisioning,
        Whole,
        "SIGKILL of both agents while they make volumes: every claim gets one, and no more"
    ),
    scenario!(
        agent_killed_while_unmounting,
        Whole,
        "SIGKILL of the agent while pods end: they end, no mount is left, and they can come back"
    ),
];

/// Claims that pods of these scenarios use, and the pods, all made at once.
async fn start_many(s: &Scene, node: &str, names: &[String]) -> Result<()> {
    for name in names {
        s.apply(&manifest::claim(name, "1Gi")).await?;
        s.apply(&manifest::pod(name, &[name.as_str()], &format!("echo here >>/{name}/file")).on(node))
            .await?;
    }
    Ok(())
}

fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

/// The agents find nothing wrong, and know of one volume for each claim.
async fn all_is_well(s: &Scene) -> Result<()> {
    let mut volumes = 0;
    for node in NODES {
        let doctor = s.berth(node, &["doctor"]).await?.unless_failed()?;
        s.same(format!("berth doctor on {node}"), doctor.as_str(), "Nothing is wrong.")?;
        volumes += s.berth_volumes(node).await?.len();
    }
    s.same("volumes in the pools", volumes, s.claims().await?.len())
}

async fn agents_replaced(s: &Scene) -> Result<()> {
    let daemons: kube::Api<DaemonSet> = s.daemon_sets();
    let image_now = async || -> Result<String> {
        let daemon = serde_json::to_value(daemons.get("berth-agent").await?)?;
        Ok(daemon["spec"]["template"]["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };
    let old = image_now().await?;
    let new = "berth:next";
    cluster::command(&["name-image", &old, new]).await?;
    let writers = [Writer::start(s, NODES[0]).await?, Writer::start(s, NODES[1]).await?];
    for image in [new, &old] {
        let before = [s.agent(NODES[0]).await?.pod, s.agent(NODES[1]).await?.pod];
        let containers = json!([{ "name": "agent", "image": image }]);
        let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
        daemons
            .patch("berth-agent", &PatchParams::default(), &Patch::Strategic(patch))
            .await?;
        until(format!("the rollout of {image}"), SOON, async || {
            for (node, old) in NODES.iter().zip(&before) {
                let agent = s.agent(node).await?;
                ensure!(
                    agent.pod != *old && agent.ready,
                    "{node} has {}, which replaces {old}",
                    agent.pod
                );
                ensure!(s.registered(node).await?, "{node} does not have the driver");
            }
            Ok(())
        })
        .await?;
        s.same(
            "every agent is new, and its image is",
            image_now().await?.as_str(),
            image,
        )?;
        for writer in &writers {
            writer.is_well().await?;
        }
    }
    start_many(s, NODES[0], &["after".to_owned()]).await?;
    s.saw(format!("a new pod is on {}", s.pod_ready("after").await?));
    all_is_well(s).await
}

async fn agent_killed_during_io(s: &Scene) -> Result<()> {
    s.new_agents().await?;
    let writers = [Writer::start(s, NODES[0]).await?, Writer::start(s, NODES[1]).await?];
    for (node, writer) in NODES.iter().zip(&writers) {
        s.kill_agent(node).await?;
        s.saw(format!(
            "the agent of {node} was killed when {} was at {}",
            writer.pod,
            writer.acknowledged().await?
        ));
        writer.goes_on().await?;
        s.agent_restarted(node).await?;
        writer.is_well().await?;
    }
    start_many(s, NODES[0], &["after".to_owned()]).await?;
    s.saw(format!("a new pod is on {}", s.pod_ready("after").await?));
    all_is_well(s).await
}

async fn agent_killed_while_provisioning(s: &Scene) -> Result<()> {
    s.new_agents().await?;
    let (first, second) = (numbered("first", 8), numbered("second", 8));
    let start = async {
        start_many(s, NODES[0], &first).await?;
        start_many(s, NODES[1], &second).await
    };
    let killed = s
        .kill_agents_amidst(&NODES, "ls /mnt/data/.berth/records | grep -c json$", 3, start)
        .await?;
    for (node, made) in NODES.iter().zip(killed) {
        s.saw(format!(
            "the agent of {node} was killed when it had made {made} of 8 volumes"
        ));
        s.agent_restarted(node).await?;
    }
    for pod in first.iter().chain(&second) {
        s.pod_ready(pod).await?;
        s.same(
            format!("the file of {pod}"),
            s.sh(pod, &format!("cat /{pod}/file")).await?.as_str(),
            "here",
        )?;
    }
    all_is_well(s).await
}

async fn agent_killed_while_unmounting(s: &Scene) -> Result<()> {
    s.new_agents().await?;
    let node = NODES[0];
    let pods = numbered("pod", 8);
    start_many(s, node, &pods).await?;
    for pod in &pods {
        s.pod_ready(pod).await?;
    }
    let delete = async {
        for pod in &pods {
            s.ask_to_end(pod).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let killed = s
        .kill_agents_amidst(
            &[node],
            "grep -c 'kubernetes.io~csi/pvc-.*/mount ' /proc/mounts",
            1,
            delete,
        )
        .await?;
    s.saw(format!(
        "the agent of {node} was killed when {} of 8 volumes were unmounted",
        killed[0]
    ));
    s.agent_restarted(node).await?;
    for pod in &pods {
        s.pod_gone(pod).await?;
    }
    let mounts = cluster::on_node(node, "grep -c 'kubernetes.io~csi/pvc-.*/mount ' /proc/mounts || true").await?;
    s.same("volumes that are mounted when all pods are gone", mounts.as_str(), "0")?;
    start_many(s, node, &pods).await?;
    for pod in &pods {
        s.pod_ready(pod).await?;
        s.same(
            format!("what {pod} wrote, both times"),
            s.sh(pod, &format!("wc -l </{pod}/file")).await?.as_str(),
            "2",
        )?;
    }
    all_is_well(s).await
}
