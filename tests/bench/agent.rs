//! The agent under measurement: a pool and a kubelet's directory for it, its process, its memory.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use berth::proto::csi::{ProbeRequest, identity_client::IdentityClient};
use tonic::transport::{Channel, Endpoint};

use crate::{client::DRIVER, scratch::Scratch};

const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(1);

/// Where an agent runs: a new pool and a kubelet's directory on the scratch file system.
pub struct Site {
    server: Server,
    pool: PathBuf,
    kubelet: PathBuf,
    log: PathBuf,
}

/// What serves there.
pub enum Server {
    /// An agent, of this binary.
    Agent(PathBuf),
    /// The bare system calls behind gRPC (see [`crate::floor`]), all of them handed over to other threads or only those
    /// that wait for the disk.
    Floor { hand_over: bool },
}

impl Server {
    fn name(&self) -> &'static str {
        match self {
            Self::Agent(_) => "the agent",
            Self::Floor { .. } => "the server of bare system calls",
        }
    }
}

impl Site {
    /// Makes the directories that the agent finds on a node.
    pub fn new(scratch: &Scratch, server: Server, name: &str) -> anyhow::Result<Self> {
        let home = scratch.root().join(name);
        let site = Self {
            server,
            pool: home.join("pool"),
            kubelet: home.join("kubelet"),
            log: scratch.aside().join(format!("{name}.log")),
        };
        let plugins = site.kubelet.join("plugins");
        for directory in [
            site.pool.clone(),
            plugins.join(DRIVER),
            plugins.join("kubernetes.io/csi").join(DRIVER),
            site.kubelet.join("plugins_registry"),
            site.kubelet.join("pods"),
        ] {
            fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        }
        Ok(site)
    }

    /// Returns the path that the kubelet stages a volume at.
    pub fn staging(&self, id: &str) -> PathBuf {
        let volumes = self.kubelet.join("plugins/kubernetes.io/csi").join(DRIVER);
        volumes.join(id).join("globalmount")
    }

    /// Returns the path that the kubelet publishes a pod's volume at.
    pub fn target(&self, pod: &str, id: &str) -> PathBuf {
        let volumes = self.pod(pod).join("volumes/kubernetes.io~csi");
        volumes.join(id).join("mount")
    }

    /// Returns the directory that the kubelet makes for a pod.
    pub fn pod(&self, pod: &str) -> PathBuf {
        self.kubelet.join("pods").join(pod)
    }

    fn socket(&self) -> PathBuf {
        self.kubelet.join("plugins").join(DRIVER).join("csi.sock")
    }

    fn command(&self) -> anyhow::Result<Command> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("open {}", self.log.display()))?;
        let mut command = match &self.server {
            Server::Agent(binary) => {
                let mut command = Command::new(binary);
                command
                    .args([
                        "agent",
                        "--init-pool",
                        "--node-name",
                        "bench",
                        "--http-addr",
                        "127.0.0.1:0",
                    ])
                    .arg("--pool")
                    .arg(&self.pool)
                    .arg("--kubelet-dir")
                    .arg(&self.kubelet)
                    .arg("--csi-endpoint")
                    .arg(format!("unix://{}", self.socket().display()));
                command
            }
            Server::Floor { hand_over } => {
                let mut command = Command::new(std::env::current_exe().context("find this program")?);
                command.arg("floor").arg(&self.pool).arg(self.socket());
                if *hand_over {
                    command.arg("--hand-over");
                }
                command
            }
        };
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the agent's log")?)
            .stderr(log)
            // Ctrl-C is for the benchmark, which then kills the agent.
            .process_group(0);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BERTH_") {
                command.env_remove(name);
            }
        }
        Ok(command)
    }

    /// Returns the end of the agent's log.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// A running agent, killed on drop.
pub struct Agent {
    process: Child,
    channel: Channel,
    /// From exec to the first Probe that answered ready.
    pub ready_after: Duration,
}

impl Agent {
    /// Starts an agent and waits until it is ready.
    pub async fn start(site: &Site) -> anyhow::Result<Self> {
        let mut command = site.command()?;
        let started = Instant::now();
        let process = command
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        let mut process = KillOnDrop(Some(process));
        loop {
            if let Some(channel) = ready(&site.socket()).await {
                let ready_after = started.elapsed();
                let process = process.0.take().context("the agent's process")?;
                return Ok(Self {
                    process,
                    channel,
                    ready_after,
                });
            }
            if let Some(status) = process.status()? {
                bail!("{} ended ({status}):\n{}", site.server.name(), site.last_words());
            }
            ensure!(
                started.elapsed() < READY_WITHIN,
                "{} was not ready within {READY_WITHIN:?}:\n{}",
                site.server.name(),
                site.last_words()
            );
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Returns the connection to it.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Returns the memory it holds now.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.process.id())
    }

    /// Kills it, as a crash would.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}

/// Resident and proportional memory of a process, in MiB.
pub struct Memory {
    pub resident: f64,
    pub proportional: f64,
}

impl Memory {
    fn of(process: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/smaps_rollup");
        let rollup = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let mebibytes = |field: &str| -> anyhow::Result<f64> {
            let line = rollup.lines().find_map(|line| line.strip_prefix(field));
            let kibibytes = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
            let kibibytes = kibibytes.with_context(|| format!("{path} has no {field}"))?;
            Ok(kibibytes.trim().parse::<f64>()? / 1024.0)
        };
        Ok(Self {
            resident: mebibytes("Rss:")?,
            proportional: mebibytes("Pss:")?,
        })
    }
}

/// Holds a process that is not ready yet.
struct KillOnDrop(Option<Child>);

impl KillOnDrop {
    fn status(&mut self) -> anyhow::Result<Option<std::process::ExitStatus>> {
        let Some(process) = &mut self.0 else {
            return Ok(None);
        };
        process.try_wait().context("wait for the agent")
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(process) = &mut self.0 {
            kill(process);
        }
    }
}

fn kill(process: &mut Child) {
    if let Err(error) = process.kill().and_then(|()| process.wait()) {
        eprintln!("bench: kill the agent: {error}");
    }
}

async fn connect(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
    endpoint.connect().await
}

/// Connects, and returns the connection once the agent says that it is ready.
async fn ready(socket: &Path) -> Option<Channel> {
    let channel = connect(socket).await.ok()?;
    let answer = IdentityClient::new(channel.clone()).probe(ProbeRequest {}).await.ok()?;
    // The specification: no value means ready.
    answer.into_inner().ready.unwrap_or(true).then_some(channel)
}

/// Drops the kernel's caches, so that the next start reads from the disk.
pub fn drop_caches() -> anyhow::Result<()> {
    nix::unistd::sync();
    for what in ["2", "1"] {
        let mut file = File::create("/proc/sys/vm/drop_caches").context("open drop_caches")?;
        std::io::Write::write_all(&mut file, what.as_bytes()).context("drop caches")?;
    }
    Ok(())
}
