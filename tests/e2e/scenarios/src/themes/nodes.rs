//! Nodes stop and start.

use anyhow::Result;

use super::writer::{self, Writer};
use crate::cluster::{self, NODES};
use crate::manifest;
use crate::scenario::{Scenario, scenario};
use crate::scene::Scene;

pub const ALL: &[Scenario] = &[
    scenario!(
        kubelet_restarted,
        Whole,
        "the kubelet is restarted: pods run on, and new ones find their volumes"
    ),
    scenario!(
        power_cut,
        Whole,
        "power goes and comes back: pods return to the same paths, with every byte that was synced"
    ),
];

async fn kubelet_restarted(s: &Scene) -> Result<()> {
    let node = NODES[0];
    let set = s.start_set(&[manifest::set("kept", 2).on(node)]).await?;
    let writer = Writer::start(s, node).await?;
    cluster::restart_kubelet(node).await?;
    s.saw(format!("the kubelet of {node} was restarted"));
    s.agent_ready(node).await?;
    writer.is_well().await?;
    set.comes_back("kept-1").await?;
    s.same(
        "starts that kept-1 wrote down",
        s.sh("kept-1", "wc -l </data/starts").await?.as_str(),
        "2",
    )
}

async fn power_cut(s: &Scene) -> Result<()> {
    let node = NODES[0];
    let set = s.start_set(&[manifest::set("cut", 2).on(node)]).await?;
    let writer = Writer::start(s, node).await?;
    let mut before = Vec::new();
    for pod in set.pods() {
        let home = set.homes(&pod).await?.remove(0);
        before.push((pod, home.sum("bytes").await?, home));
    }
    let acknowledged = writer.goes_on().await?;
    cluster::cut_power(node).await?;
    s.saw(format!(
        "power of {node} was cut when {acknowledged} lines or more were acknowledged"
    ));
    cluster::boot(node).await?;
    s.agent_ready(node).await?;
    s.saw(format!("{node} is back, and its agent is ready"));
    for (pod, sum, home) in before {
        // A pod stays what it was: the kubelet starts its containers again.
        s.pod_restarted(&pod).await?;
        s.same(
            format!("the path of {pod}"),
            &set.homes(&pod).await?.remove(0).path,
            &home.path,
        )?;
        s.same(format!("the bytes of {pod}"), &home.sum("bytes").await?, &sum)?;
        s.same(
            format!("starts that {pod} wrote down"),
            s.sh(&pod, "wc -l </data/starts").await?.as_str(),
            "2",
        )?;
    }
    s.pod_restarted(&writer.pod).await?;
    // The writer begins again at 1 behind what is there; what it wrote before comes first.
    let file = s.sh(&writer.pod, "cat /log/lines").await?;
    let first: Vec<_> = file.lines().take(usize::try_from(acknowledged)?).collect();
    let lines = writer::check(&first.join("\n"), acknowledged)?;
    s.saw(format!(
        "all {lines} lines that were acknowledged before the cut are there"
    ));
    let doctor = s.berth(node, &["doctor"]).await?.unless_failed()?;
    s.same("berth doctor", doctor.as_str(), "Nothing is wrong.")
}
