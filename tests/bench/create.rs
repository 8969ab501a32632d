//! CreateVolume over the socket, beside the bare system calls of a durable create on the same file system.

use std::sync::Arc;

use anyhow::Context;
use tonic::transport::Channel;

use crate::{
    Effort,
    agent::{Agent, Site},
    bare::BarePool,
    client::volume_name,
    figures::{Report, Sample, Target, median, range},
    load,
    scratch::Scratch,
};

const IN_FLIGHT: [usize; 2] = [1, 64];
const RATIO: Target = Target::AtMost(1.5, "");
const WARM_UP: usize = 200;

/// Measures the bare system calls alone.
pub async fn measure_bare(scratch: &Scratch, effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let pool = Arc::new(BarePool::new(&scratch.root().join("bare"))?);
    bare(&pool, 1, WARM_UP).await?;
    let mut rounds: [Vec<Sample>; 2] = Default::default();
    for _ in 0..effort.rounds {
        for (in_flight, rounds) in IN_FLIGHT.into_iter().zip(&mut rounds) {
            scratch.settle()?;
            rounds.push(bare(&pool, in_flight, effort.operations(in_flight)).await?);
        }
    }
    for (in_flight, rounds) in IN_FLIGHT.into_iter().zip(&rounds) {
        report_bare(report, in_flight, rounds);
    }
    Ok(())
}

/// Measures both in interleaved rounds, so that noise hits both alike, and neither is deleted from in between.
pub async fn measure(scratch: &Scratch, site: &Site, effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let pool = Arc::new(BarePool::new(&scratch.root().join("create/bare"))?);
    let agent = Agent::start(site).await?;
    let channel = agent.channel();
    bare(&pool, 1, WARM_UP).await?;
    over_socket(channel, 1, WARM_UP).await?;

    let mut rounds: [Vec<Pair>; 2] = Default::default();
    for round in 0..effort.rounds {
        for (in_flight, rounds) in IN_FLIGHT.into_iter().zip(&mut rounds) {
            let operations = effort.operations(in_flight);
            // Who goes first takes turns, as a disk may slow down for the second.
            let bare_first = round % 2 == 0;
            let mut floor = None;
            if bare_first {
                scratch.settle()?;
                floor = Some(bare(&pool, in_flight, operations).await?);
            }
            scratch.settle()?;
            let socket = over_socket(channel, in_flight, operations).await?;
            let bare = match floor {
                Some(floor) => floor,
                None => {
                    scratch.settle()?;
                    bare(&pool, in_flight, operations).await?
                }
            };
            rounds.push(Pair { bare, socket });
        }
    }
    for (in_flight, rounds) in IN_FLIGHT.into_iter().zip(&rounds) {
        report_pair(report, in_flight, rounds);
    }
    Ok(())
}

/// One round of both.
struct Pair {
    bare: Sample,
    socket: Sample,
}

async fn bare(pool: &Arc<BarePool>, in_flight: usize, operations: usize) -> anyhow::Result<Sample> {
    let pool = Arc::clone(pool);
    let work = tokio::task::spawn_blocking(move || pool.creates(in_flight, operations));
    work.await.context("the bare create")?
}

async fn over_socket(channel: &Channel, in_flight: usize, operations: usize) -> anyhow::Result<Sample> {
    let names = (0..operations).map(|_| volume_name()).collect();
    let (latencies, elapsed) = load::create(channel, in_flight, names).await?;
    Ok(Sample::new(latencies, elapsed))
}

fn report_bare(report: &mut Report, in_flight: usize, rounds: &[Sample]) {
    let figure = format!("bare durable create, {in_flight} in flight");
    report.note(figure, Sample::median(rounds).to_string());
}

fn report_pair(report: &mut Report, in_flight: usize, rounds: &[Pair]) {
    let bare: Vec<Sample> = rounds.iter().map(|round| round.bare).collect();
    let socket: Vec<Sample> = rounds.iter().map(|round| round.socket).collect();
    let ratios: Vec<f64> = rounds.iter().map(|round| round.socket.p50 / round.bare.p50).collect();
    let ratio = median(ratios.iter().copied());
    let (least, most) = range(&ratios);
    report_bare(report, in_flight, &bare);
    report.note(
        format!("CreateVolume, {in_flight} in flight"),
        Sample::median(&socket).to_string(),
    );
    report.judge(
        format!("CreateVolume p50 / bare p50, {in_flight} in flight"),
        format!("{ratio:.2} ({least:.2} to {most:.2})"),
        ratio,
        RATIO,
    );
}
