//! A node with a real agent, and everything that happens to it beside calls.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::mount::{MntFlags, umount2};
use nix::sys::statvfs::statvfs;
use nix::unistd::syncfs;
use tempfile::TempDir;

use super::caller::{self, Caller};
use super::look;
use super::step::{Site, Step, Which};
use crate::common::disk::{mounts_beneath, run, unmount_lazily};
use crate::common::tracer::{Act, Calls, Plan, Tracer};
use crate::common::{Agent, Disk, Filesystem};

/// MiB that the pool of every world has to promise.
pub const CAPACITY: u64 = 24;
/// What a damaged record begins with.
pub const DAMAGE: &str = "{\"format\":1,\"damage\"";
/// How long an agent may take to serve, or to die.
const PATIENCE: Duration = Duration::from_secs(20);
/// What fills the disk, where `berth init` lets it be.
const FILLING: &str = "lost+found/filling";
/// How large the disk is, in MiB. Most of it is kept back.
const DISK: u64 = 160;

/// Where the pool and the kubelet's directory are.
pub struct World {
    home: TempDir,
    /// The disk that the pool is on; without one it is in a plain directory and nothing is mounted.
    disk: Option<Disk>,
    running: Option<Running>,
    /// Records as they were before they were damaged.
    sound: BTreeMap<String, Vec<u8>>,
}

struct Running {
    caller: Caller,
    /// Before the agent, so that it ends first: it kills the agent, and the agent waits for that.
    tracer: Option<Tracer>,
    agent: Agent,
}

impl World {
    /// A node whose pool is in a plain directory.
    pub fn plain() -> Self {
        Self::new(None)
    }

    /// A node whose pool is on a disk of its own.
    pub fn on(filesystem: Filesystem) -> Self {
        Self::new(Some(filesystem))
    }

