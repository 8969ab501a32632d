//! Several clients at once, and whether some legal order of their calls explains what they saw and
//! what is there in the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tonic::Code;

use super::caller::Caller;
use super::generate::Generator;
use super::legal::{Call, ends};
use super::reference::Model;
use super::settle::settle;
use super::step::{Access, Answer, Creation, Mode, Site, Step, Which};
use super::tally::Tally;
use super::world::{CAPACITY, World};

const CLIENTS: usize = 4;
/// Calls of each client at most.
const CALLS: u64 = 7;
/// Calls before.
const BEFORE: usize = 4;

/// What several clients are to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// One after the other, before the clients begin.
    pub before: Vec<Step>,
    pub clients: Vec<Vec<Step>>,
    /// SIGKILL so long after their beginning.
    pub kill: Option<Duration>,
}

impl Plan {
    pub fn random(generator: &mut Generator) -> Self {
        generator.names = 2;
        let mut plan = match generator.random.within(0..4) {
            0 => Self::collision(generator, false, |name| Step::Create(creation(name, 16))),
            1 if generator.mounts => Self::collision(generator, true, |name| Step::Stage {
                id: Which::Of { name, attempt: 0 },
                staging: Site::Staging(0),
                access: Access::new(Mode::SingleNodeWriter),
            }),
            _ => Self::medley(generator),
        };
        for client in &mut plan.clients {
            client.extend((0..generator.random.within(1..CALLS)).map(|_| step(generator)));
        }
        let kill = generator.random.once_in(3);
        let after = Duration::from_micros(generator.random.within(200..12_000));
        plan.kill = kill.then_some(after);
        plan
    }

    /// All want the same at the same moment, for one of two volumes, which are there or not.
    fn collision(generator: &mut Generator, are_there: bool, wanted: impl Fn(usize) -> Step) -> Self {
        let before = (0..2).filter(|_| are_there).map(|name| Step::Create(creation(name, 4)));
        let first = generator.random.within(0..2) as usize;
        Self {
            before: before.collect(),
            clients: (0..CLIENTS).map(|client| vec![wanted((client + first) % 2)]).collect(),
            kill: None,
        }
    }

    /// Whatever comes, on volumes of which some are staged.
    fn medley(generator: &mut Generator) -> Self {
        let mut before = Vec::new();
        for name in 0..generator.random.within(0..3) as usize {
            before.extend(staged(name, generator.mounts));
        }
        before.extend((0..BEFORE).map(|_| with_own_claim(generator.step())));
        Self {
            before,
            clients: vec![Vec::new(); CLIENTS],
            kill: None,
        }
    }
}

fn creation(name: usize, required: u64) -> Creation {
    Creation {
        name,
        required,
        limit: 0,
        accesses: vec![Access::new(Mode::SingleNodeWriter)],
        class: 0,
        claim: None,
        flaw: None,
    }
}

/// A volume that is staged where its calls go most often.
fn staged(name: usize, mounts: bool) -> Vec<Step> {
    let mut steps = vec![Step::Create(creation(name, 4))];
    if mounts {
        let (id, staging) = (Which::Of { name, attempt: 0 }, Site::Staging(name as u8));
        let access = Access::new(Mode::SingleNodeWriter);
        steps.push(Step::Stage { id, staging, access });
    }
    steps
}

/// A step that takes effect at one moment.
fn step(generator: &mut Generator) -> Step {
    loop {
        match generator.step() {
            Step::Write { .. } | Step::Obstruct(_) | Step::BadToken => {}
            Step::List(_) => return Step::List(0),
            step => return with_own_claim(step),
        }
    }
}

/// Which of several volumes of one claim its link leads to is no matter of calls at once.
fn with_own_claim(mut step: Step) -> Step {
    if let Step::Create(creation) = &mut step {
        creation.claim = creation.claim.map(|_| creation.name);
    }
    step
}

