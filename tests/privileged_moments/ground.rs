//! Where operations are tried: a node, an agent that dies and comes back, and all volumes so far.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use tonic::{Code, Status};

use super::common::calls::is_interrupted;
use super::common::random::Random;
use super::common::tracer::{Count, Plan, Tracer};
use super::common::{Agent, Clients, Filesystem, Node};
use super::model::{Record, State, Step};
use super::volume::{Place, Volume};
use super::whole;

/// With so much kept back, the bound that holds is what is promised, not what is free.
pub const FLAGS: [&str; 3] = ["--init-pool", "--reserve", "70%"];

/// A call, and what a volume has gone through before.
pub struct Operation {
    pub name: &'static str,
    pub before: &'static [Step],
    pub step: Step,
}

impl Operation {
    const fn new(name: &'static str, before: &'static [Step], step: Step) -> Self {
        Self { name, before, step }
    }

    fn keeps(&self) -> bool {
        self.step == Step::DeleteAndKeep || self.before.contains(&Step::DeleteAndKeep)
    }
}

/// Every call that changes something.
pub const OPERATIONS: [Operation; 8] = {
    use Step::{Create, Delete, DeleteAndKeep, Fill, Publish, Stage, Undelete, Unpublish, Unstage};
    [
        Operation::new("CreateVolume", &[], Create),
        Operation::new("NodeStageVolume", &[Create, Fill], Stage),
        Operation::new("NodePublishVolume", &[Create, Fill, Stage], Publish),
        Operation::new("NodeUnpublishVolume", &[Create, Fill, Stage, Publish], Unpublish),
        Operation::new("NodeUnstageVolume", &[Create, Fill, Stage], Unstage),
        Operation::new("DeleteVolume and the reaper", &[Create, Fill], Delete),
        Operation::new("DeleteVolume that keeps the data", &[Create, Fill], DeleteAndKeep),
        Operation::new("Undelete", &[Create, Fill, DeleteAndKeep], Undelete),
    ]
};

pub struct Ground {
    node: Node,
    place: Place,
    running: Option<Running>,
    random: Random,
    /// Bytes that an empty pool can promise.
    capacity: i64,
    /// Volumes that the trash keeps for good.
    kept: Vec<Volume>,
}

struct Running {
    clients: Clients,
    /// Before its tracer, which waits for its end.
    agent: Agent,
    tracer: OnceCell<Tracer>,
}

impl Ground {
    pub async fn new(filesystem: Filesystem) -> Self {
        let node = Node::new(filesystem);
        let place = Place {
            pool: node.pool(),
            kubelet: node.home().join("kubelet"),
        };
        let mut ground = Self {
            node,
            place,
            running: None,
            random: Random::new(0xbe47),
            capacity: 0,
            kept: Vec::new(),
        };
        ground.start().await;
        ground.capacity = ground.clients().available().await.unwrap();
        ground
    }

    pub async fn start(&mut self) {
        let agent = self.node.agent_with(&FLAGS).await;
        self.running = Some(Running {
            clients: agent.clients().await,
            agent,
            tracer: OnceCell::new(),
        });
    }

    /// Kills the agent, which may be dead already.
    pub fn kill(&mut self) {
        self.running = None;
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("an agent runs")
    }

    pub fn clients(&self) -> &Clients {
        &self.running().clients
    }

    fn tracer(&self) -> &Tracer {
        let Running { agent, tracer, .. } = self.running();
        tracer.get_or_init(|| Tracer::attach(agent.pid()))
    }

    /// A new volume that has gone through what comes before the operation.
    pub async fn prepare(&mut self, operation: &Operation) -> Volume {
        let retention = if operation.keeps() { "1h" } else { "0" };
        let mut volume = Volume::new(&self.place, &mut self.random, retention);
        for step in operation.before {
            volume.take(*step, self.clients()).await.unwrap();
        }
        volume.state = State::default().after_all(operation.before);
        assert_eq!(volume.look(), volume.state, "before {}", operation.name);
        volume
    }

    /// Takes the operation's step with a plan for the agent's system calls. Returns when the agent
    /// has done with it, or is dead.
    pub async fn attempt(&self, operation: &Operation, volume: &Volume, plan: Plan) -> (Result<(), Status>, Count) {
        let tracer = self.tracer();
        tracer.arm(plan);
        let answer = volume.take(operation.step, self.clients()).await;
        if answer.is_ok() && operation.step == Step::Delete {
            // The reaper's work belongs to it.
            let is_done = async || tracer.is_over() || volume.records().is_empty() || self.complained(volume);
            soon("the reaper is done", is_done).await;
        }
        let count = tracer.disarm();
        if count.reached.is_some() && answer.as_ref().is_err_and(is_interrupted) {
            soon("the agent dies", async || tracer.is_over()).await;
        }
        (answer, count)
    }

    /// Whether the agent is dead.
    pub fn is_over(&self) -> bool {
        self.tracer().is_over()
    }

    /// Whether the reaper has put the volume off, for a minute.
    fn complained(&self, volume: &Volume) -> bool {
        let log = self.running().agent.log();
        log.lines()
            .any(|line| line.contains("not purged") && line.contains(&volume.id))
    }

    /// Sends the request again that was interrupted: it has to converge.
    pub async fn converge(&self, operation: &Operation, volume: &mut Volume) {
        let after = State::default().after_all(operation.before).after(operation.step);
        let answer = volume.take(operation.step, self.clients()).await;
        match answer {
            // There is nothing in the trash any more to bring back.
            Err(status) if operation.step == Step::Undelete && volume.state == after => {
                assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
            }
            other => other.unwrap_or_else(|status| panic!("sent again: {status:?}")),
        }
        volume.state = after;
        self.check(volume).await;
    }

    /// Takes the volume off its pod and its node and deletes it, as far as that is to be done.
    pub async fn end(&mut self, operation: &Operation, mut volume: Volume) {
        let delete = if operation.keeps() {
            Step::DeleteAndKeep
        } else {
            Step::Delete
        };
        for step in [Step::Unpublish, Step::Unstage, delete] {
            volume
                .take(step, self.clients())
                .await
                .unwrap_or_else(|status| panic!("{step:?} at the end: {status:?}"));
            if step != delete || volume.state.record == Record::Live {
                volume.state = volume.state.after(step);
            }
        }
        self.check(&volume).await;
        if volume.state.record == Record::Kept {
            self.kept.push(volume);
        }
    }

    /// Checks that the pool and what is mounted are exactly what they should be, on the disk and in
    /// the agent's answers. Beside those that the trash keeps, this volume is the only one.
    pub async fn check(&self, volume: &Volume) {
        let all: Vec<_> = self.kept.iter().chain([volume]).collect();
        whole::check(&self.place, self.clients(), self.capacity, &all).await;
    }
}

/// Waits for something that takes microseconds.
pub async fn soon(what: &str, check: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !check().await {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
