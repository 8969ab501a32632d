//! Access modes: who may mount a volume, and where.

use anyhow::Result;
use serde_json::json;

use crate::cluster::other;
use crate::manifest;
use crate::scenario::{Scenario, scenario};
use crate::scene::Scene;

pub const ALL: &[Scenario] = &[
    scenario!(
        read_write_once,
        Light,
        "ReadWriteOnce: a second pod on the node may mount, one that is forced to the other node waits"
    ),
    scenario!(
        read_write_once_pod,
        Light,
        "ReadWriteOncePod: the second pod is refused, and gets its turn when the first is gone"
    ),
    scenario!(
        read_write_many,
        Light,
        "ReadWriteMany and ReadOnlyMany: the claim says why it is refused"
    ),
];

async fn read_write_once(s: &Scene) -> Result<()> {
    s.apply(&manifest::claim("shared", "1Gi")).await?;
    let node = s
        .start(&manifest::pod(
            "first",
            &["shared"],
            "echo from the first >/shared/file",
        ))
        .await?;
    s.saw(format!("first is on {node}"));
    let second = s.start(&manifest::pod("second", &["shared"], "true")).await?;
    s.same("second is on", &second, &node)?;
    s.same(
        "it reads",
        s.sh("second", "cat /shared/file").await?.as_str(),
        "from the first",
    )?;
    s.apply(&manifest::pod("third", &["shared"], "true").on(other(&node)))
        .await?;
    s.waits("third", "didn't match PersistentVolume's node affinity").await
}

async fn read_write_once_pod(s: &Scene) -> Result<()> {
    s.apply(&manifest::claim("own", "1Gi").set("/spec/accessModes", json!(["ReadWriteOncePod"])))
        .await?;
    let node = s
        .start(&manifest::pod("first", &["own"], "echo from the first >/own/file"))
        .await?;
    s.apply(&manifest::pod("second", &["own"], "true")).await?;
    s.waits("second", "ReadWriteOncePod").await?;
    // Past the scheduler, it is the kubelet that refuses.
    s.apply(&manifest::pod("third", &["own"], "true").set("/spec/nodeName", node.as_str()))
        .await?;
    let event = s.event("third", "ReadWriteOncePod").await?;
    s.saw(format!("third, put on {node} past the scheduler: {event}"));
    s.delete_pod("third").await?;
    s.delete_pod("first").await?;
    s.same(
        "when the first is gone, second is on",
        &s.pod_ready("second").await?,
        &node,
    )?;
    s.same(
        "it reads",
        s.sh("second", "cat /own/file").await?.as_str(),
        "from the first",
    )
}

async fn read_write_many(s: &Scene) -> Result<()> {
    for (claim, mode) in [("many", "ReadWriteMany"), ("readers", "ReadOnlyMany")] {
        s.apply(&manifest::claim(claim, "1Gi").set("/spec/accessModes", json!([mode])))
            .await?;
        s.apply(&manifest::pod(claim, &[claim], "true")).await?;
        let event = s.event(claim, "ProvisioningFailed").await?;
        s.says(format!("the event of the claim with {mode}"), &event, "ReadWriteOnce")?;
        s.same("the claim is", s.claim_phase(claim).await?.as_str(), "Pending")?;
    }
    Ok(())
}
