//! The agent with thousands of volumes: its memory, and the time that it takes to start.

use std::time::Duration;

use anyhow::ensure;

use crate::{
    Effort,
    agent::{Agent, Memory, Site, drop_caches},
    client::{Client, volume_name},
    figures::{Report, Target, median, millis, range},
    load,
};

/// Which of the two to report.
#[derive(Clone, Copy)]
pub struct Parts {
    pub memory: bool,
    pub start: bool,
}

const IDLE: Target = Target::AtMost(12.0, " MiB");
const SOME: (usize, Target) = (3_000, Target::AtMost(16.0, " MiB"));
const MANY: (usize, Target) = (10_000, Target::AtMost(32.0, " MiB"));
const READY: Target = Target::AtMost(1000.0, " ms");

const IN_FLIGHT: usize = 64;
/// Long enough for what a call leaves to do after its answer.
const SETTLE: Duration = Duration::from_secs(1);

/// Fills a pool step by step, then kills the agent and starts it again and again.
pub async fn measure(site: &Site, parts: Parts, effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let agent = Agent::start(site).await?;
    let mut memory = |figure: &str, agent: &Agent, target| -> anyhow::Result<()> {
        if parts.memory {
            report_memory(report, figure, &agent.memory()?, target);
        }
        Ok(())
    };
    tokio::time::sleep(SETTLE).await;
    memory("memory, idle", &agent, IDLE)?;
    fill(&agent, SOME.0).await?;
    memory("memory, 3,000 volumes", &agent, SOME.1)?;
    fill(&agent, MANY.0 - SOME.0).await?;
    memory("memory, 10,000 volumes", &agent, MANY.1)?;
    agent.kill();

    // Also part of memory: an agent that read its volumes need not hold what one that created them does.
    let (mut warm, mut cold) = (Vec::new(), Vec::new());
    let rounds = if parts.start { effort.rounds } else { 1 };
    for round in 0..rounds {
        let agent = Agent::start(site).await?;
        warm.push(agent.ready_after.as_secs_f64());
        if round == 0 {
            tokio::time::sleep(SETTLE).await;
            memory("memory, 10,000 volumes, after a start", &agent, MANY.1)?;
        }
        check_volumes(&agent).await?;
        agent.kill();
        if parts.start {
            drop_caches()?;
            let agent = Agent::start(site).await?;
            cold.push(agent.ready_after.as_secs_f64());
            check_volumes(&agent).await?;
        }
    }
    if parts.start {
        report_start(report, "start to ready, 10,000 volumes, caches warm", &warm);
        report_start(report, "start to ready, 10,000 volumes, caches cold", &cold);
    }
    Ok(())
}

async fn fill(agent: &Agent, volumes: usize) -> anyhow::Result<()> {
    let channel = agent.channel();
    let names = (0..volumes).map(|_| volume_name()).collect();
    load::create(channel, IN_FLIGHT, names).await?;
    tokio::time::sleep(SETTLE).await;
    Ok(())
}

/// Makes sure that an agent that called itself ready serves them all.
async fn check_volumes(agent: &Agent) -> anyhow::Result<()> {
    let count = Client::new(agent.channel().clone()).count().await?;
    ensure!(
        count == MANY.0,
        "{count} volumes are listed after a start, not {}",
        MANY.0
    );
    Ok(())
}

fn report_memory(report: &mut Report, figure: &str, memory: &Memory, target: Target) {
    let Memory { resident, proportional } = *memory;
    let measured = format!("{resident:.1} MiB resident (Pss {proportional:.1})");
    report.judge(figure, measured, resident, target);
}

fn report_start(report: &mut Report, figure: &str, seconds: &[f64]) {
    let (least, most) = range(seconds);
    let seconds = median(seconds.iter().copied());
    let measured = format!("{} ({} to {})", millis(seconds), millis(least), millis(most));
    report.judge(figure, measured, seconds * 1e3, READY);
}
