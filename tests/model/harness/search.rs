//! Trying one history after the other for as long as the budget lasts, and making one that fails as
//! short as it gets.

use std::time::{Duration, Instant};

use super::concurrent::{self, Plan};
use super::generate::Generator;
use super::history::{Event, history};
use super::sequence;
use super::tally::Tally;
use super::world::World;
use crate::common::isolated::figure;

/// Events of a history.
const LENGTH: usize = 40;
/// How long to look for a shorter history that fails too.
const SHRINKING: Duration = Duration::from_secs(120);
/// How often calls at once are tried again before they count as good.
const TRIES: usize = 12;

/// `BERTH_TEST_SEED`: the seed of the first history; each further one has the next.
fn first_seed() -> u64 {
    std::env::var("BERTH_TEST_SEED").map_or(0xbe47, |text| text.parse().expect("BERTH_TEST_SEED is a number"))
}

/// `BERTH_TEST_SECONDS`: how long each test looks for histories that fail.
fn budget(usual: u64) -> Duration {
    let told = std::env::var("BERTH_TEST_SECONDS").ok();
    Duration::from_secs(told.map_or(usual, |text| text.parse().expect("BERTH_TEST_SECONDS is a number")))
}

/// Histories of one client.
pub async fn one_after_the_other(world: &mut World, usual: u64) {
    let (since, mut tally) = (Instant::now(), Tally::default());
    for seed in first_seed().. {
        let events = history(&mut Generator::new(seed, world.has_disk()), LENGTH);
        if let Err(failure) = sequence::run(world, &events, &mut tally).await {
            eprintln!("the agent's log:\n{}", world.log());
            let (events, failure) = shrink_history(world, events, failure).await;
            let lines: Vec<_> = events.iter().map(|event| format!("  {event:?}")).collect();
            let (history, last) = (lines.join("\n"), failure.at + 1);
            panic!(
                "BERTH_TEST_SEED={seed} finds this history:\n{history}\nand after its event {last}:\n{}",
                failure.what
            );
        }
        tally.histories += 1;
        if since.elapsed() > budget(usual) {
            break;
        }
    }
    figure(&format!("{}, one client, {:?}: {tally}", world.name(), since.elapsed()));
}

/// Histories of several clients at once.
pub async fn at_once(world: &mut World, usual: u64) {
    let (since, mut tally) = (Instant::now(), Tally::default());
    for seed in first_seed().. {
        let plan = Plan::random(&mut Generator::new(seed, world.has_disk()));
        if let Err(failure) = concurrent::run(world, &plan, &mut tally).await {
            let (plan, failure) = shrink_plan(world, plan, failure).await;
            panic!("BERTH_TEST_SEED={seed} finds this plan:\n{plan:#?}\nwith which\n{failure}");
        }
        tally.histories += 1;
        if since.elapsed() > budget(usual) {
            break;
        }
    }
    figure(&format!(
        "{}, clients at once, {:?}: {tally}",
        world.name(),
        since.elapsed()
    ));
}

/// Takes events out as long as what is left fails too.
async fn shrink_history(
    world: &mut World,
    mut events: Vec<Event>,
    mut failure: sequence::Failure,
) -> (Vec<Event>, sequence::Failure) {
    let since = Instant::now();
    events.truncate(failure.at + 1);
    let mut piece = events.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < events.len() && since.elapsed() < SHRINKING {
            let mut fewer = events.clone();
            fewer.drain(at..events.len().min(at + piece));
            match sequence::run(world, &fewer, &mut Tally::default()).await {
                Err(still) => {
                    fewer.truncate(still.at + 1);
                    (events, failure) = (fewer, still);
                }
                Ok(()) => at += piece,
            }
        }
        piece /= 2;
    }
    (events, failure)
}

/// Takes calls out as long as what is left fails too, at least now and then.
async fn shrink_plan(world: &mut World, mut plan: Plan, mut failure: String) -> (Plan, String) {
    let since = Instant::now();
    let mut at = 0;
    while let Some(fewer) = without(&plan, at)
        && since.elapsed() < SHRINKING
    {
        let mut still = None;
        for _ in 0..TRIES {
            still = concurrent::run(world, &fewer, &mut Tally::default()).await.err();
            if still.is_some() {
                break;
            }
        }
        match still {
            Some(still) => (plan, failure) = (fewer, still),
            None => at += 1,
        }
    }
    (plan, failure)
}

/// The plan without its `at`-th step.
fn without(plan: &Plan, mut at: usize) -> Option<Plan> {
    let mut fewer = plan.clone();
    for steps in std::iter::once(&mut fewer.before).chain(&mut fewer.clients) {
        if at < steps.len() {
            steps.remove(at);
            return Some(fewer);
        }
        at -= steps.len();
    }
    None
}
