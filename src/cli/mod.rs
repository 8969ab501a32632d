//! The command line: what a person and a DaemonSet can ask of the binary.

mod agent;
mod connection;
mod doctor;
mod init;
mod output;
mod table;
mod undelete;
mod volumes;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::AgentArgs;

/// Node-local storage for Kubernetes: every claim gets a directory of its own on its node's disk.
#[derive(Debug, Parser)]
#[command(name = "berth", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve CSI on this node (what the DaemonSet runs).
    Agent(Box<AgentArgs>),
    /// Make a new pool in an empty directory.
    Init(init::Args),
    /// List the volumes of the pool.
    Volumes(volumes::Args),
    /// Tell what is wrong with the pool and what to do about it.
    Doctor(doctor::Args),
    /// Bring a deleted volume back from the trash.
    Undelete(undelete::Args),
    /// Show what Berth does, on a throwaway pool with a real agent, without Kubernetes.
    Demo(crate::demo::Options),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Agent(args) => agent::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Volumes(args) => volumes::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Undelete(args) => undelete::run(&args),
        Command::Demo(options) => crate::demo::run(options).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "berth", &mut script);
            output::print(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("berth: {}", output::sentence(&error));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
