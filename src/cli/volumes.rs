//! `berth volumes`: what is in the pool.

use std::process::ExitCode;

use serde::Serialize;

use super::connection::{Connection, PoolArgs, block_on, plain};
use super::{output, table};
use crate::admin;
use crate::proto::admin::{ListVolumesRequest, VolumeSummary};

/// Flags of `berth volumes`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pool: PoolArgs,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Do not measure what volumes use, which reads all their directories.
    #[arg(long)]
    no_usage: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

/// The JSON form: absent values are `null`.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    claim: Option<&'a str>,
    capacity_bytes: i64,
    used_bytes: Option<i64>,
    used_inodes: Option<i64>,
    state: &'a str,
    path: &'a str,
    published_at: &'a [String],
    purge_at: Option<String>,
}

/// Prints the volumes.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let measure = !args.no_usage;
    let volumes = block_on(async {
        Ok(match args.pool.connect().await? {
            Connection::Agent(mut client) => {
                let answer = client.list_volumes(ListVolumesRequest { measure }).await;
                answer.map_err(plain)?.into_inner().volumes
            }
            Connection::Direct(engine) => args.pool.alone(admin::list_volumes(&engine, measure))?.volumes,
        })
    })?;
    match args.output {
        Output::Json => {
            let rows: Vec<_> = volumes.iter().map(row).collect();
            output::print(&format!("{}\n", serde_json::to_string_pretty(&rows)?))?;
        }
        Output::Table => output::print(&render(&volumes))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn row(volume: &VolumeSummary) -> Row<'_> {
    Row {
        id: &volume.volume_id,
        claim: Some(volume.claim.as_str()).filter(|claim| !claim.is_empty()),
        capacity_bytes: volume.capacity_bytes,
        used_bytes: volume.used_bytes,
        used_inodes: volume.used_inodes,
        state: &volume.state,
        path: &volume.path,
        published_at: &volume.published_at,
        purge_at: volume.purge_at.map(time),
    }
}

fn render(volumes: &[VolumeSummary]) -> String {
    let heading = ["CLAIM", "ID", "CAPACITY", "USED", "STATE", "PATH", "PUBLISHED AT"].map(str::to_owned);
    let cells = |volume: &VolumeSummary| {
        let state = match volume.purge_at {
            Some(at) => format!("{} (kept until {})", volume.state, time(at)),
            None => volume.state.clone(),
        };
        let or_dash = |text: &str| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text.to_owned()
            }
        };
        [
            or_dash(&volume.claim),
            volume.volume_id.clone(),
            table::size(volume.capacity_bytes),
            volume.used_bytes.map_or("-".to_owned(), table::size),
            state,
            volume.path.clone(),
            or_dash(&volume.published_at.join(", ")),
        ]
    };
    let rows: Vec<_> = std::iter::once(heading).chain(volumes.iter().map(cells)).collect();
    table::render(&rows)
}

/// The last second that RFC 3339 can write. What is later is as good as for ever.
const LAST_SECOND: u64 = 253_402_300_799;

fn time(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0).min(LAST_SECOND);
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_can_be_said() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(i64::MAX), "9999-12-31T23:59:59Z");
    }
}
