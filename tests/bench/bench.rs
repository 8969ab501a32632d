//! Measures the agent beside the bare system calls, on an XFS file system of its own: `cargo bench --bench lifecycle`.
//!
//! The figures are printed beside their targets and judged by the reader, not by the exit status.

mod agent;
mod bare;
mod client;
mod create;
mod figures;
mod floor;
mod lifecycle;
mod load;
mod population;
mod scratch;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};

use agent::{Server, Site};
use figures::Report;
use scratch::Scratch;

/// Measures the Berth agent beside the bare system calls that it cannot do without.
///
/// Needs root, mkfs.xfs, losetup, and a disk beneath --dir: everything happens on an XFS file system in a sparse image,
/// over a loop device with direct I/O, mounted in a mount namespace that goes when the run ends.
/// A figure over its target does not fail the run; one that could not be measured does.
#[derive(Parser)]
#[command(bin_name = "cargo bench --bench lifecycle --", max_term_width = 120)]
struct Args {
    /// The parts to run, separated by commas [default: all but bare, which create includes]
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,

    #[command(flatten)]
    effort: Effort,

    /// The agent to measure
    #[arg(long, env = "BERTH_BIN", default_value = "target/dist/berth", value_name = "FILE")]
    binary: PathBuf,

    /// Where the sparse image goes: on a disk, not on tmpfs [default: the directory for temporary files]
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,

    /// What `cargo bench` passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,

    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program is when it starts itself.
#[derive(clap::Subcommand)]
#[command(disable_help_subcommand = true)]
enum Role {
    /// Serves the bare system calls.
    #[command(hide = true)]
    Floor {
        pool: PathBuf,
        socket: PathBuf,
        #[arg(long)]
        hand_over: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The bare system calls of a durable create alone; needs no agent
    Bare,
    /// CreateVolume with 1 and 64 in flight, beside the bare system calls
    Create,
    /// Whole lifecycles, from CreateVolume to DeleteVolume, one by one and with 8 in flight
    Lifecycle,
    /// The agent's memory: idle, with 3,000 and with 10,000 volumes
    Memory,
    /// The time from exec to ready with 10,000 volumes, caches warm and cold
    Start,
}

impl Args {
    fn chose(&self, part: Part) -> bool {
        if self.only.is_empty() {
            part != Part::Bare
        } else {
            self.only.contains(&part)
        }
    }

    /// Fails early, before a file system is made for an agent that is not there.
    fn check_binary(&self) -> anyhow::Result<()> {
        let needed = Part::value_variants()
            .iter()
            .any(|part| *part != Part::Bare && self.chose(*part));
        if needed {
            let binary = self.binary.display();
            std::fs::metadata(&self.binary)
                .with_context(|| format!("find the agent {binary} (make build, or set BERTH_BIN)"))?;
        }
        Ok(())
    }
}

/// How much to measure.
#[derive(Clone, Copy, clap::Args)]
struct Effort {
    /// How often each figure is taken; what is printed is the median of the rounds
    #[arg(long, default_value_t = 5, value_parser = positive)]
    rounds: usize,

    /// Operations per figure and round when there is one in flight; with more in flight, four times as many
    #[arg(long, default_value_t = 1000, value_parser = positive)]
    operations: usize,
}

impl Effort {
    /// Returns the operations that make one figure of one round.
    fn operations(&self, in_flight: usize) -> usize {
        if in_flight == 1 {
            self.operations
        } else {
            self.operations * 4
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.role {
        Some(Role::Floor {
            pool,
            socket,
            hand_over,
        }) => floor::serve(pool, socket, *hand_over),
        None => run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    args.check_binary()?;
    // One thread for the client, and one connection, as the external-provisioner has: where the agent shares its CPUs,
    // more of either were measured to be no faster.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the client's runtime")?;
    // Handlers first, so that no signal can come between making the file system and being able to undo it.
    let (mut interrupt, mut terminate) = {
        let _guard = runtime.enter();
        (watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?)
    };
    let scratch = Scratch::new(&args.dir.clone().unwrap_or_else(std::env::temp_dir))?;
    let mut report = Report::default();
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = measure(args, &scratch, &mut report) => outcome,
            _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        }
    });
    // The bare part may still be at work on its threads: the file system goes when they are done.
    drop(runtime);
    if !report.is_empty() {
        print!("{}{report}", heading(args));
    }
    outcome
}

fn watch(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).with_context(|| format!("watch for signal {}", kind.as_raw_value()))
}

/// Runs the chosen parts; one that fails does not keep the others from being measured.
async fn measure(args: &Args, scratch: &Scratch, report: &mut Report) -> anyhow::Result<()> {
    let effort = args.effort;
    let site = |name| Site::new(scratch, Server::Agent(args.binary.clone()), name);
    let mut failures = Vec::new();
    let mut note = |part: &str, outcome: anyhow::Result<()>| {
        if let Err(error) = outcome {
            failures.push(format!("{part}: {error:#}"));
        }
    };
    if args.chose(Part::Bare) && !args.chose(Part::Create) {
        note("bare", create::measure_bare(scratch, effort, report).await);
    }
    if args.chose(Part::Create) {
        let site = site("create")?;
        note("create", create::measure(scratch, &site, effort, report).await);
    }
    if args.chose(Part::Lifecycle) {
        let site = site("lifecycle")?;
        let floor = |hand_over, name| Site::new(scratch, Server::Floor { hand_over }, name);
        let floors = [floor(false, "floor")?, floor(true, "floor-handing-over")?];
        note(
            "lifecycle",
            lifecycle::measure(scratch, &site, &floors, effort, report).await,
        );
    }
    if args.chose(Part::Memory) || args.chose(Part::Start) {
        let site = site("population")?;
        let parts = population::Parts {
            memory: args.chose(Part::Memory),
            start: args.chose(Part::Start),
        };
        note("memory, start", population::measure(&site, parts, effort, report).await);
    }
    anyhow::ensure!(failures.is_empty(), "could not be measured: {}", failures.join("; "));
    Ok(())
}

fn heading(args: &Args) -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Linux {}, {cpus} CPUs, XFS on a loop device with direct I/O; median of {} rounds of {} operations\n\n",
        kernel.trim(),
        args.effort.rounds,
        args.effort.operations,
    )
}
