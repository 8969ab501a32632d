//! Whole lifecycles, from CreateVolume to DeleteVolume.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::{
    Effort,
    agent::{Agent, Site},
    bare::BarePool,
    client::{Client, volume_name},
    figures::{Report, Sample, Target, median, millis, range},
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

/// Measures lifecycles one by one and with 8 in flight, each beside the bare system calls and those behind gRPC, in turns.
pub async fn measure(
    scratch: &Scratch,
    site: &Site,
    floor_sites: &[Site; 2],
    effort: Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    let agent = Agent::start(site).await?;
    let channel = agent.channel();
    let [here, handing_over] = floor_sites;
    let floors = (Agent::start(here).await?, Agent::start(handing_over).await?);
    let pool = Arc::new(BarePool::new(&scratch.root().join("lifecycle/bare"))?);
    round(site, channel, 1, WARM_UP).await?;
    round(here, floors.0.channel(), 1, WARM_UP).await?;
    round(handing_over, floors.1.channel(), 1, WARM_UP).await?;
    bare(&pool, site, 1, WARM_UP).await?;
    let (mut one_by_one, mut eight) = (Rounds::default(), Rounds::default());
    let (mut empty_one, mut empty_eight) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        for (in_flight, rounds, floor_site, floor) in [
            (1, &mut one_by_one, here, &floors.0),
            (8, &mut eight, handing_over, &floors.1),
        ] {
            let lifecycles = effort.operations(in_flight);
            scratch.settle()?;
            rounds.bare.push(bare(&pool, site, in_flight, lifecycles).await?);
            scratch.settle()?;
            let served = round(floor_site, floor.channel(), in_flight, lifecycles).await?;
            rounds.floor.push(served.whole);
            scratch.settle()?;
            rounds.agent.push(round(site, channel, in_flight, lifecycles).await?);
        }
        empty_one.push(empty_calls(channel, 1, effort.operations(1)).await?);
        empty_eight.push(empty_calls(channel, 8, effort.operations(8)).await?);
    }
    one_by_one.report(report, "one by one", ONE_BY_ONE);
    eight.report(report, "8 in flight", EIGHT_IN_FLIGHT);
    report.note(
        "  an empty call, one by one / 8 in flight",
        format!("{} / {}", millis(median(empty_one)), millis(median(empty_eight))),
    );
    for (index, call) in CALLS.iter().enumerate() {
        let p50 = |rounds: &Rounds| {
            median(
                rounds
                    .agent
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

/// Returns the p50 of calls that ask for nothing: what gRPC and the scheduler cost by themselves.
async fn empty_calls(channel: &Channel, in_flight: usize, calls: usize) -> anyhow::Result<f64> {
    let (latencies, elapsed) = drive(channel, in_flight, vec![(); calls], |mut client, ()| async move {
        let started = Instant::now();
        client.ping().await?;
        Ok(started.elapsed())
    })
    .await?;
    Ok(Sample::new(latencies, elapsed).p50)
}

/// What one round of lifecycles took, as a whole and call by call.
struct Round {
    whole: Sample,
    calls: Vec<Sample>,
}

async fn round(site: &Site, channel: &Channel, in_flight: usize, lifecycles: usize) -> anyhow::Result<Round> {
    let berths = prepare(site, lifecycles)?;
    let (latencies, elapsed) = drive(channel, in_flight, berths.clone(), live).await?;
    clear(&berths)?;
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

/// Lives so many lifetimes by bare system calls, with no agent and no gRPC in between.
async fn bare(pool: &Arc<BarePool>, site: &Site, in_flight: usize, lifecycles: usize) -> anyhow::Result<Sample> {
    let pool = Arc::clone(pool);
    let berths = prepare(site, lifecycles)?;
    let work = {
        let berths = berths.clone();
        tokio::task::spawn_blocking(move || pool.lifecycles(in_flight, berths))
    };
    let sample = work.await.context("the bare lifecycles")??;
    clear(&berths)?;
    Ok(sample)
}

/// The rounds with so many in flight, of all three.
#[derive(Default)]
struct Rounds {
    bare: Vec<Sample>,
    floor: Vec<Sample>,
    agent: Vec<Round>,
}

impl Rounds {
    fn report(&self, report: &mut Report, how: &str, target: Target) {
        let agent: Vec<Sample> = self.agent.iter().map(|round| round.whole).collect();
        let sample = Sample::median(&agent);
        report.note(
            format!("bare lifecycles, {how}"),
            Sample::median(&self.bare).to_string(),
        );
        report.note(
            format!("bare lifecycles behind gRPC, {how}"),
            Sample::median(&self.floor).to_string(),
        );
        report.judge(
            format!("lifecycles, {how}"),
            sample.to_string(),
            sample.per_second,
            target,
        );
        for (what, others) in [("bare", &self.bare), ("bare behind gRPC", &self.floor)] {
            let ratios: Vec<f64> = others
                .iter()
                .zip(&agent)
                .map(|(other, agent)| agent.p50 / other.p50)
                .collect();
            let (least, most) = range(&ratios);
            report.note(
                format!("  lifecycle p50 / {what} p50, {how}"),
                format!("{:.2} ({least:.2} to {most:.2})", median(ratios.iter().copied())),
            );
        }
    }
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

fn prepare(site: &Site, lifecycles: usize) -> anyhow::Result<Vec<Berth>> {
    (0..lifecycles).map(|_| Berth::prepare(site)).collect()
}

fn clear(berths: &[Berth]) -> anyhow::Result<()> {
    berths.iter().try_for_each(Berth::clear)
}

/// A volume to be, and the kubelet's directories for it.
#[derive(Clone)]
pub struct Berth {
    pub name: String,
    pub staging: PathBuf,
    pub target: PathBuf,
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
