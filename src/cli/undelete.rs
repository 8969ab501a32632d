//! `berth undelete`: brings a deleted volume back.

use std::process::ExitCode;

use super::connection::{Connection, PoolArgs, block_on, plain};
use super::output;
use crate::admin;
use crate::proto::admin::UndeleteRequest;

/// Flags of `berth undelete`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pool: PoolArgs,
    /// ID of the volume, as `berth volumes` shows it.
    volume_id: String,
}

/// Brings the volume back and tells where it is.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let volume_id = args.volume_id.clone();
    let path = block_on(async {
        Ok(match args.pool.connect().await? {
            Connection::Agent(mut client) => {
                let answer = client.undelete(UndeleteRequest { volume_id }).await;
                answer.map_err(plain)?.into_inner().path
            }
            Connection::Direct(engine) => args.pool.alone(admin::undelete(&engine, &volume_id))?.path,
        })
    })?;
    output::print(&format!("Volume {} is back at {path}.\n", args.volume_id))?;
    Ok(ExitCode::SUCCESS)
}
