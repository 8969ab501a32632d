//! Scenarios of Berth on a real Kubernetes.
//!
//!     scenarios                  run all of them
//!     scenarios NAME...          run those whose name or theme begins so
//!     scenarios --list           say which there are
//!
//! It runs in the cluster's network (`tests/e2e/cluster run`), which `tests/e2e/run` does.

mod clients;
mod cluster;
mod manifest;
mod scenario;
mod scene;
mod schedule;
mod themes;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kube::Client;

use scenario::Scenario;
use schedule::Outcome;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for scenario in themes::all() {
            println!("{:<12} {:<28} {}", scenario.theme(), scenario.name(), scenario.shows);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&arguments)?;
    // Scenarios wait for the cluster nearly all the time: one thread carries them all.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcomes = tokio::task::LocalSet::new().block_on(&runtime, run(chosen))?;
    Ok(if outcomes.iter().all(|outcome| outcome.error.is_none()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn choose(wanted: &[String]) -> Result<Vec<&'static Scenario>> {
    let begins = |scenario: &Scenario, with: &String| {
        scenario.name().starts_with(with.as_str()) || scenario.theme().starts_with(with.as_str())
    };
    for name in wanted {
        let known = themes::all().any(|scenario| begins(scenario, name));
        ensure!(known, "there is no scenario {name}; --list says which there are");
    }
    let chosen = |scenario: &&Scenario| wanted.is_empty() || wanted.iter().any(|name| begins(scenario, name));
    Ok(themes::all().filter(chosen).collect())
}

async fn run(chosen: Vec<&'static Scenario>) -> Result<Vec<Outcome>> {
    let begun = Instant::now();
    let client = Client::try_default().await?;
    let version = client.apiserver_version().await.context("there is no cluster")?;
    println!("{} scenarios on Kubernetes {}", chosen.len(), version.git_version);
    let outcomes = schedule::run(client, chosen, begun).await;
    print_table(&outcomes, begun);
    Ok(outcomes)
}

fn print_table(outcomes: &[Outcome], begun: Instant) {
    println!();
    for outcome in outcomes {
        let verdict = if outcome.error.is_none() { "passed" } else { "FAILED" };
        let (seconds, scenario) = (outcome.took.as_secs_f32(), outcome.scenario);
        println!(
            "{verdict}  {seconds:>6.1} s  {:<12} {}",
            scenario.theme(),
            scenario.name()
        );
    }
    let failed = outcomes.iter().filter(|outcome| outcome.error.is_some()).count();
    println!(
        "\n{} scenarios ran, {} passed, {failed} failed, in {:.0} s",
        outcomes.len(),
        outcomes.len() - failed,
        begun.elapsed().as_secs_f32()
    );
}