/// Carries out a plan on a new pool.
pub async fn run(world: &mut World, plan: &Plan, tally: &mut Tally) -> Result<(), String> {
    world.renew().await;
    let mut model = Model::new(CAPACITY);
    for step in &plan.before {
        let answer = world.caller().perform(step).await;
        let right = model.take(step);
        if answer != right {
            return Err(format!("before: {step:?} is answered {answer:?} instead of {right:?}"));
        }
        model = settle(world, vec![model]).await?;
    }
    let calls = at_once(world, plan).await;
    for call in &calls {
        tally.count(&call.answer);
    }
    let told: Vec<_> = calls.iter().filter(|call| !was_busy(call, &calls)).cloned().collect();
    let mut ends = ends(&model, &told);
    if ends.is_empty() {
        return Err(format!("no order explains\n{}", shown(&calls)));
    }
    if plan.kill.is_some() {
        tally.kills += 1;
        world.stop();
        world.clear_obstacles();
        let times = world.times();
        world.start().await;
        let restarted = |mut model: Model| {
            model.learn(&times);
            model.restart();
            model
        };
        ends = ends.into_iter().map(restarted).collect();
        // A call that was cut off may have left the directory that it made or unmounted.
        for site in calls
            .iter()
            .filter(|call| call.end.is_none())
            .filter_map(|call| call.step.site())
        {
            let halves: Vec<_> = ends.iter().map(|end| end.with_directory_at(site)).collect();
            ends.extend(halves);
        }
    }
    let end = settle(world, ends.into_iter().collect()).await;
    let mut end = end.map_err(|difference| format!("{}\nend in\n{difference}", shown(&calls)))?;
    // No promise is left over.
    let capacity = Step::Capacity { here: true };
    let (answer, right) = (world.caller().perform(&capacity).await, end.take(&capacity));
    match answer == right {
        true => Ok(()),
        false => Err(format!("{}\nend with {answer:?} instead of {right:?}", shown(&calls))),
    }
}

async fn at_once(world: &mut World, plan: &Plan) -> Vec<Call> {
    let barrier = Arc::new(Barrier::new(plan.clients.len() + 1));
    let mut clients = tokio::task::JoinSet::new();
    for (client, steps) in plan.clients.iter().cloned().enumerate() {
        let (caller, barrier) = (world.another_caller().await, barrier.clone());
        clients.spawn(async move {
            barrier.wait().await;
            one(client, &caller, steps).await
        });
    }
    barrier.wait().await;
    if let Some(after) = plan.kill {
        tokio::time::sleep(after).await;
        world.stop();
    }
    let mut calls: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    calls.sort_by_key(|call| call.begin);
    calls
}

/// The calls of one client, up to the one that is not answered.
async fn one(client: usize, caller: &Caller, steps: Vec<Step>) -> Vec<Call> {
    let mut calls = Vec::new();
    for step in steps {
        let begin = Instant::now();
        let answer = caller.perform(&step).await;
        let end = (answer != Answer::Lost).then(Instant::now);
        calls.push(Call {
            client,
            step,
            answer,
            begin,
            end,
        });
        if end.is_none() {
            break;
        }
    }
    calls
}

/// Whether a call was told that somebody else is at it, and so has done nothing. NodeGetVolumeStats
/// takes no lock: while it looks at a mount, that cannot be taken off.
fn was_busy(call: &Call, all: &[Call]) -> bool {
    let looks_at = |other: &Call, site: Site| {
        matches!(other.step, Step::Stats { path, .. } if path == site) && other.overlaps(call)
    };
    match (&call.answer, &call.step) {
        (Answer::Refused(Code::Aborted), _) => true,
        (
            Answer::Refused(Code::FailedPrecondition),
            Step::Unpublish { target: site, .. } | Step::Unstage { staging: site, .. },
        ) => all.iter().any(|other| looks_at(other, *site)),
        _ => false,
    }
}

/// The calls with their beginnings and ends in microseconds.
fn shown(calls: &[Call]) -> String {
    let Some(first) = calls.first() else {
        return String::new();
    };
    let since = |moment: Instant| moment.duration_since(first.begin).as_micros();
    let line = |call: &Call| {
        let end = call.end.map_or("never".to_owned(), |end| since(end).to_string());
        let Call {
            client, step, answer, ..
        } = call;
        format!(
            "  client {client}, {} to {end}: {step:?} is answered {answer:?}",
            since(call.begin)
        )
    };
    calls.iter().map(line).collect::<Vec<_>>().join("\n")
}
