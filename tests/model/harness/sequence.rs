//! One history on a real node, checked against the model after every event.

use std::collections::BTreeSet;

use super::caller::tells_of_trouble;
use super::history::{BadDisk, End, Event, Stumble, Then};
use super::reference::Model;
use super::settle::{difference, settle};
use super::step::{Answer, Step, id_of};
use super::tally::Tally;
use super::world::{CAPACITY, World};
use crate::common::tracer::Act;

/// What is wrong, and after which event.
#[derive(Debug)]
pub struct Failure {
    pub at: usize,
    pub what: String,
}

/// Runs a history on a new pool.
pub async fn run(world: &mut World, history: &[Event], tally: &mut Tally) -> Result<(), Failure> {
    world.renew().await;
    let mut run = Run {
        world,
        tally,
        model: Model::new(CAPACITY),
    };
    for (at, event) in history.iter().enumerate() {
        let happened = run.happen(event).await;
        happened.map_err(|what| Failure { at, what })?;
    }
    let all_is_told = run.all_is_told().await;
    all_is_told.map_err(|what| Failure {
        at: history.len(),
        what,
    })
}

struct Run<'a> {
    world: &'a mut World,
    tally: &'a mut Tally,
    model: Model,
}

type Checked<T = ()> = Result<T, String>;

