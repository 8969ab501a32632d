//! Another disk than the pool's.

use anyhow::{Result, ensure};

use crate::cluster::{self, NODES};
use crate::manifest;
use crate::scenario::{Scenario, scenario};
use crate::scene::{SOON, Scene, until};

pub const ALL: &[Scenario] = &[scenario!(
    disk_swapped,
    Whole,
    "a node starts with another disk: nothing is served there and it is said why; with its own disk back, all pods return"
)];

async fn disk_swapped(s: &Scene) -> Result<()> {
    let node = NODES[0];
    let set = s.start_set(&[manifest::set("swapped", 2).on(node)]).await?;
    let mut before = Vec::new();
    for pod in set.pods() {
        let home = set.homes(&pod).await?.remove(0);
        before.push((pod, home.sum("bytes").await?, home));
    }

    cluster::cut_power(node).await?;
    cluster::swap_disk(node).await?;
    cluster::boot(node).await?;
    s.saw(format!("{node} started with an empty disk"));
    let doctor = until("what berth doctor says", SOON, async || {
        s.berth(node, &["doctor"]).await?.if_failed()
    })
    .await?;
    s.says("berth doctor", &doctor, "/mnt/data is not a pool")?;
    s.says("and", &doctor, "Mount the pool's own disk at the pool directory")?;
    ensure!(!s.agent(node).await?.ready, "the agent says that it is ready");
    s.saw("the agent is not ready");
    s.event("swapped-0", "csi.berth.dev")
        .await
        .map(|event| s.saw(format!("swapped-0 waits: {event}")))?;
    let found = cluster::on_node(node, "ls -A /mnt/data").await?;
    s.same("what is on the empty disk", found.as_str(), "")?;

    // Somebody takes the disk for a new one.
    s.berth(node, &["init", "--pool", "/mnt/data"]).await?.unless_failed()?;
    s.saw("berth init made a new pool on the other disk");
    let refusal = until("the kubelet's refusal", SOON, async || {
        let log = cluster::on_node(
            node,
            "grep -h 'detected topology value collision' /run/state/logs/node-1-kubelet.log | tail -n 1",
        )
        .await?;
        ensure!(!log.is_empty(), "its log has none");
        Ok(log)
    })
    .await?;
    s.says("the kubelet", &refusal, "topology.berth.dev/pool")?;
    ensure!(
        !s.registered(node).await?,
        "the kubelet registered the driver with the other pool"
    );
    s.saw("the driver is not registered");

    cluster::cut_power(node).await?;
    cluster::restore_disk(node).await?;
    cluster::boot(node).await?;
    s.agent_ready(node).await?;
    s.saw(format!("{node} started with its own disk, and its agent is ready"));
    for (pod, sum, home) in before {
        s.pod_restarted(&pod).await?;
        s.same(
            format!("the path of {pod}"),
            &set.homes(&pod).await?.remove(0).path,
            &home.path,
        )?;
        s.same(format!("the bytes of {pod}"), &home.sum("bytes").await?, &sum)?;
    }
    Ok(())
}
