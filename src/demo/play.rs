//! The play: what happens to a StatefulSet in its life, and that its volumes come through it.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::cluster::Cluster;
use super::manifest::StatefulSet;
use super::report::{Report, conclude};
use super::scratch::Scratch;
use super::script;

/// What one StatefulSet may take; it takes a second or two.
const TIME_PER_SET: Duration = Duration::from_secs(10);

/// Plays the life of every StatefulSet on an agent of its own; fails if one byte or path differs.
pub async fn perform(scratch: &Scratch, sets: &[StatefulSet], report: Report) -> Result<()> {
    let started = Instant::now();
    let mut cluster = Cluster::start(scratch).await?;
    report.step("the agent is ready on an empty pool", started.elapsed());
    let played = bounded(act(&mut cluster, sets, report), sets.len()).await;
    let inspections = cluster.inspect();
    let played = match played {
        Ok(()) => bounded(clean_up(&mut cluster, sets, report), sets.len()).await,
        failed => failed,
    };
    report.table(&inspections, &scratch.pool());
    let concluded = played.and_then(|()| conclude(&inspections).map_err(anyhow::Error::msg));
    if concluded.is_err() {
        eprintln!("\nThe agent's last words:\n{}\n", cluster.agent.last_words());
    }
    println!("\n{}; {} ms in total", concluded?, started.elapsed().as_millis());
    Ok(())
}

/// Ends the play when time is up, or when the person has had enough.
async fn bounded(play: impl Future<Output = Result<()>>, sets: usize) -> Result<()> {
    let limit = TIME_PER_SET * u32::try_from(sets).unwrap_or(u32::MAX);
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let play = pin!(timeout(limit, play));
    tokio::select! {
        played = play => played.unwrap_or_else(|_| {
            bail!("not done after {} s: is the temporary directory on a slow disk? TMPDIR chooses another", limit.as_secs())
        }),
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
}

async fn act(cluster: &mut Cluster<'_>, sets: &[StatefulSet], report: Report) -> Result<()> {
    make_room(cluster, sets, report).await?;
    for set in sets {
        live(cluster, set, report).await?;
    }
    Ok(())
}

/// Lets the agent promise more than a small temporary file system has: the demo writes next to nothing.
async fn make_room(cluster: &mut Cluster<'_>, sets: &[StatefulSet], report: Report) -> Result<()> {
    let asked = sets.iter().map(most_bytes).fold(0, i64::saturating_add);
    let free = cluster.driver.capacity().await?;
    if asked <= free {
        return Ok(());
    }
    let ratio = (asked / free.max(1)).saturating_add(1).saturating_mul(2);
    cluster.agent.stop().await?;
    cluster.agent.overcommit(ratio);
    cluster.driver = cluster.agent.start().await?;
    report.note(&format!(
        "the claims add up to {} MiB and {} MiB are free: the agent runs with --overcommit {ratio}.0",
        asked >> 20,
        free >> 20
    ));
    Ok(())
}

/// What all claims of a StatefulSet add up to when it is at its largest, one pod above its replicas.
fn most_bytes(set: &StatefulSet) -> i64 {
    let pods = i64::try_from(set.replicas).unwrap_or(i64::MAX).saturating_add(1);
    let templates = set.templates.iter().map(|template| template.bytes);
    templates.fold(0, i64::saturating_add).saturating_mul(pods)
}

/// Plays the life of one StatefulSet, and looks at every claim after each act.
async fn live(cluster: &mut Cluster<'_>, set: &StatefulSet, report: Report) -> Result<()> {
    for act in script::life(set.replicas) {
        let title = act.title(set);
        let started = Instant::now();
        let done = act.perform(cluster, set).await;
        // Reading every byte back is the demo's work, not the driver's.
        let took = started.elapsed();
        let claims = match &done {
            Ok(_) => cluster.verify().await,
            Err(_) => Ok(0),
        };
        match (done, claims) {
            (Ok(detail), Ok(claims)) => {
                let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
                report.step(&format!("{title}{detail} [{claims} claims intact]"), took);
            }
            (Err(error), _) | (_, Err(error)) => {
                report.failed(&title, took);
                return Err(error.context(title));
            }
        }
    }
    Ok(())
}

async fn clean_up(cluster: &mut Cluster<'_>, sets: &[StatefulSet], report: Report) -> Result<()> {
    let started = Instant::now();
    let title = "pods and volumes deleted, agent stopped";
    cluster
        .clean_up(sets)
        .await
        .inspect_err(|_| report.failed(title, started.elapsed()))
        .context(title)?;
    report.step(title, started.elapsed());
    Ok(())
}
