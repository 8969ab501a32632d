//! A client that takes volumes through their lives and remembers what it was told.

use std::fs::File;
use std::io::{Error, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tonic::{Code, Status};

use super::common::guest::Mapped;
use super::common::{Agent, Clients, eventually};
use super::ledger::{Call, Ledger, mark};
use super::plan::{self, Step};

/// Why a volume that is not deleted is not brought back.
const IS_LIVE: &str = "is not deleted";

/// What was asked and answered, shared by all clients.
#[derive(Clone, Default)]
pub struct Journal {
    known: Arc<Mutex<Known>>,
    /// The log of the disk, which gets a mark of everything that is noted.
    log: Option<Arc<Mapped>>,
}

#[derive(Default)]
struct Known {
    ledger: Ledger,
    cut: bool,
}

impl Journal {
    pub fn in_log(log: Arc<Mapped>) -> Self {
        Self {
            log: Some(log),
            ..Self::default()
        }
    }

    /// From a ledger of what happened before.
    pub fn of(ledger: Ledger) -> Self {
        let known = Known { ledger, cut: false };
        Self {
            known: Arc::new(Mutex::new(known)),
            log: None,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    pub fn ledger(&self) -> Ledger {
        self.known().ledger.clone()
    }

    /// An answer that comes after the power was cut is none that anybody could have got: while XFS
    /// shuts down, fsync(2) may succeed and nothing be synced.
    pub fn cut(&self, cut: bool) {
        self.known().cut = cut;
    }

    pub fn begin(&self, call: Call, number: u32) {
        self.known().ledger.begin(call, number);
        self.mark("begin", call, number);
    }

    pub fn done(&self, call: Call, number: u32) {
        let mut known = self.known();
        if known.cut {
            return;
        }
        known.ledger.done(call, number);
        drop(known);
        self.mark("done", call, number);
    }

    fn mark(&self, when: &str, call: Call, number: u32) {
        if let Some(log) = &self.log {
            log.message(&["mark", &mark(when, call, number)]);
        }
    }
}

#[derive(Clone)]
pub struct Client {
    pub clients: Clients,
    pub journal: Journal,
    pool: PathBuf,
    /// Where pods are, if there are any.
    pods: Option<PathBuf>,
}

impl Client {
    pub async fn new(agent: &Agent, pool: &Path, journal: &Journal) -> Self {
        Self {
            clients: agent.clients().await,
            journal: journal.clone(),
            pool: pool.to_owned(),
            pods: None,
        }
    }

    pub fn with_pods(self, agent: &Agent) -> Self {
        Self {
            pods: Some(agent.kubelet("")),
            ..self
        }
    }

    /// Takes a volume through its life, or as far as calls are answered.
    pub async fn live(&self, number: u32) -> Result<(), Status> {
        for step in plan::steps(number) {
            self.step(*step, number).await?;
        }
        Ok(())
    }

    pub async fn step(&self, step: Step, number: u32) -> Result<(), Status> {
        match step {
            Step::Call(call) => self.call(call, number).await,
            Step::Mount => match &self.pods {
                Some(kubelet) => self.come_and_go(kubelet, number).await,
                None => Ok(()),
            },
            Step::Sync => File::open(&self.pool)
                .and_then(|pool| nix::unistd::syncfs(pool).map_err(Error::from))
                .map_err(|error| Status::internal(error.to_string())),
            Step::Purged => self.purged(number).await,
        }
    }

    /// Makes a call and notes what is known of it.
    pub async fn call(&self, call: Call, number: u32) -> Result<(), Status> {
        self.journal.begin(call, number);
        self.send(call, number).await?;
        self.journal.done(call, number);
        Ok(())
    }

    async fn send(&self, call: Call, number: u32) -> Result<(), Status> {
        let id = plan::id(number);
        match call {
            Call::Init => Ok(()),
            Call::Create => {
                assert_eq!(self.clients.create_from(plan::request(number)).await?, id);
                Ok(())
            }
            Call::Write => {
                let directory = self.pool.join("volumes").join(id);
                write(&directory, &plan::content(number)).map_err(|error| Status::internal(error.to_string()))
            }
            Call::Delete => self.clients.delete(&id).await,
            Call::Undelete => self.clients.undelete(&id).await.map(drop),
        }
    }

    /// Sends again what was not answered, until it is.
    pub async fn converge(&self) {
        let ledger = self.journal.ledger();
        let waiting = ledger
            .volumes
            .iter()
            .filter_map(|(number, volume)| Some((*number, volume.running?)));
        for (number, call) in waiting {
            if call == Call::Create {
                // One of its name that was deleted before has to be gone, or it would get another ID.
                self.purged(number).await.unwrap();
            }
            let again = async || match self.send(call, number).await {
                // The reaper holds a volume for a moment.
                Err(status) if status.code() == Code::Aborted => false,
                // It was brought back before.
                Err(status) if call == Call::Undelete && status.message().contains(IS_LIVE) => true,
                other => other
                    .map(|()| true)
                    .unwrap_or_else(|status| panic!("{call:?} {number}: {status:?}")),
            };
            eventually("the call is answered", again).await;
            self.journal.done(call, number);
        }
    }

    async fn come_and_go(&self, kubelet: &Path, number: u32) -> Result<(), Status> {
        let id = plan::id(number);
        let staging = kubelet.join(format!("plugins/kubernetes.io/csi/csi.berth.dev/{id}/globalmount"));
        let target = kubelet.join(format!("pods/pod-{number}/volumes/kubernetes.io~csi/{id}/mount"));
        for directory in [&staging, target.parent().unwrap()] {
            std::fs::create_dir_all(directory).unwrap();
        }
        self.clients.stage(&id, &staging).await?;
        self.clients.publish(&id, &staging, &target).await?;
        std::fs::write(target.join("unsynced"), "by a pod").unwrap();
        self.clients.unpublish(&id, &target).await?;
        self.clients.unstage(&id, &staging).await
    }

    /// Waits until nothing of a deleted volume is left that the trash is not to keep. Only looks where
    /// the agent has no part in it, as long as there is anything: a test may count what it does.
    async fn purged(&self, number: u32) -> Result<(), Status> {
        let (id, until) = (plan::id(number), Instant::now() + Duration::from_secs(30));
        loop {
            if self.journal.known().cut {
                return Err(Status::cancelled("the power was cut"));
            }
            let tombstone = |name: &str| name.starts_with(&id) && !name.ends_with(".json");
            let records = std::fs::read_dir(self.pool.join(".berth/records"))?;
            let there = records
                .flatten()
                .any(|entry| entry.file_name().to_str().is_some_and(tombstone));
            let is_gone = |status: &Status| status.code() == Code::NotFound || status.message().contains(IS_LIVE);
            if !there && self.clients.undelete(&id).await.is_err_and(|status| is_gone(&status)) {
                return Ok(());
            }
            assert!(Instant::now() < until, "{id} is still in the trash");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What a database does before it says "committed", beside some litter that it does not sync.
fn write(directory: &Path, content: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(directory.join("litter/deep"))?;
    std::fs::write(directory.join("litter/deep/file"), content)?;
    let mut file = File::create(directory.join("data"))?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}
