//! Whole lifecycles, from CreateVolume to DeleteVolume.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::{
    Effort,
    agent::{Agent, Site},
    client::{Client, volume_name},
    figures::{Report, Sample, Target, median, millis},
    load::drive,
    scratch::Scratch,
};

const CALLS: [&str; 7] = [
    "CreateVolume",
    "NodeStageVolume",
    "NodePublishVolume",
    "NodeGetVolumeStats",
    "NodeUnpublishVolume",
    "NodeUnstageVolume",
    "DeleteVolume",
];
const ONE_BY_ONE: Target = Target::AtLeast(600.0, "/s");
const EIGHT_IN_FLIGHT: Target = Target::AtLeast(1500.0, "/s");
const WARM_UP: usize = 50;

/// Measures lifecycles one by one and with 8 in flight, in turns.
pub async fn measure(scratch: &Scratch, site: &Site, effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let agent = Agent::start(site).await?;
    let channel = agent.channel();
    round(site, channel, 1, WARM_UP).await?;
    let (mut one_by_one, mut eight) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        scratch.settle()?;
        one_by_one.push(round(site, channel, 1, effort.operations(1)).await?);
        scratch.settle()?;
        eight.push(round(site, channel, 8, effort.operations(8)).await?);
    }
    report_rounds(report, "one by one", &one_by_one, ONE_BY_ONE);
    report_rounds(report, "8 in flight", &eight, EIGHT_IN_FLIGHT);
    for (index, call) in CALLS.iter().enumerate() {
        let p50 = |rounds: &[Round]| {
            median(
                rounds
                    .iter()
                    .filter_map(|round| round.calls.get(index))
                    .map(|call| call.p50),
            )
        };
        let (one, eight) = (p50(&one_by_one), p50(&eight));
        report.note(
            format!("  {call} p50, one by one / 8 in flight"),
            format!("{} / {}", millis(one), millis(eight)),
        );
    }
    Ok(())
}

/// What one round of lifecycles took, as a whole and call by call.
struct Round {
    whole: Sample,
    calls: Vec<Sample>,
}

async fn round(site: &Site, channel: &Channel, in_flight: usize, lifecycles: usize) -> anyhow::Result<Round> {
    let berths: Vec<Berth> = (0..lifecycles)
        .map(|_| Berth::prepare(site))
        .collect::<Result<_, _>>()?;
    let (latencies, elapsed) = drive(channel, in_flight, berths.clone(), live).await?;
    for berth in &berths {
        berth.clear()?;
    }
    let whole = latencies.iter().map(|calls| calls.iter().sum()).collect();
    let calls = (0..CALLS.len()).map(|index| {
        let call = latencies.iter().filter_map(|calls| calls.get(index).copied());
        Sample::new(call.collect(), elapsed)
    });
    Ok(Round {
        whole: Sample::new(whole, elapsed),
        calls: calls.collect(),
    })
}

fn report_rounds(report: &mut Report, how: &str, rounds: &[Round], target: Target) {
    let rounds: Vec<Sample> = rounds.iter().map(|round| round.whole).collect();
    let sample = Sample::median(&rounds);
    report.judge(
        format!("lifecycles, {how}"),
        sample.to_string(),
        sample.per_second,
        target,
    );
}

/// Makes the seven calls, and returns what each took.
async fn live(mut client: Client, berth: Berth) -> anyhow::Result<[Duration; 7]> {
    let Berth {
        name, staging, target, ..
    } = &berth;
    let mut watch = Watch(Instant::now());
    let volume = client.create(name).await?;
    let create = watch.lap();
    let (id, context) = (volume.volume_id.as_str(), &volume.volume_context);
    client.stage(id, context, staging).await?;
    let stage = watch.lap();
    client.publish(id, context, staging, target).await?;
    let publish = watch.lap();
    client.stats(id, staging, target).await?;
    let stats = watch.lap();
    client.unpublish(id, target).await?;
    let unpublish = watch.lap();
    client.unstage(id, staging).await?;
    let unstage = watch.lap();
    client.delete(id).await?;
    Ok([create, stage, publish, stats, unpublish, unstage, watch.lap()])
}

/// A stopwatch that starts anew with each lap.
struct Watch(Instant);

impl Watch {
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now))
    }
}

/// A volume to be, and the kubelet's directories for it.
#[derive(Clone)]
struct Berth {
    name: String,
    staging: PathBuf,
    target: PathBuf,
    pod: PathBuf,
}

impl Berth {
    /// Makes what the kubelet makes before it calls: the staging directory, and the parent of the target.
    fn prepare(site: &Site) -> anyhow::Result<Self> {
        let (name, pod) = (volume_name(), Uuid::new_v4().to_string());
        let berth = Self {
            staging: site.staging(&name),
            target: site.target(&pod, &name),
            pod: site.pod(&pod),
            name,
        };
        make(&berth.staging)?;
        make(berth.target.parent().context("the parent of a target")?)?;
        Ok(berth)
    }

    /// Removes the directories, and fails if the agent left anything in them.
    fn clear(&self) -> anyhow::Result<()> {
        ensure!(
            !self.target.exists(),
            "{} is still there after NodeUnpublishVolume",
            self.target.display()
        );
        let staged = self.staging.parent().context("the parent of a staging path")?;
        // One by one and never recursively: a mount left behind has to show.
        remove(&self.staging)?;
        remove(staged)?;
        for parent in self
            .target
            .ancestors()
            .skip(1)
            .take_while(|path| path.starts_with(&self.pod))
        {
            remove(parent)?;
        }
        Ok(())
    }
}

fn make(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))
}

fn remove(directory: &Path) -> anyhow::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}
