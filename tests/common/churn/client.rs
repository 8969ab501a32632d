//! One client: a kubelet and a provisioner in one, who send again what was interrupted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth::proto::csi;
use tonic::{Code, Status};

use crate::common::calls::is_interrupted;
use crate::common::disk::mount_depth;
use crate::common::random::Random;
use crate::common::requests::create_with;
use crate::common::{Agent, Clients, Node};

/// How long a call may be interrupted, or find the disk full, again and again.
const PATIENCE: Duration = Duration::from_secs(30);

/// A volume whose life went as far as its client wanted.
#[derive(Debug)]
pub struct Volume {
    pub id: String,
    pub request: csi::CreateVolumeRequest,
    pub staging: PathBuf,
    pub target: PathBuf,
    /// What was written to the file `data` in it.
    pub content: String,
    pub deleted: bool,
}

/// What clients did.
#[derive(Debug, Default)]
pub struct Life {
    pub volumes: Vec<Volume>,
    /// Volumes of which nobody knows whether they are there: their creation was interrupted, and
    /// the client lost interest.
    pub given_up: Vec<String>,
    pub calls: u64,
    /// Calls that were sent again because the agent died before it answered.
    pub again: u64,
}

impl Life {
    pub fn add(&mut self, other: Self) {
        self.volumes.extend(other.volumes);
        self.given_up.extend(other.given_up);
        self.calls += other.calls;
        self.again += other.again;
    }
}

pub struct Client {
    clients: Clients,
    volumes: PathBuf,
    kubelet: PathBuf,
    random: Random,
    seed: u64,
    disk_may_be_full: bool,
    life: Life,
}

impl Client {
    pub async fn new(node: &Node, agent: &Agent, seed: u64, disk_may_be_full: bool) -> Self {
        Self {
            clients: agent.clients().await,
            volumes: node.pool().join("volumes"),
            kubelet: agent.kubelet(""),
            random: Random::new(seed),
            seed,
            disk_may_be_full,
            life: Life::default(),
        }
    }

    /// Lives one volume after the other until told to stop, and ends the last one properly.
    pub async fn live(mut self, stop: Arc<AtomicBool>) -> Life {
        while !stop.load(Ordering::Relaxed) {
            if let Some(mut volume) = self.create().await {
                for _ in 0..self.random.within(1..3) {
                    self.use_it(&mut volume).await;
                }
                if !self.random.once_in(4) {
                    self.delete(&mut volume).await;
                }
                self.life.volumes.push(volume);
            }
        }
        self.life
    }

    async fn create(&mut self) -> Option<Volume> {
        let name = self.random.claim_name();
        let size = i64::try_from(self.random.within(1..1 << 16)).unwrap();
        let request = self.request(&name, size);
        let create = async |clients: &Clients| {
            let answer = clients.controller.clone().create_volume(request.clone()).await?;
            Ok(answer.into_inner().volume.unwrap())
        };
        let gives_up = self.random.once_in(4);
        let Some(made) = self.send_unless(gives_up, "CreateVolume", create).await else {
            self.life.given_up.push(name);
            return None;
        };
        let answered = (made.volume_id.as_str(), made.capacity_bytes);
        assert_eq!(answered, (name.as_str(), size), "seed {}", self.seed);
        if self.random.once_in(4) {
            let again = self.send("CreateVolume again", create).await;
            assert_eq!(again, made, "seed {}", self.seed);
        }
        let (plugin, pod) = ("plugins/kubernetes.io/csi/csi.berth.dev", self.random.next());
        let target = format!("pods/{pod:x}/volumes/kubernetes.io~csi/{name}/mount");
        Some(Volume {
            staging: self.kubelet.join(format!("{plugin}/{name}/globalmount")),
            target: self.kubelet.join(target),
            id: name,
            request,
            content: String::new(),
            deleted: false,
        })
    }

