//! What the scheduler is told about free space, and that nothing is promised twice.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::{self, NODES};
use crate::manifest;
use crate::scenario::{Scenario, scenario};
use crate::scene::{SOON, Scene, until};

pub const ALL: &[Scenario] = &[
    scenario!(
        published,
        Whole,
        "the CSIStorageCapacity objects say what the pools have left, before and after a claim"
    ),
    scenario!(
        larger_than_one_node,
        Whole,
        "a claim that is larger than node-1's free space goes to node-2"
    ),
    scenario!(
        larger_than_both,
        Whole,
        "a claim that is larger than each of both waits, and it is said why"
    ),
    scenario!(
        twenty_at_once,
        Whole,
        "of twenty claims at once those that fit are served, and no node is overcommitted"
    ),
];

const GIB: u64 = 1 << 30;

/// What a pool may promise, by its file system's size and the reserve of 2 % that docs/deploying.md tells of.
async fn limit(node: &str) -> Result<u64> {
    let size: u64 = cluster::on_node(node, "df -B1 --output=size /mnt/data | tail -n 1")
        .await?
        .trim()
        .parse()?;
    Ok(size - size / 50)
}

/// The sizes of all volumes of a node.
async fn committed(s: &Scene, node: &str) -> Result<u64> {
    let volumes = s.berth_volumes(node).await?;
    Ok(volumes
        .iter()
        .filter_map(|volume| volume["capacity_bytes"].as_u64())
        .sum())
}

/// Waits until what is published is what is left. It is brought up to date after each call, and every 10 s.
async fn matches(s: &Scene, node: &str) -> Result<u64> {
    let (limit, committed) = (limit(node).await?, committed(s, node).await?);
    until(format!("the published capacity of {node}"), SOON, async || {
        let published = s.published_capacity(node).await?;
        let expected = limit - committed;
        ensure!(
            published.abs_diff(expected) <= 1,
            "it is {published}; {limit} less {committed} is {expected}"
        );
        Ok(published)
    })
    .await
}

async fn published(s: &Scene) -> Result<()> {
    for node in NODES {
        let before = matches(s, node).await?;
        s.saw(format!("{node} publishes {before} bytes: its size, less 2 %"));
        s.apply(&manifest::claim(node, "5Gi")).await?;
        s.start(&manifest::pod(node, &[node], "true").on(node)).await?;
        let after = matches(s, node).await?;
        s.same(
            format!("a claim of 5 GiB takes, in GiB, of what {node} publishes"),
            (before - after) / GIB,
            5,
        )?;
    }
    Ok(())
}

async fn larger_than_one_node(s: &Scene) -> Result<()> {
    s.saw(format!(
        "free: {} on node-1, {} on node-2",
        matches(s, "node-1").await?,
        matches(s, "node-2").await?
    ));
    s.apply(&manifest::claim("large", "70Gi")).await?;
    let node = s.start(&manifest::pod("user", &["large"], "true")).await?;
    s.same("a claim of 70 GiB is on", node.as_str(), "node-2")?;
    s.saw(s.home("large").await?);
    Ok(())
}

async fn larger_than_both(s: &Scene) -> Result<()> {
    s.saw(format!(
        "free: {} on node-1, {} on node-2",
        matches(s, "node-1").await?,
        matches(s, "node-2").await?
    ));
    s.apply(&manifest::claim("larger", "100Gi")).await?;
    s.apply(&manifest::pod("user", &["larger"], "true")).await?;
    s.waits("user", "did not have enough free storage").await?;
    s.same(
        "the claim of 100 GiB is",
        s.claim_phase("larger").await?.as_str(),
        "Pending",
    )
}

async fn twenty_at_once(s: &Scene) -> Result<()> {
    const CLAIMS: usize = 20;
    const EACH: u64 = 10;
    let mut fit = 0;
    let mut limits = Vec::new();
    for node in NODES {
        let limit = matches(s, node).await?;
        s.saw(format!(
            "{node} has {limit} bytes, enough for {} claims of {EACH} GiB",
            limit / (EACH * GIB)
        ));
        fit += usize::try_from(limit / (EACH * GIB))?;
        limits.push(limit);
    }
    for number in 0..CLAIMS {
        let name = format!("claim-{number}");
        s.apply(&manifest::claim(&name, &format!("{EACH}Gi"))).await?;
        s.apply(
            &manifest::pod(&name, &[name.as_str()], "true")
                .set("/spec/containers/0/lifecycle", serde_json::Value::Null),
        )
        .await?;
    }
    let within = async || -> Result<usize> {
        let mut volumes = 0;
        for (node, limit) in NODES.iter().zip(&limits) {
            let promised = committed(s, node).await?;
            volumes += usize::try_from(promised / (EACH * GIB))?;
            ensure!(promised <= *limit, "{node} has promised {promised} of {limit} bytes");
        }
        Ok(volumes)
    };
    let deadline = tokio::time::Instant::now() + SOON;
    // Looked at all the time, and not only at the end.
    while within().await? < fit {
        ensure!(
            tokio::time::Instant::now() < deadline,
            "{} of {fit} volumes after {} s",
            within().await?,
            SOON.as_secs()
        );
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    s.same("volumes made", within().await?, fit)?;
    let claims = s.claims().await?;
    let count = |phase: &str| claims.iter().filter(|claim| claim.phase == phase).count();
    s.same("claims that are bound", count("Bound"), fit)?;
    s.same("claims that wait", count("Pending"), CLAIMS - fit)?;
    let waiting = claims
        .iter()
        .find(|claim| claim.phase == "Pending")
        .map(|claim| claim.name.as_str())
        .unwrap_or_default();
    let event = s.event(waiting, "did not have enough free storage").await?;
    s.saw(format!("{waiting} waits: {event}"));
    for node in NODES {
        s.saw(format!("{node} has promised {} GiB", committed(s, node).await? / GIB));
    }
    Ok(())
}