    fn new(filesystem: Option<Filesystem>) -> Self {
        let home = tempfile::tempdir().expect("home");
        let size = |filesystem: Filesystem| filesystem.smallest_mib().max(DISK);
        let disk = filesystem.map(|filesystem| Disk::make(home.path(), "disk", filesystem, size(filesystem)));
        let world = Self {
            home,
            disk,
            running: None,
            sound: BTreeMap::new(),
        };
        fs::create_dir(world.pool()).expect("pool");
        world.mount();
        world
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn pool(&self) -> PathBuf {
        self.home().join("pool")
    }

    /// What the pool is on.
    pub fn name(&self) -> String {
        let disk = self.disk.as_ref();
        disk.map_or("a plain directory".to_owned(), |disk| {
            format!("{:?}", disk.filesystem())
        })
    }

    pub fn has_disk(&self) -> bool {
        self.disk.is_some()
    }

    fn mount(&self) {
        if let Some(disk) = &self.disk {
            disk.mount(&self.pool(), "");
        }
    }

    /// Everything anew: an empty pool, and beneath the kubelet's directory what the kubelet and others
    /// have made.
    pub async fn renew(&mut self) {
        self.stop();
        for point in mounts_beneath(&self.home().join("kubelet")) {
            umount2(&point, MntFlags::MNT_DETACH).expect("unmount");
        }
        self.clear_obstacles();
        self.sound.clear();
        for directory in [self.pool(), self.home().join("kubelet"), self.home().join("outside")] {
            remove_all(&directory);
        }
        let _ = fs::remove_file(self.home().join("agent.log"));
        for site in Site::REAL {
            self.prepare(site);
        }
        fs::create_dir_all(self.home().join("outside")).expect("outside");
        fs::write(self.home().join("outside/canary"), "sings").expect("canary");
        self.start().await;
    }

    fn prepare(&self, site: Site) {
        let path = caller::path(self.home(), site);
        let parent = path.parent().expect("a parent");
        if site != Site::Parentless {
            fs::create_dir_all(parent).expect("parent");
        }
        match site {
            Site::Staging(_) => fs::create_dir(&path),
            Site::File => fs::write(&path, "mine"),
            Site::Link => symlink(self.home().join("outside"), &path),
            Site::Full => fs::create_dir(&path).and_then(|()| fs::write(path.join("file"), "mine")),
            _ => Ok(()),
        }
        .expect("a site");
    }

    /// So much is kept back that the rest is what the model thinks there is.
    fn flags(&self) -> [String; 3] {
        let space = statvfs(&self.pool()).expect("statvfs");
        let reserve = space.blocks() * space.fragment_size() - (CAPACITY << 20);
        ["--init-pool".to_owned(), "--reserve".to_owned(), reserve.to_string()]
    }

    fn hold(&self) -> Agent {
        let flags = self.flags();
        Agent::hold(self.home(), &self.pool(), &flags.each_ref().map(String::as_str))
    }

    /// Starts an agent and waits until it serves.
    pub async fn start(&mut self) {
        let mut agent = self.hold();
        agent.let_go();
        self.wait_for(&agent, None).await;
        self.running = Some(Running {
            caller: self.connect(&agent).await,
            tracer: None,
            agent,
        });
    }

    async fn connect(&self, agent: &Agent) -> Caller {
        let clients = agent.clients().await;
        let info = clients.node_info().await.expect("NodeGetInfo");
        let topology = info.accessible_topology.expect("a topology");
        Caller {
            clients,
            home: self.home().to_owned(),
            pool: topology.segments["topology.berth.dev/pool"].clone(),
        }
    }

    /// Waits until an agent is ready. Returns whether it is, or has ended instead.
    async fn wait_for(&self, agent: &Agent, tracer: Option<&Tracer>) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(clients) = agent.try_clients().await
                && let Ok(answer) = clients.identity.clone().probe(berth::proto::csi::ProbeRequest {}).await
                && answer.into_inner().ready == Some(true)
            {
                return true;
            }
            if tracer.is_some_and(Tracer::is_over) {
                return false;
            }
            assert!(Instant::now() < deadline, "the agent is not ready:\n{}", agent.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Starts an agent to which `act` happens at a call that changes something, and waits until it
    /// serves or is dead. In any case it is gone then. Returns whether it came that far.
    pub async fn stumble(&mut self, at: u64, act: Act) -> bool {
        let mut agent = self.hold();
        let tracer = Tracer::attach(agent.pid());
        let calls = Calls::Changes;
        tracer.arm_at_exec(Plan { calls, at, act });
        agent.let_go();
        self.wait_for(&agent, Some(&tracer)).await;
        let reached = tracer.disarm().reached.is_some();
        drop(tracer);
        reached
    }

    /// SIGKILL.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// SIGTERM; an agent that is traced is killed.
    pub fn terminate(&mut self) {
        if let Some(Running {
            agent, tracer: None, ..
        }) = self.running.take()
        {
            assert!(agent.terminate().success(), "the agent ends with an error");
        }
    }

    pub fn caller(&self) -> &Caller {
        &self.running.as_ref().expect("an agent runs").caller
    }

    /// A caller with a connection of its own.
    pub async fn another_caller(&self) -> Caller {
        let running = self.running.as_ref().expect("an agent runs");
        self.connect(&running.agent).await
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.home().join("agent.log")).unwrap_or_default()
    }

    /// From now on, `act` happens at a call that changes something.
    pub fn arm(&mut self, at: u64, act: Act) {
        let running = self.running.as_mut().expect("an agent runs");
        let tracer = running
            .tracer
            .get_or_insert_with(|| Tracer::attach(running.agent.pid()));
        let calls = Calls::Changes;
        tracer.arm(Plan { calls, at, act });
    }

    /// Ends that, and returns whether it has happened.
    pub fn disarm(&mut self) -> bool {
        let tracer = self.running.as_ref().and_then(|running| running.tracer.as_ref());
        tracer.is_some_and(|tracer| tracer.disarm().reached.is_some())
    }

    /// Waits until a killed agent is dead.
    pub async fn bury(&mut self) {
        let tracer = self.running.as_ref().and_then(|running| running.tracer.as_ref());
        let deadline = Instant::now() + PATIENCE;
        while tracer.is_some_and(|tracer| !tracer.is_over()) {
            assert!(Instant::now() < deadline, "a killed agent lives");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.stop();
    }

    /// Takes away what is mounted in volumes.
    pub fn clear_obstacles(&self) {
        for point in mounts_beneath(&self.pool()) {
            if point != self.pool() {
                umount2(&point, MntFlags::MNT_DETACH).expect("unmount");
            }
        }
    }

    /// Takes the disk away and puts it back, while no agent runs.
    pub fn remount(&self) {
        if self.has_disk() {
            unmount_lazily(&self.pool());
            self.mount();
        }
    }

    /// Takes the disk away from a running agent for the time of a few calls.
    pub async fn without_disk(&mut self, steps: &[Step]) -> Vec<super::step::Answer> {
        unmount_lazily(&self.pool());
        let mut answers = Vec::new();
        for step in steps {
            answers.push(self.caller().perform(step).await);
        }
        self.mount();
        let Running { agent, tracer, .. } = self.running.as_ref().expect("an agent runs");
        self.wait_for(agent, tracer.as_ref()).await;
        answers
    }

    /// Makes the disk read-only, or writable again.
    pub fn set_read_only(&self, read_only: bool) {
        let option = if read_only { "remount,ro" } else { "remount,rw" };
        run(std::process::Command::new("mount")
            .args(["-o", option])
            .arg(self.pool()));
    }

    /// Fills the disk. Returns what was free.
    pub fn fill(&self) -> u64 {
        let free = self.free();
        fs::create_dir_all(self.pool().join("lost+found")).expect("lost+found");
        let file = File::create(self.pool().join(FILLING)).expect("a file");
        let (mut end, mut piece) = (0, 64 << 20);
        while piece >= 4096 {
            match fallocate(&file, FallocateFlags::empty(), end, piece) {
                Ok(()) => end += piece,
                Err(_) => piece /= 2,
            }
        }
        free
    }

    /// Takes away what fills the disk, and waits until about as much is free as was.
    pub fn empty(&self, free: u64) {
        fs::remove_file(self.pool().join(FILLING)).expect("the filling");
        let deadline = Instant::now() + PATIENCE;
        while self.free() + (1 << 20) < free {
            syncfs(File::open(self.pool()).expect("the pool")).expect("syncfs");
            assert!(Instant::now() < deadline, "the disk stays full");
        }
    }

    fn free(&self) -> u64 {
        let space = statvfs(&self.pool()).expect("statvfs");
        space.blocks_available() * space.fragment_size()
    }

    /// Damages a record, or makes it good again, while no agent runs.
    pub fn damage(&mut self, which: Which, damaged: bool) {
        let records = self.pool().join(".berth/records");
        let names = fs::read_dir(&records).expect("records").flatten();
        let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let id = which.id();
        let Some(name) = names.find(|name| name.split('.').next() == Some(&id)) else {
            return;
        };
        let path = records.join(name);
        if damaged && !self.sound.contains_key(&id) {
            let sound = fs::read(&path).expect("a record");
            let text = String::from_utf8_lossy(&sound).replacen("{\"format\":1", DAMAGE, 1);
            fs::write(&path, text).expect("a record");
            self.sound.insert(id, sound);
        } else if !damaged && let Some(sound) = self.sound.remove(&id) {
            fs::write(&path, sound).expect("a record");
        }
    }

    pub fn lines(&self) -> std::collections::BTreeSet<String> {
        look::lines(self.home())
    }

    pub fn times(&self) -> BTreeMap<String, u64> {
        look::times(self.home())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
        for point in mounts_beneath(self.home()) {
            let _ = umount2(&point, MntFlags::MNT_DETACH);
        }
    }
}

/// Removes what is in a directory.
fn remove_all(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let removed = match entry.file_type().expect("a type").is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
