//! A child process that dies with its parent, without a line of unsafe code.
//!
//! The death signal can only be asked for by the child itself, and running code between fork and exec is unsafe.
//! So the child is this same binary once more, which asks for the signal and then becomes the wanted command:
//! the signal survives an exec (prctl(2), PR_SET_PDEATHSIG).

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// Where the parent leaves its process ID for the child.
const PARENT: &str = "BERTH_DEMO_PARENT";

/// The command that runs this binary with `arguments`, tethered to the calling thread.
pub fn command(arguments: impl IntoIterator<Item = OsString>) -> Result<Command> {
    let program = std::env::current_exe().context("find the path of this binary")?;
    let mut command = Command::new(program);
    command.args(["demo", "--"]).args(arguments);
    // The person's settings are for the person's agent.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"BERTH_") {
            command.env_remove(name);
        }
    }
    command.env(PARENT, std::process::id().to_string());
    Ok(command)
}

/// The child's side: becomes this binary with `arguments`, to be killed when the parent dies.
pub fn exec(arguments: &[OsString]) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("ask for a signal when the parent dies")?;
    let parent = std::env::var(PARENT)
        .ok()
        .and_then(|pid| pid.parse().ok())
        .map(Pid::from_raw);
    // A parent that died before the request is no parent any more, and no signal will come.
    if parent != Some(getppid()) {
        bail!("the demo that started this process is gone");
    }
    let program = std::env::current_exe().context("find the path of this binary")?;
    let error = Command::new(&program).args(arguments).env_remove(PARENT).exec();
    Err(error).with_context(|| format!("run {}", program.display()))
}
