//! Which scenarios run side by side, and what is printed of each.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use kube::Client;
use tokio::task::JoinSet;

use crate::cluster;
use crate::scenario::{Scenario, Share};
use crate::scene::Scene;

/// Nothing here takes this long on a machine that is not overloaded.
const LIMIT: Duration = Duration::from_secs(600);

pub struct Outcome {
    pub scenario: &'static Scenario,
    pub took: Duration,
    pub error: Option<anyhow::Error>,
}

/// Runs them in their order, save that a small one does not wait behind a large one.
pub async fn run(client: Client, mut waiting: Vec<&'static Scenario>, begun: Instant) -> Vec<Outcome> {
    let mut running = JoinSet::new();
    let mut outcomes = Vec::new();
    let mut free = Share::Whole as usize;
    loop {
        while let Some(next) = waiting.iter().position(|scenario| scenario.share as usize <= free) {
            let scenario = waiting.remove(next);
            free -= scenario.share as usize;
            running.spawn_local(play(client.clone(), scenario, begun));
        }
        let Some(outcome) = running.join_next().await else {
            return outcomes;
        };
        let outcome = outcome.expect("play catches what can be caught");
        free += outcome.scenario.share as usize;
        outcomes.push(outcome);
    }
}

async fn play(client: Client, scenario: &'static Scenario, begun: Instant) -> Outcome {
    let name = scenario.name();
    let started = Instant::now();
    let scene = Scene::new(client, &name);
    let result = tokio::time::timeout(LIMIT, perform(&scene, scenario)).await;
    let mut error = result
        .unwrap_or_else(|_| Err(anyhow!("not done within {LIMIT:?}")))
        .err();
    if error.is_some()
        && let Err(problem) = cluster::command(&["keep-logs", &name]).await
    {
        scene.saw(format!("its logs could not be kept: {problem:#}"));
    }
    // What a scenario leaves behind is an error of its own, unless there is one already.
    error = error.or(scene.clean_up().await.err());
    let verdict = if error.is_none() { "passed" } else { "FAILED" };
    println!(
        "\n[{:3.0} s] {name}: {}\n{}",
        begun.elapsed().as_secs_f32(),
        scenario.shows,
        scene.evidence()
    );
    if let Some(error) = &error {
        println!("    error: {error:#}");
    }
    let took = started.elapsed();
    println!("    {verdict} after {:.1} s", took.as_secs_f32());
    Outcome { scenario, took, error }
}

async fn perform(scene: &Scene, scenario: &Scenario) -> Result<()> {
    scene.make_namespace().await?;
    (scenario.run)(scene).await
}
