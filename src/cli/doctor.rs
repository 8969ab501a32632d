//! `berth doctor`: what is wrong, and what to do about it.

use std::process::ExitCode;

use super::connection::{Connection, PoolArgs, block_on, plain};
use crate::admin;
use crate::proto::admin::DiagnoseRequest;

/// Flags of `berth doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pool: PoolArgs,
}

/// Prints the findings. Fails if one of them is an error.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let findings = block_on(async {
        Ok(match args.pool.connect().await? {
            Connection::Agent(mut client) => {
                let answer = client.diagnose(DiagnoseRequest {}).await;
                answer.map_err(plain)?.into_inner().findings
            }
            Connection::Direct(engine) => admin::diagnose(&engine).findings,
        })
    })?;
    if findings.is_empty() {
        println!("Nothing is wrong.");
    }
    for finding in &findings {
        println!("{}: {} ({})", finding.severity, finding.object, finding.reason);
        println!("  What: {}", finding.message);
        println!("  Do:   {}", finding.advice);
    }
    match findings.iter().any(|finding| finding.severity == "error") {
        true => Ok(ExitCode::FAILURE),
        false => Ok(ExitCode::SUCCESS),
    }
}
