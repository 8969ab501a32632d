//! A start that finds what interrupted calls left, killed at every moment, and its successor too.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::attempt::Attempt;
use super::common::disk::run;
use super::common::random::Random;
use super::common::tracer::{Act, Calls, Count, Plan, Tracer};
use super::common::{Agent, Node};
use super::faults::ERRORS;
use super::ground::{FLAGS, soon};
use super::model::{Record, State, Step};
use super::volume::{Place, Volume};
use super::whole;

/// How an interrupted call leaves a volume, and what a start has to make of it.
struct Wreck {
    steps: &'static [Step],
    wreck: for<'a> fn(&'a Volume) -> &'a Volume,
    becomes: &'static [Step],
}

const fn wreck(steps: &'static [Step], wreck: for<'a> fn(&'a Volume) -> &'a Volume, becomes: &'static [Step]) -> Wreck {
    Wreck { steps, wreck, becomes }
}

const NOTHING: &[Step] = &[];
const MADE: &[Step] = &[Step::Create, Step::Fill];
const DELETED: &[Step] = &[Step::Create, Step::Fill, Step::Delete];
const KEPT: &[Step] = &[Step::Create, Step::Fill, Step::DeleteAndKeep];

/// Seconds since 1970 that lie far behind and far ahead.
const LONG_AGO: &str = "deleted.1000000000";
const FAR_AHEAD: &str = "deleted.9999999999";

const WRECKS: [Wreck; 13] = [
    // Nothing was going on.
    wreck(MADE, |volume| volume, MADE),
    // CreateVolume: no record, half of one, no link yet, a link that is not in its place.
    wreck(NOTHING, |volume| volume.make_directory(), NOTHING),
    wreck(NOTHING, |volume| volume.write_half_a_record(), NOTHING),
    wreck(MADE, |volume| volume.unlink(), MADE),
    wreck(MADE, |volume| volume.stage_link(), MADE),
    // DeleteVolume that keeps the data: the record alone, the data too, half of the link too.
    wreck(MADE, |volume| volume.mark(FAR_AHEAD), KEPT),
    wreck(MADE, |volume| volume.mark(FAR_AHEAD).discard(), KEPT),
    wreck(MADE, |volume| volume.mark(FAR_AHEAD).discard().unlink_by_half(), KEPT),
    // DeleteVolume that does not.
    wreck(MADE, |volume| volume.mark("purging"), DELETED),
    // The reaper: the time is over, half of the tree is gone, all of it.
    wreck(MADE, |volume| volume.mark(LONG_AGO).discard().unlink(), DELETED),
    wreck(
        MADE,
        |volume| volume.mark("purging").discard().unlink().purge_half(),
        DELETED,
    ),
    wreck(MADE, |volume| volume.mark("purging").unlink().lose(), DELETED),
    // Undelete that failed at its last step and made its record durable all the same.
    wreck(MADE, |volume| volume.discard(), MADE),
];

/// What interrupted calls do, one after the other.
impl Volume {
    fn make_directory(&self) -> &Self {
        fs::create_dir(self.home()).unwrap();
        self
    }

    fn write_half_a_record(&self) -> &Self {
        fs::write(self.in_staging(".json"), r#"{"format":1,"che"#).unwrap();
        self.make_directory()
    }

    fn stage_link(&self) -> &Self {
        symlink(Path::new("../../volumes").join(&self.id), self.in_staging("-link")).unwrap();
        self.unlink_by_half()
    }

    /// Gives its record the name of a deletion.
    fn mark(&self, deletion: &str) -> &Self {
        fs::rename(self.record(), self.record().with_extension(deletion)).unwrap();
        self
    }

    /// Moves its data to the trash.
    fn discard(&self) -> &Self {
        fs::rename(self.home(), self.trash()).unwrap();
        self
    }

    /// Removes its claim's link, but not the directory of its namespace.
    fn unlink_by_half(&self) -> &Self {
        fs::remove_file(self.namespace().join("data")).unwrap();
        self
    }

    fn unlink(&self) -> &Self {
        fs::remove_dir_all(self.namespace()).unwrap();
        self
    }

    fn purge_half(&self) -> &Self {
        fs::rename(self.trash().join("a/b"), self.trash().join(".berth-purge-0")).unwrap();
        fs::remove_file(self.trash().join("data")).unwrap();
        self
    }

    fn lose(&self) -> &Self {
        fs::remove_dir_all(self.home()).unwrap();
        self
    }

    fn in_staging(&self, suffix: &str) -> PathBuf {
        self.place
            .pool
            .join(".berth/staging")
            .join(format!("{}{suffix}", self.id))
    }
}

/// A pool in the middle of things.
struct Site<'a> {
    node: &'a Node,
    place: Place,
    /// Each with the state in which it was left; its own is what a start has to make of it.
    volumes: Vec<(State, Volume)>,
    capacity: i64,
}

/// Kills an agent that starts on such a pool before its first system call, the second, and so on to
/// the last. Each time its successor is killed too, or one of its calls fails, sometime; and the
/// third has to bring everything into order. Returns how many moments there were.
pub async fn at_every_moment(node: &Node, calls: Calls) -> u64 {
    let site = Site::make(node).await;
    let mut random = Random::new(0xbe47);
    let mut moments = 0;
    for at in 1.. {
        let first = Plan {
            calls,
            at,
            act: Act::KillBefore,
        };
        let attempt = Attempt::new("the first start", &first);
        site.wreck();
        let count = site.start(first).await;
        attempt.reached(&count);
        if count.reached.is_none() {
            break;
        }
        let sometime = random.within(1..at + 50);
        let second = match ERRORS.get(at as usize % (2 * ERRORS.len())) {
            None => Plan {
                calls,
                at: sometime,
                act: Act::KillAfter,
            },
            Some(errno) => Plan {
                calls: Calls::Changes,
                at: sometime,
                act: Act::Fail(*errno),
            },
        };
        let attempt = Attempt::new("the second start", &second);
        attempt.reached(&site.start(second).await);
        site.start_in_peace().await;
        moments += 1;
    }
    moments
}

impl<'a> Site<'a> {
    async fn make(node: &'a Node) -> Self {
        let place = Place {
            pool: node.pool().join("pool"),
            kubelet: node.home().join("kubelet"),
        };
        fs::create_dir(&place.pool).unwrap();
        let agent = Agent::start_with(node.home(), &place.pool, &FLAGS).await;
        let clients = agent.clients().await;
        let capacity = clients.available().await.unwrap();
        let mut random = Random::new(0xbe47);
        let mut volumes = Vec::new();
        for wreck in &WRECKS {
            let mut volume = Volume::new(&place, &mut random, "0");
            for step in wreck.steps {
                volume.take(*step, &clients).await.unwrap();
            }
            volume.state = State::default().after_all(wreck.becomes);
            volumes.push((wreck, volume));
        }
        agent.kill();
        let volumes = volumes.into_iter().map(|(wreck, volume)| {
            (wreck.wreck)(&volume);
            (volume.look(), volume)
        });
        let volumes = volumes.collect();
        fs::rename(&place.pool, place.pool.with_extension("wrecked")).unwrap();
        Self {
            node,
            place,
            volumes,
            capacity,
        }
    }

    /// Puts everything back to how it was left.
    fn wreck(&self) {
        let pool = &self.place.pool;
        let _ = fs::remove_dir_all(pool);
        run(Command::new("cp")
            .arg("--archive")
            .arg(pool.with_extension("wrecked"))
            .arg(pool));
    }

    /// Starts an agent with a plan for its system calls, and ends it when it has brought everything
    /// into order.
    async fn start(&self, plan: Plan) -> Count {
        let is_fault = matches!(plan.act, Act::Fail(_));
        let mut agent = Agent::hold(self.node.home(), &self.place.pool, &FLAGS);
        let tracer = Tracer::attach(agent.pid());
        tracer.arm_at_exec(plan);
        agent.let_go();
        soon("it starts", async || tracer.is_over() || agent.answers().await).await;
        // What a fault has kept from its end waits for the next start.
        if !is_fault {
            soon("it purges", async || tracer.is_over() || self.is_purged()).await;
        }
        let count = tracer.disarm();
        drop(agent);
        drop(tracer);
        for (before, volume) in &self.volumes {
            let torn = volume.look();
            if let Some(wrong) = torn.wrong_between(before, &volume.state) {
                panic!("{wrong}: {torn:?} between {before:?} and {:?}", volume.state);
            }
        }
        count
    }

    fn is_purged(&self) -> bool {
        let gone = |volume: &Volume| volume.state.record != Record::None || volume.records().is_empty();
        self.volumes.iter().all(|(_, volume)| gone(volume))
    }

    async fn start_in_peace(&self) {
        let agent = Agent::start_with(self.node.home(), &self.place.pool, &FLAGS).await;
        let all: Vec<_> = self.volumes.iter().map(|(_, volume)| volume).collect();
        whole::check(&self.place, &agent.clients().await, self.capacity, &all).await;
    }
}
