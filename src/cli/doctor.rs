//! `berth doctor`: what is wrong, and what to do about it.

use std::process::ExitCode;

use super::connection::{Connection, PoolArgs, block_on, plain};
use super::output;
use crate::admin;
use crate::proto::admin::{DiagnoseRequest, Finding};

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
    output::print(&render(&findings))?;
    match findings.iter().any(|finding| finding.severity == "error") {
        true => Ok(ExitCode::FAILURE),
        false => Ok(ExitCode::SUCCESS),
    }
}

fn render(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Nothing is wrong.\n".to_owned();
    }
    let entry = |finding: &Finding| {
        format!(
            "{}: {} ({})\n  What: {}\n  Do:   {}\n",
            finding.severity, finding.object, finding.reason, finding.message, finding.advice
        )
    };
    findings.iter().map(entry).collect()
}