    fn request(&mut self, name: &str, size: i64) -> csi::CreateVolumeRequest {
        let retention = if self.random.once_in(4) { "1s" } else { "0" };
        let namespace = if self.random.once_in(2) { "one" } else { "two" };
        let parameters = [
            ("berth.dev/trash-retention", retention),
            ("csi.storage.k8s.io/pvc/namespace", namespace),
            ("csi.storage.k8s.io/pvc/name", &format!("data-{name}")),
        ];
        create_with(name, size, &parameters)
    }

    /// Stages and publishes the volume, finds in it what was written before and writes something new.
    async fn use_it(&mut self, volume: &mut Volume) {
        let Volume {
            id,
            staging,
            target,
            content,
            ..
        } = volume;
        std::fs::create_dir_all(&*staging).unwrap();
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        self.mount(id, staging, target).await;
        let data = target.join("data");
        let found = std::fs::read_to_string(&data).unwrap_or_default();
        assert_eq!(found, *content, "seed {}: the data of {id}", self.seed);
        *content = format!("{id} {:x} ", self.random.next()).repeat(100);
        self.write(|| {
            std::fs::write(&data, &*content)?;
            std::fs::create_dir_all(target.join("a/b"))
        });
        if self.random.once_in(4) {
            self.mount(id, staging, target).await;
        }
        let unpublish = async |clients: &Clients| clients.unpublish(id, target).await;
        self.send("NodeUnpublishVolume", unpublish).await;
        assert!(!target.exists(), "seed {}: {} is left", self.seed, target.display());
        let unstage = async |clients: &Clients| clients.unstage(id, staging).await;
        self.send("NodeUnstageVolume", unstage).await;
    }

    /// Writes, when there is space for it.
    fn write(&self, write: impl Fn() -> io::Result<()>) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = write() {
            let is_full = self.disk_may_be_full && error.kind() == io::ErrorKind::StorageFull;
            assert!(is_full && Instant::now() < deadline, "seed {}: {error}", self.seed);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn mount(&mut self, id: &str, staging: &Path, target: &Path) {
        let stage = async |clients: &Clients| clients.stage(id, staging).await;
        self.send("NodeStageVolume", stage).await;
        let publish = async |clients: &Clients| clients.publish(id, staging, target).await;
        self.send("NodePublishVolume", publish).await;
        for path in [staging, target] {
            assert_eq!(mount_depth(path), 1, "seed {}: {}", self.seed, path.display());
        }
    }

    async fn delete(&mut self, volume: &mut Volume) {
        for _ in 0..self.random.within(1..3) {
            let delete = async |clients: &Clients| clients.delete(&volume.id).await;
            self.send("DeleteVolume", delete).await;
        }
        volume.deleted = true;
        let directory = self.volumes.join(&volume.id);
        assert!(
            !directory.exists(),
            "seed {}: {} is left",
            self.seed,
            directory.display()
        );
    }

    async fn send<T>(&mut self, call: &str, send: impl AsyncFn(&Clients) -> Result<T, Status>) -> T {
        self.send_unless(false, call, send).await.unwrap()
    }

    /// Sends a request until it is answered, or is interrupted and given up, and insists on the
    /// answer being good: an agent that starts again has to bring to its end whatever the one before
    /// began.
    async fn send_unless<T>(
        &mut self,
        gives_up: bool,
        call: &str,
        send: impl AsyncFn(&Clients) -> Result<T, Status>,
    ) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.life.calls += 1;
            let status = match send(&self.clients).await {
                Ok(answer) => return Some(answer),
                Err(status) => status,
            };
            let is_interrupted = is_interrupted(&status);
            let is_full = self.disk_may_be_full && status.code() == Code::ResourceExhausted;
            // The reaper, too, holds a volume for a moment when its time in the trash is over.
            let is_expected = is_interrupted || is_full || status.code() == Code::Aborted;
            assert!(
                is_expected && Instant::now() < deadline,
                "seed {}: {call}: {status:?}",
                self.seed
            );
            if is_interrupted && gives_up {
                return None;
            }
            self.life.again += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
