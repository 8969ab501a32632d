//! A start that finds what interrupted calls left, killed at every moment, and its successor too.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::attempt::Attempt;
use super::common::disk::run;
use super::common::random::Random;
use super::common::tracer::{Act, Calls, Count, Plan, Tracer};
use super::common::{Agent, Node};
use super::ground::{FLAGS, soon};
use super::model::{Record, State, Step};
use super::volume::{Place, Volume};
use super::whole;

/// How an interrupted call left a volume.
struct Wreck {
    /// What the volume had gone through, and what a start has to make of it.
    steps: &'static [Step],
    becomes: &'static [Step],
    wreck: fn(&Volume),
}

const DONE: &[Step] = &[Step::Create, Step::Fill];
const DELETED: &[Step] = &[Step::Create, Step::Fill, Step::Delete];
const KEPT: &[Step] = &[Step::Create, Step::Fill, Step::DeleteAndKeep];
/// Seconds since 1970 that lie far behind and far ahead.
const LONG_AGO: &str = "deleted.1000000000";
const NOT_SOON: &str = "deleted.9999999999";

const WRECKS: [Wreck; 13] = [
    // Nothing was going on.
    Wreck {
        steps: DONE,
        becomes: DONE,
        wreck: |_| {},
    },
    // CreateVolume before its commit.
    Wreck {
        steps: &[],
        becomes: &[],
        wreck: |volume| fs::create_dir(volume.home()).unwrap(),
    },
    Wreck {
        steps: &[],
        becomes: &[],
        wreck: |volume| {
            fs::create_dir(volume.home()).unwrap();
            fs::write(volume.in_staging(".json"), "{\"format\":1,\"che").unwrap();
        },
    },
    // And after it.
    Wreck {
        steps: DONE,
        becomes: DONE,
        wreck: Volume::unlink,
    },
    Wreck {
        steps: DONE,
        becomes: DONE,
        wreck: |volume| {
            fs::remove_file(volume.namespace().join("data")).unwrap();
            symlink(Path::new("../../volumes").join(&volume.id), volume.in_staging("-link")).unwrap();
        },
    },
    // DeleteVolume that keeps the data.
    Wreck {
        steps: DONE,
        becomes: KEPT,
        wreck: |volume| volume.mark(NOT_SOON),
    },
    Wreck {
        steps: DONE,
        becomes: KEPT,
        wreck: |volume| {
            volume.mark(NOT_SOON);
            volume.discard();
        },
    },
    Wreck {
        steps: DONE,
        becomes: KEPT,
        wreck: |volume| {
            volume.mark(NOT_SOON);
            volume.discard();
            fs::remove_file(volume.namespace().join("data")).unwrap();
        },
    },
    // DeleteVolume that does not.
    Wreck {
        steps: DONE,
        becomes: DELETED,
        wreck: |volume| volume.mark("purging"),
    },
    // The reaper: a tree half gone, a directory gone, a volume whose time passed.
    Wreck {
        steps: DONE,
        becomes: DELETED,
        wreck: |volume| {
            volume.mark("purging");
            volume.discard();
            volume.unlink();
            fs::rename(volume.trash().join("a/b"), volume.trash().join(".berth-purge-0")).unwrap();
            fs::remove_file(volume.trash().join("data")).unwrap();
        },
    },
    Wreck {
        steps: DONE,
        becomes: DELETED,
        wreck: |volume| {
            volume.mark("purging");
            volume.unlink();
            fs::remove_dir_all(volume.home()).unwrap();
        },
    },
    Wreck {
        steps: DONE,
        becomes: DELETED,
        wreck: |volume| {
            volume.mark(LONG_AGO);
            volume.discard();
            volume.unlink();
        },
    },
    // Undelete that failed at its last step and made its record durable all the same.
    Wreck {
        steps: DONE,
        becomes: DONE,
        wreck: Volume::discard,
    },
];

impl Volume {
    /// Gives its record the name of a deletion.
    fn mark(&self, deletion: &str) {
        fs::rename(self.record(), self.record().with_extension(deletion)).unwrap();
    }

    /// Moves its data to the trash.
    fn discard(&self) {
        fs::rename(self.home(), self.trash()).unwrap();
    }

    /// Removes its claim's link.
    fn unlink(&self) {
        fs::remove_dir_all(self.namespace()).unwrap();
    }

    fn in_staging(&self, suffix: &str) -> std::path::PathBuf {
        let staging = self.record().parent().unwrap().with_file_name("staging");
        staging.join(format!("{}{suffix}", self.id))
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
/// the last; each time its successor too, sometime; and looks at what the third makes of it. Returns
/// how many moments there were.
pub async fn at_every_moment(node: &Node, calls: Calls) -> u64 {
    let site = Site::make(node).await;
    let mut random = Random::new(0xbe47);
    let mut moments = 0;
    for at in 1.. {
        let plan = Plan {
            calls,
            at,
            act: Act::KillBefore,
        };
        let attempt = Attempt::new("the first start", &plan);
        site.wreck();
        let count = site.start(plan).await;
        attempt.reached(&count);
        if count.reached.is_none() {
            break;
        }
        let plan = Plan {
            calls,
            at: random.within(1..at + 50),
            act: Act::KillAfter,
        };
        let attempt = Attempt::new("the second start", &plan);
        attempt.reached(&site.start(plan).await);
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
        let mut agent = Agent::hold(self.node.home(), &self.place.pool, &FLAGS);
        let tracer = Tracer::attach(agent.pid());
        tracer.arm_at_exec(plan);
        agent.let_go();
        soon("it starts", async || tracer.is_over() || agent.answers().await).await;
        let all_purged = || {
            self.volumes
                .iter()
                .all(|(_, volume)| volume.state.record != Record::None || volume.records().is_empty())
        };
        soon("it purges", async || tracer.is_over() || all_purged()).await;
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

    async fn start_in_peace(&self) {
        let agent = Agent::start_with(self.node.home(), &self.place.pool, &FLAGS).await;
        let all: Vec<_> = self.volumes.iter().map(|(_, volume)| volume).collect();
        whole::check(&self.place, &agent.clients().await, self.capacity, &all).await;
    }
}
