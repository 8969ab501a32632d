//! What happens when the agent is killed at a bad moment.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::yield_now;

use crate::proto::csi::{CreateVolumeRequest, Volume};

use super::claim::Claim;
use super::cluster::{Cluster, workload};
use super::driver::CallError;
use super::manifest::StatefulSet;
use super::workload::Busy;

/// How many files the pod writes before, without and after the agent.
const FILES: usize = 8;
/// How long a request may be sent again until it is answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills the agent while a pod writes; tells what the pod did meanwhile.
pub async fn while_writing(cluster: &mut Cluster<'_>, set: &StatefulSet, ordinal: u64) -> Result<String> {
    let (claim, uid) = cluster.first_claim(set, ordinal)?;
    let claim = claim.clone();
    let target = cluster.kubelet.target(&claim, &uid);
    let mut pod = Busy::start(workload(&claim), target, claim.before.tree.clone());
    let survived = kill_beneath(&mut pod, cluster, &claim, &uid).await;
    let all = pod.written();
    let stopped = pod.stop();
    if let Ok(tree) = &stopped {
        // Also after a failure: what the pod has written is what has to be there.
        cluster.first_claim(set, ordinal)?.0.before.tree = tree.clone();
    }
    let alone = survived?;
    stopped?;
    Ok(format!("{all} files, {alone} of them without an agent"))
}

/// Kills and restarts the agent that made the pod's mount; tells how many files were written in between.
async fn kill_beneath(pod: &mut Busy, cluster: &mut Cluster<'_>, claim: &Claim, uid: &str) -> Result<usize> {
    pod.write_on(FILES).await?;
    cluster.agent.kill()?;
    let before = pod.written();
    pod.write_on(FILES).await?;
    let alone = pod.written() - before;
    cluster.driver = cluster.agent.start().await?;
    // The kubelet asks again, and must not get a second mount on top of the first.
    cluster.kubelet.mount(&cluster.driver, claim, uid).await?;
    pod.write_on(FILES).await?;
    Ok(alone)
}

/// Kills the agent while it makes the next volume of a pod, and sends the same request until it is answered.
pub async fn while_creating(cluster: &mut Cluster<'_>, set: &StatefulSet, ordinal: u64) -> Result<String> {
    let claim = cluster.next_claim(set, ordinal).context("the pod lacks a claim")?;
    let request = claim.request(&cluster.driver);
    let interrupted = kill_during(cluster, &request).await?;
    cluster.driver = cluster.agent.start().await?;
    let (volume, attempts) = converge(cluster, &request).await?;
    let again = cluster.driver.create(&request).await?;
    ensure!(
        again == volume,
        "the same request got another answer: {again:?} after {volume:?}"
    );
    let story = match interrupted {
        Ok(answered) => {
            ensure!(
                answered == volume,
                "acknowledged {answered:?} and forgot it for {volume:?}"
            );
            "it had just answered, and says the same again".to_owned()
        }
        Err(_) => format!("it left no answer, the next one made it on attempt {}", attempts + 1),
    };
    cluster.bind(set, ordinal, claim, volume)?;
    Ok(story)
}

/// Sends a request and kills the agent half of the usual time later, which is in the middle of its work.
async fn kill_during(cluster: &mut Cluster<'_>, request: &CreateVolumeRequest) -> Result<Result<Volume, CallError>> {
    let delay = cluster.usual_create_time() / 2;
    let driver = cluster.driver.clone();
    let call = driver.create(request);
    tokio::pin!(call);
    let started = Instant::now();
    // Timers tick in milliseconds, and a volume may be made in less.
    let moment = async {
        while started.elapsed() < delay {
            yield_now().await;
        }
    };
    let answered = tokio::select! {
        biased;
        answer = &mut call => Some(answer),
        () = moment => None,
    };
    cluster.agent.kill()?;
    Ok(match answered {
        Some(answer) => answer,
        None => call.await,
    })
}

/// Sends a request again and again, as external-provisioner does.
async fn converge(cluster: &Cluster<'_>, request: &CreateVolumeRequest) -> Result<(Volume, usize)> {
    let started = Instant::now();
    for attempt in 1.. {
        match cluster.driver.create(request).await {
            Ok(volume) => return Ok((volume, attempt)),
            Err(error) if error.is_transient() && started.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    unreachable!("the attempts don't end")
}
