//! The agent under test: a child process that can be killed at any moment and started again.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::driver::Driver;
use super::scratch::Scratch;
use super::tether;

/// How long an agent may take to serve, and to go when asked to.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);
/// How many lines of its log are worth showing after a failure.
const LAST_WORDS: usize = 20;

/// A `berth agent` on the throwaway pool, killed when dropped.
pub struct Agent {
    arguments: Vec<OsString>,
    socket: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Agent {
    /// An agent that isn't running yet.
    pub fn new(scratch: &Scratch) -> Self {
        let mut endpoint = OsString::from("unix://");
        endpoint.push(scratch.socket());
        let arguments: [OsString; 12] = [
            "agent".into(),
            "--init-pool".into(),
            "--pool".into(),
            scratch.pool().into(),
            "--csi-endpoint".into(),
            endpoint,
            "--kubelet-dir".into(),
            scratch.kubelet().into(),
            "--node-name".into(),
            "demo-node".into(),
            "--http-addr".into(),
            // Whatever is free: nobody reads the metrics of a demo.
            "127.0.0.1:0".into(),
        ];
        Self {
            arguments: arguments.into(),
            socket: scratch.socket(),
            log: scratch.log(),
            child: None,
        }
    }

    /// Lets the agent promise `ratio` times the space it has, from its next start on.
    pub fn overcommit(&mut self, ratio: i64) {
        self.arguments
            .extend(["--overcommit".into(), format!("{ratio}.0").into()]);
    }

    /// Starts the agent and waits until it is ready.
    pub async fn start(&mut self) -> Result<Driver> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("open {}", self.log.display()))?;
        let child = tether::command(self.arguments.iter().cloned())?
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the log")?)
            .stderr(log)
            // Ctrl-C is for the demo, which then ends the agent.
            .process_group(0)
            .spawn()
            .context("start the agent")?;
        ready(self.child.insert(child), &self.socket).await
    }

    /// Kills the agent with SIGKILL, wherever it is in its work.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().context("kill the agent")?;
            child.wait().context("wait for the killed agent")?;
        }
        Ok(())
    }

    /// Asks the agent to end as Kubernetes does, with SIGTERM, and waits until it has.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        let pid = i32::try_from(child.id()).context("the agent's process ID")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).context("stop the agent")?;
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().context("wait for the agent")?.is_none() {
            if Instant::now() > deadline {
                bail!("the agent still runs {} s after SIGTERM", PATIENCE.as_secs());
            }
            sleep(POLL).await;
        }
        self.child = None;
        Ok(())
    }

    /// The last lines of the agent's log.
    pub fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let start = lines.len().saturating_sub(LAST_WORDS);
        lines.get(start..).unwrap_or_default().join("\n")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("the agent couldn't be ended: {error:#}");
        }
    }
}

/// Waits until the agent behind the socket is ready; an agent that has died ends the wait.
async fn ready(child: &mut Child, socket: &Path) -> Result<Driver> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let error = match Driver::connect(socket).await {
            Ok(driver) => return Ok(driver),
            Err(error) => error,
        };
        if let Some(status) = child.try_wait().context("look after the agent")? {
            bail!("the agent ended at once: {status}");
        }
        if Instant::now() > deadline {
            return Err(error.context(format!("the agent isn't ready after {} s", PATIENCE.as_secs())));
        }
        sleep(POLL).await;
    }
}
