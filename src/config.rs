//! The agent's configuration: every flag and environment variable, checked before anything starts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::capacity::{Policy, Reserve};
use crate::mount::KubeletDir;
use crate::telemetry::LogFormat;

/// Where the agent listens unless it is told otherwise.
pub const DEFAULT_ENDPOINT: &str = "unix:///var/lib/kubelet/plugins/csi.berth.dev/csi.sock";
/// Where the pool is unless it is told otherwise.
pub const DEFAULT_POOL: &str = "/mnt/data";

/// Flags of `berth agent`; each can also come from the environment.
#[derive(Debug, clap::Args)]
pub struct AgentArgs {
    /// Directory of the pool.
    #[arg(long, env = "BERTH_POOL", default_value = DEFAULT_POOL)]
    pub pool: PathBuf,
    /// Make a new pool if the directory is empty at the start.
    #[arg(long, env = "BERTH_INIT_POOL")]
    pub init_pool: bool,
    /// Socket of the CSI services.
    #[arg(long, env = "BERTH_CSI_ENDPOINT", default_value = DEFAULT_ENDPOINT, value_parser = parse_endpoint)]
    pub csi_endpoint: PathBuf,
    /// The kubelet's directory: paths outside it are refused.
    #[arg(long, env = "BERTH_KUBELET_DIR", default_value = "/var/lib/kubelet", value_parser = parse_kubelet_dir)]
    pub kubelet_dir: KubeletDir,
    /// Name of this node, as Kubernetes knows it.
    #[arg(long, env = "BERTH_NODE_NAME", value_parser = parse_node_name)]
    pub node_name: String,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, env = "BERTH_HTTP_ADDR", default_value = "127.0.0.1:9808")]
    pub http_addr: SocketAddr,
    /// What is never promised to volumes: bytes, a size like 10Gi, or a share like 5%.
    #[arg(long, env = "BERTH_RESERVE", default_value = "2%", value_parser = parse_reserve)]
    pub reserve: Reserve,
    /// How often the same byte may be promised; 1.0 promises only what is there.
    #[arg(long, env = "BERTH_OVERCOMMIT", default_value = "1.0", value_parser = parse_overcommit)]
    pub overcommit: f64,
    /// How long running calls may take to finish after SIGTERM.
    #[arg(long, env = "BERTH_DRAIN_TIMEOUT", default_value = "20s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,
    /// What is logged: error, warn, info, debug, or a filter like berth=debug.
    #[arg(long, env = "BERTH_LOG", default_value = "info")]
    pub log: String,
    /// How log lines look.
    #[arg(long, env = "BERTH_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

impl AgentArgs {
    /// The rules for promising space.
    pub fn policy(&self) -> Policy {
        Policy {
            reserve: self.reserve,
            overcommit: self.overcommit,
        }
    }
}

/// Reads `unix:///path`, or `unix:/path`, or a plain absolute path.
pub fn parse_endpoint(text: &str) -> Result<PathBuf, String> {
    // sun_path of unix(7), with its NUL and the temporary name that precedes the final one.
    const LONGEST: usize = 106;
    let path = text
        .strip_prefix("unix://")
        .or_else(|| text.strip_prefix("unix:"))
        .unwrap_or(text);
    if !path.starts_with('/') {
        return Err("expected unix:///absolute/path".to_owned());
    }
    if path.len() > LONGEST {
        return Err(format!(
            "the path of a unix socket has at most {LONGEST} bytes, this one {}",
            path.len()
        ));
    }
    Ok(PathBuf::from(path))
}

fn parse_kubelet_dir(text: &str) -> Result<KubeletDir, String> {
    let trimmed = if text.len() > 1 {
        text.trim_end_matches('/')
    } else {
        text
    };
    KubeletDir::new(Path::new(trimmed)).map_err(|error| error.to_string())
}

/// CSI allows 256 bytes for a node ID, Kubernetes 253 for a node's name.
fn parse_node_name(text: &str) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if (1..=253).contains(&text.len()) && text.bytes().all(legal) {
        Ok(text.to_owned())
    } else {
        Err("expected a Kubernetes node name: 1 to 253 of a-z, 0-9, - and .".to_owned())
    }
}

fn parse_overcommit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio > 0.0 => Ok(ratio),
        _ => Err("expected a ratio above 0, for example 1.5".to_owned()),
    }
}

fn parse_reserve(text: &str) -> Result<Reserve, String> {
    let refuse = || "expected bytes, a size like 10Gi, or a share like 5%".to_owned();
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.parse().map_err(|_| refuse())?;
        return match (0.0..=100.0).contains(&percent) {
            true => Ok(Reserve::Share(percent / 100.0)),
            false => Err(refuse()),
        };
    }
    let size: bytesize::ByteSize = text.parse().map_err(|_| refuse())?;
    Ok(Reserve::Bytes(size.as_u64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_parsed_or_refused_with_an_example() {
        assert_eq!(parse_endpoint("unix:///run/csi.sock"), Ok("/run/csi.sock".into()));
        assert_eq!(parse_endpoint("/run/csi.sock"), Ok("/run/csi.sock".into()));
        assert!(parse_endpoint("tcp://1.2.3.4:1").is_err());
        assert!(parse_endpoint(&format!("unix:///{}", "x".repeat(120))).is_err());
        assert_eq!(parse_reserve("5%"), Ok(Reserve::Share(0.05)));
        assert_eq!(parse_reserve("10Gi"), Ok(Reserve::Bytes(10 << 30)));
        assert_eq!(parse_reserve("4096"), Ok(Reserve::Bytes(4096)));
        for bad in ["101%", "-1%", "ten", ""] {
            assert!(parse_reserve(bad).is_err(), "{bad}");
        }
        for bad in ["0", "-1", "NaN", "inf", "x"] {
            assert!(parse_overcommit(bad).is_err(), "{bad}");
        }
        assert!(parse_node_name("node-1.example").is_ok());
        for bad in ["", "Node", "a/b", "a\n", &"a".repeat(254)] {
            assert!(parse_node_name(bad).is_err(), "{bad:?}");
        }
        assert!(parse_kubelet_dir("/var/lib/kubelet/").is_ok());
        assert!(parse_kubelet_dir("kubelet").is_err());
    }
}
