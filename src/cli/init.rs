//! `berth init`: makes a new pool.

use std::path::PathBuf;
use std::process::ExitCode;

use super::output;
use crate::config::DEFAULT_POOL;
use crate::store;

/// Flags of `berth init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory, which must exist and be empty.
    #[arg(long, env = "BERTH_POOL", default_value = DEFAULT_POOL)]
    pool: PathBuf,
}

/// Makes the pool and tells what it is.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let info = store::init(&args.pool)?;
    output::print(&format!(
        "New pool {} at {} on {} {}.\n",
        info.uuid,
        args.pool.display(),
        info.filesystem.kind,
        info.filesystem.id
    ))?;
    Ok(ExitCode::SUCCESS)
}