impl Run<'_> {
    async fn happen(&mut self, event: &Event) -> Checked {
        match event {
            Event::Call(step) => {
                let answer = self.call(step).await;
                let right = self.model.take(step);
                same(&answer, &right)?;
                self.settle().await
            }
            Event::OnBadDisk(disk, step) => {
                let answer = match disk {
                    BadDisk::ReadOnly => {
                        self.world.set_read_only(true);
                        let answer = self.call(step).await;
                        self.world.set_read_only(false);
                        answer
                    }
                    BadDisk::Full => {
                        let free = self.world.fill();
                        let answer = self.call(step).await;
                        self.world.empty(free);
                        answer
                    }
                };
                self.tally.faults += 1;
                self.converge(step, &answer, Then::Again).await
            }
            Event::Fault { step, at, fault, then } => {
                self.world.arm(*at, fault.act());
                let answer = self.call(step).await;
                match self.world.disarm() {
                    false => {
                        let right = self.model.take(step);
                        same(&answer, &right)?;
                        self.settle().await
                    }
                    true => {
                        self.tally.faults += 1;
                        self.converge(step, &answer, *then).await
                    }
                }
            }
            Event::Crash {
                step,
                at,
                after,
                stumbles,
            } => self.crash(step, *at, *after, stumbles).await,
            Event::Restart { how, stumbles } => {
                match how {
                    End::Terminate => self.world.terminate(),
                    End::Kill => self.world.stop(),
                    End::Remount => {
                        self.world.stop();
                        self.world.clear_obstacles();
                        self.world.remount();
                    }
                }
                let model = self.model.clone();
                self.revive(stumbles, vec![model]).await
            }
            Event::DiskAway(step) => self.without_disk(step).await,
            Event::Damage(which, damaged) => {
                self.world.stop();
                self.world.damage(*which, *damaged);
                self.model.learn(&self.world.times());
                self.model.damage(*which, *damaged);
                let model = self.model.clone();
                self.revive(&[], vec![model]).await
            }
        }
    }

    async fn call(&mut self, step: &Step) -> Answer {
        let answer = self.world.caller().perform(step).await;
        self.tally.count(&answer);
        answer
    }

    /// What has to hold when something failed in a call: the answer is the right one, and then all is
    /// done, or it tells of the trouble, and then nothing that others see has changed, and the next try
    /// brings it to its end.
    async fn converge(&mut self, step: &Step, answer: &Answer, then: Then) -> Checked {
        let before = self.model.clone();
        let mut after = before.clone();
        let right = after.take(step);
        // The fault may have hit the reaper, who does not come back soon.
        let then = if after.purgeable().is_empty() { then } else { Then::Kill };
        let is_trouble = matches!(answer, Answer::Refused(code) if tells_of_trouble(*code));
        if !is_trouble {
            same(answer, &right)?;
        }
        if *answer == right {
            self.model = after.clone();
        }
        match (then, *answer == right) {
            // The links are for people: a call whose only trouble they are goes well, and the next start
            // makes them good.
            (Then::Again, true) if links_differ(&self.world.lines(), &after.lines()) => {
                self.world.stop();
                self.revive(&[], vec![after]).await
            }
            (Then::Again, true) => self.settle().await,
            (Then::Kill, true) => {
                self.world.stop();
                self.revive(&[], vec![after]).await
            }
            (Then::Again, false) => {
                self.others_are_untouched(step, &before)?;
                self.again(step, vec![before, after]).await
            }
            (Then::Kill, false) => {
                self.world.stop();
                self.revive(&[], halves(step, before, after)).await?;
                let model = self.model.clone();
                self.again(step, vec![model]).await
            }
        }
    }

    /// Sends a request again that failed or was lost; the models are what may be true now.
    async fn again(&mut self, step: &Step, mut models: Vec<Model>) -> Checked {
        self.tally.again += 1;
        let answer = self.call(step).await;
        let rights: Vec<_> = models.iter_mut().map(|model| model.take(step)).collect();
        if !rights.contains(&answer) {
            return Err(format!("sent again, it is answered {answer:?} instead of {rights:?}"));
        }
        let mut fits = rights.iter().map(|right| *right == answer);
        models.retain(|_| fits.next() == Some(true));
        self.settle_as_any(models).await
    }

    async fn crash(&mut self, step: &Step, at: u64, after: bool, stumbles: &[Stumble]) -> Checked {
        let act = if after { Act::KillAfter } else { Act::KillBefore };
        self.world.arm(at, act);
        let answer = self.call(step).await;
        let reached = self.world.disarm();
        let before = self.model.clone();
        let mut after = before.clone();
        let right = after.take(step);
        let was_lost = answer == Answer::Lost && reached;
        if !was_lost {
            same(&answer, &right)?;
        }
        if reached {
            self.tally.kills += 1;
            self.world.bury().await;
        } else {
            self.world.stop();
        }
        if !was_lost {
            return self.revive(stumbles, vec![after]).await;
        }
        self.revive(stumbles, halves(step, before, after)).await?;
        let model = self.model.clone();
        self.again(step, vec![model]).await
    }

    /// Starts the agent again; the models are what may be true now.
    async fn revive(&mut self, stumbles: &[Stumble], mut models: Vec<Model>) -> Checked {
        self.world.clear_obstacles();
        for stumble in stumbles {
            self.tally.stumbles += u64::from(self.world.stumble(stumble.at, stumble.act()).await);
        }
        let times = self.world.times();
        self.world.start().await;
        self.tally.restarts += 1;
        for model in &mut models {
            model.learn(&times);
            model.restart();
        }
        self.settle_as_any(models).await
    }

    /// While the disk is away nothing can be done, and what could not be done anyway is refused.
    async fn without_disk(&mut self, step: &Step) -> Checked {
        if self.model.is_obstructed() {
            return Ok(());
        }
        let answers = self.world.without_disk(std::slice::from_ref(step)).await;
        self.tally.faults += 1;
        let mut after = self.model.clone();
        let right = after.take(step);
        if answers != [Answer::Refused(tonic::Code::FailedPrecondition)] {
            same(&answers[0], &right)?;
            if after != self.model {
                return Err(format!("{answers:?} without a disk"));
            }
        }
        // The agent may have let go of the pool and taken it again.
        let mut reopened = self.model.clone();
        reopened.learn(&self.world.times());
        reopened.restart();
        let model = self.model.clone();
        self.settle_as_any(vec![model, reopened]).await
    }

    async fn settle(&mut self) -> Checked {
        let model = self.model.clone();
        self.settle_as_any(vec![model]).await
    }

    async fn settle_as_any(&mut self, models: Vec<Model>) -> Checked {
        self.model = settle(self.world, models).await?;
        Ok(())
    }

    fn others_are_untouched(&self, step: &Step, before: &Model) -> Checked {
        let ids: Vec<_> = match step {
            Step::Create(creation) => (0..8).map(|attempt| id_of(creation.name, attempt)).collect(),
            Step::Delete(which) | Step::Undelete(which) => vec![which.id()],
            _ => Vec::new(),
        };
        let site = step.site().map(|site| format!("{site:?}:"));
        let is_others = |line: &String| {
            let own = ids.iter().any(|id| !id.is_empty() && line.contains(id.as_str()));
            !own && !line.starts_with("by-claim") && !site.as_ref().is_some_and(|site| line.starts_with(site))
        };
        let expected = before.lines().into_iter().filter(is_others).collect();
        let found = self.world.lines().into_iter().filter(is_others).collect();
        match expected == found {
            true => Ok(()),
            false => Err(format!("others are touched:\n{}", difference(&expected, &found))),
        }
    }

    /// What the calls tell at the end, and no panic in the log.
    async fn all_is_told(&mut self) -> Checked {
        for step in [Step::List(0), Step::Capacity { here: true }] {
            self.happen(&Event::Call(step)).await?;
        }
        let log = self.world.log();
        match log.lines().find(|line| line.contains("panicked")) {
            None => Ok(()),
            Some(line) => Err(format!("the agent's log tells of a defect: {line}")),
        }
    }
}

/// What may be there after a call was cut off: what was before, or all that it does, or at a path of
/// the kubelet only the directory.
fn halves(step: &Step, before: Model, after: Model) -> Vec<Model> {
    let mut models = Vec::new();
    if let Some(site) = step.site() {
        models.extend([before.with_directory_at(site), after.with_directory_at(site)]);
    }
    models.extend([before, after]);
    models
}

fn same(answer: &Answer, right: &Answer) -> Checked {
    match answer == right {
        true => Ok(()),
        false => Err(format!("it is answered {answer:?} instead of {right:?}")),
    }
}

/// Whether the links of claims are all that differs.
fn links_differ(found: &BTreeSet<String>, expected: &BTreeSet<String>) -> bool {
    let mut differing = found.symmetric_difference(expected).peekable();
    differing.peek().is_some() && differing.all(|line| line.starts_with("by-claim"))
}
