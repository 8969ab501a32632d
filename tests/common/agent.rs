//! A real agent, started as a child process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use berth::proto::admin::admin_client::AdminClient;
use berth::proto::csi::ProbeRequest;
use berth::proto::csi::controller_client::ControllerClient;
use berth::proto::csi::identity_client::IdentityClient;
use berth::proto::csi::node_client::NodeClient;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tonic::transport::{Channel, Endpoint};

use super::command::{held, let_go, program};

/// How long an agent may take to answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent; dropping it kills it.
pub struct Agent {
    child: Child,
    home: PathBuf,
}

/// Clients of every service on the agent's socket.
#[derive(Clone)]
pub struct Clients {
    pub identity: IdentityClient<Channel>,
    pub controller: ControllerClient<Channel>,
    pub node: NodeClient<Channel>,
    pub admin: AdminClient<Channel>,
}

impl Agent {
    /// Starts an agent whose sockets and kubelet directory are in `home` and whose pool is at
    /// `pool`, and waits until its socket answers. A new pool is made if `pool` is empty.
    pub async fn start(home: &Path, pool: &Path) -> Self {
        Self::start_with(home, pool, &["--init-pool"]).await
    }

    /// Like [`Agent::start`] with flags of its own and without `--init-pool`.
    pub async fn start_with(home: &Path, pool: &Path, flags: &[&str]) -> Self {
        Self::start_command(home, &mut Self::command(home, pool, flags)).await
    }

    /// Starts an agent with a command like that of [`Agent::command`].
    pub async fn start_command(home: &Path, command: &mut Command) -> Self {
        let mut agent = Self::spawn(home, command);
        let deadline = Instant::now() + PATIENCE;
        loop {
            // It may take the connection and then say nothing.
            let left = deadline.saturating_duration_since(Instant::now());
            if let Ok(true) = tokio::time::timeout(left, agent.answers()).await {
                return agent;
            }
            if let Some(status) = agent.child.try_wait().expect("wait") {
                panic!("the agent ended at its start: {status}\n{}", agent.log());
            }
            assert!(Instant::now() < deadline, "the agent does not answer\n{}", agent.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// An agent that waits before its first instruction until [`Agent::let_go`].
    pub fn hold(home: &Path, pool: &Path, flags: &[&str]) -> Self {
        Self::spawn(home, &mut Self::arguments(held(), home, pool, flags))
    }

    /// Lets an agent begin that [`Agent::hold`] made.
    pub fn let_go(&mut self) {
        let_go(&mut self.child);
    }

    fn spawn(home: &Path, command: &mut Command) -> Self {
        Self {
            child: command.spawn().expect("the agent starts"),
            home: home.to_owned(),
        }
    }

    /// Whether its socket answers already.
    pub async fn answers(&self) -> bool {
        let Ok(clients) = self.try_clients().await else {
            return false;
        };
        clients.identity.clone().probe(ProbeRequest {}).await.is_ok()
    }

    /// The command line of an agent; its log goes to `home/agent.log`.
    pub fn command(home: &Path, pool: &Path, flags: &[&str]) -> Command {
        Self::arguments(Command::new(program()), home, pool, flags)
    }

    fn arguments(mut command: Command, home: &Path, pool: &Path, flags: &[&str]) -> Command {
        std::fs::create_dir_all(home.join("kubelet")).expect("kubelet directory");
        let log = File::options()
            .create(true)
            .append(true)
            .open(home.join("agent.log"))
            .expect("log");
        command
            .arg("agent")
            .arg("--pool")
            .arg(pool)
            .arg("--csi-endpoint")
            .arg(format!("unix://{}", Self::socket_in(home).display()))
            .arg("--kubelet-dir")
            .arg(home.join("kubelet"))
            .args(["--node-name", "test-node", "--http-addr", "127.0.0.1:0"])
            .args(flags)
            .stderr(log)
            .env_clear();
        command
    }

    pub fn socket_in(home: &Path) -> PathBuf {
        home.join("kubelet/plugins/csi.berth.dev/csi.sock")
    }

    pub fn socket(&self) -> PathBuf {
        Self::socket_in(&self.home)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A path beneath the kubelet's directory.
    pub fn kubelet(&self, path: &str) -> PathBuf {
        self.home.join("kubelet").join(path)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.join("agent.log")).unwrap_or_default()
    }

    /// `http://host:port` of /metrics, /healthz and /readyz, from the log.
    pub fn http_address(&self) -> String {
        let log = self.log();
        let at = log.rfind("address=").expect("the agent logs its address") + "address=".len();
        log[at..].split_whitespace().next().unwrap().to_owned()
    }

    pub async fn try_clients(&self) -> Result<Clients, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", self.socket().display()))?;
        let channel = endpoint.connect().await?;
        Ok(Clients {
            identity: IdentityClient::new(channel.clone()),
            controller: ControllerClient::new(channel.clone()),
            node: NodeClient::new(channel.clone()),
            admin: AdminClient::new(channel),
        })
    }

    pub async fn clients(&self) -> Clients {
        self.try_clients().await.expect("the agent's socket answers")
    }

    /// SIGKILL, at once.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// SIGTERM, and how the agent ends.
    pub fn terminate(mut self) -> ExitStatus {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("SIGTERM");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status;
            }
            assert!(Instant::now() < deadline, "the agent does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // One that waits for a disk cannot even be killed, before the disk is well again.
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
