//! Parsing requests: each field becomes a type that carries its proof, or an error that names it.

use std::collections::HashMap;
use std::time::Duration;

use tonic::Status;

use super::status::invalid;
use crate::engine::{Error, Kind};
use crate::proto::csi;
use crate::proto::csi::volume_capability::AccessType;
use crate::proto::csi::volume_capability::access_mode::Mode;
use crate::volume::{
    AccessMode, Attributes, Capability, Capacity, CapacityRange, Claim, MountOption, ValueError, shorten,
};

/// The prefix of parameters that are Berth's.
const PREFIX: &str = "berth.dev/";
/// The prefix of parameters that external-provisioner adds.
const PROVISIONER_PREFIX: &str = "csi.storage.k8s.io/";
/// The largest map that the specification allows (CSI 1.13, "Size Limits"), with room to spare:
/// what a kubelet or sidecar really sends is never refused for its size.
const LARGEST_MAP: usize = 64 << 10;

/// A field that must be there.
pub fn required<'a>(field: &str, value: &'a str) -> Result<&'a str, Status> {
    if value.is_empty() {
        Err(invalid(format!("{field} is required")))
    } else {
        Ok(value)
    }
}

/// The capabilities of a request: at least one, each of them served; sorted, without duplicates.
pub fn capabilities(capabilities: &[csi::VolumeCapability]) -> Result<Vec<Capability>, Status> {
    if capabilities.is_empty() {
        return Err(invalid("volume_capabilities is required"));
    }
    let mut parsed: Vec<_> = capabilities
        .iter()
        .map(capability)
        .collect::<Result<_, _>>()
        .map_err(invalid)?;
    parsed.sort();
    parsed.dedup();
    Ok(parsed)
}

/// One capability that must be there and be served.
pub fn one_capability(capability: Option<&csi::VolumeCapability>) -> Result<Capability, Status> {
    let given = capability.ok_or_else(|| invalid("volume_capability is required"))?;
    self::capability(given).map_err(invalid)
}

/// A capability, or why Berth does not serve it.
pub fn capability(given: &csi::VolumeCapability) -> Result<Capability, ValueError> {
    let mount = match &given.access_type {
        Some(AccessType::Mount(mount)) => mount,
        Some(AccessType::Block(_)) => {
            return Err(ValueError::new(
                "access type block",
                "is not served: Berth provisions directories (volumeMode: Filesystem)",
            ));
        }
        None => return Err(ValueError::new("access_type", "is required")),
    };
    if !mount.volume_mount_group.is_empty() {
        return Err(ValueError::new(
            "volume_mount_group",
            "is not served (the kubelet applies fsGroup itself)",
        ));
    }
    Ok(Capability {
        mode: access_mode(given.access_mode.as_ref())?,
        options: MountOption::parse_all(mount.mount_flags.iter().map(String::as_str))?,
    })
}

/// Fails if a capability wants another file system than the pool has: a directory is on the pool's.
pub fn require_filesystem(capabilities: &[csi::VolumeCapability], pool: &str) -> Result<(), Error> {
    let wanted = capabilities
        .iter()
        .filter_map(|capability| match &capability.access_type {
            Some(AccessType::Mount(mount)) => Some(mount.fs_type.as_str()),
            _ => None,
        });
    match wanted.into_iter().find(|wanted| !wanted.is_empty() && *wanted != pool) {
        None => Ok(()),
        Some(wanted) => Err(Error::new(
            Kind::Invalid,
            format!(
                "fs_type {:?} cannot be had: the pool is on {pool}; leave csi.storage.k8s.io/fstype out of the class",
                shorten(wanted)
            ),
        )),
    }
}

fn access_mode(given: Option<&csi::volume_capability::AccessMode>) -> Result<AccessMode, ValueError> {
    let refuse = |name: &str, problem: &str| Err(ValueError::new(format!("access mode {name}"), problem));
    let Some(given) = given else {
        return refuse("", "is required");
    };
    match Mode::try_from(given.mode) {
        Ok(Mode::SingleNodeWriter) => Ok(AccessMode::SingleNodeWriter),
        Ok(Mode::SingleNodeReaderOnly) => Ok(AccessMode::SingleNodeReaderOnly),
        Ok(Mode::SingleNodeSingleWriter) => Ok(AccessMode::SingleNodeSingleWriter),
        Ok(Mode::SingleNodeMultiWriter) => Ok(AccessMode::SingleNodeMultiWriter),
        Ok(Mode::Unknown) => refuse("UNKNOWN", "says nothing; ask for a single-node mode"),
        Ok(mode @ (Mode::MultiNodeReaderOnly | Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter)) => refuse(
            mode.as_str_name(),
            "spans nodes, but a volume lives on one node's disk: use ReadWriteOnce or ReadWriteOncePod",
        ),
        Err(_) => refuse(&given.mode.to_string(), "is not one that CSI 1.13 knows"),
    }
}

/// A capacity range; a lower bound above the upper one is out of range.
pub fn capacity_range(given: Option<&csi::CapacityRange>) -> Result<CapacityRange, Error> {
    let given = given.copied().unwrap_or_default();
    let bound = |field: &str, bytes: i64| match u64::try_from(bytes) {
        Err(_) => Err(Error::new(Kind::Invalid, format!("{field} {bytes} is negative"))),
        Ok(0) => Ok(None),
        Ok(bytes) => Capacity::new(bytes)
            .map(Some)
            .map_err(|error| Error::new(Kind::Invalid, error.to_string())),
    };
    let range = CapacityRange {
        required: bound("required_bytes", given.required_bytes)?,
        limit: bound("limit_bytes", given.limit_bytes)?,
    };
    match (range.required, range.limit) {
        (Some(required), Some(limit)) if required > limit => Err(Error::new(
            Kind::OutOfRange,
            format!(
                "required_bytes {} is more than limit_bytes {}",
                required.bytes(),
                limit.bytes()
            ),
        )),
        _ => Ok(range),
    }
}

/// What the parameters of a StorageClass say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters {
    /// Those with the prefix `berth.dev/`.
    pub attributes: Attributes,
    /// The claim, from `csi.storage.k8s.io/pvc/…`.
    pub claim: Option<Claim>,
}

/// Reads parameters; a key that nobody knows is an error, because a misspelt one would otherwise
/// be a limit or an owner that silently does not hold.
pub fn parameters(given: &HashMap<String, String>) -> Result<Parameters, Status> {
    let size: usize = given.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > LARGEST_MAP {
        return Err(invalid(format!(
            "parameters hold {size} bytes, more than {LARGEST_MAP}"
        )));
    }
    let mut attributes = Attributes::default();
    let (mut namespace, mut name) = (None, None);
    for (key, value) in given {
        match key.as_str() {
            "berth.dev/mode" => attributes.mode = mode(value).map_err(invalid)?,
            "berth.dev/uid" => attributes.uid = Some(user_id(key, value).map_err(invalid)?),
            "berth.dev/gid" => attributes.gid = Some(user_id(key, value).map_err(invalid)?),
            "berth.dev/trash-retention" => attributes.trash_retention = duration(key, value).map_err(invalid)?,
            "csi.storage.k8s.io/pvc/namespace" => namespace = Some(value),
            "csi.storage.k8s.io/pvc/name" => name = Some(value),
            key if key.starts_with(PROVISIONER_PREFIX) => {}
            key => {
                return Err(invalid(format!(
                    "parameter {:?} is unknown; known are {PREFIX}mode, {PREFIX}uid, {PREFIX}gid and \
                     {PREFIX}trash-retention",
                    shorten(key)
                )));
            }
        }
    }
    let claim = match (namespace, name) {
        (Some(namespace), Some(name)) => Some(Claim::parse(namespace, name).map_err(invalid)?),
        _ => None,
    };
    Ok(Parameters { attributes, claim })
}

fn mode(value: &str) -> Result<u32, ValueError> {
    let digits = (3..=5).contains(&value.len()) && value.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    match u32::from_str_radix(value, 8) {
        Ok(mode) if digits && mode <= Attributes::LARGEST_MODE => Ok(mode),
        _ => Err(ValueError::new(
            format!("parameter {PREFIX}mode {:?}", shorten(value)),
            "is not an octal mode of a directory, like 0770",
        )),
    }
}

fn user_id(key: &str, value: &str) -> Result<u32, ValueError> {
    let refuse = || {
        ValueError::new(
            format!("parameter {key} {:?}", shorten(value)),
            "is not a numeric ID from 0 to 4294967294",
        )
    };
    // The largest number means "leave it as it is" to chown(2).
    value
        .parse()
        .ok()
        .filter(|id| *id != u32::MAX && value.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(refuse)
}

fn duration(key: &str, value: &str) -> Result<Duration, ValueError> {
    let refuse = |problem: String| ValueError::new(format!("parameter {key} {:?}", shorten(value)), problem);
    if value == "0" {
        return Ok(Duration::ZERO);
    }
    let parsed = humantime::parse_duration(value)
        .map_err(|error| refuse(format!("is not a duration like 30m, 12h or 7d: {error}")))?;
    // Whole seconds are what the record keeps.
    let begun = u64::from(parsed.subsec_nanos() > 0);
    Ok(Duration::from_secs(parsed.as_secs().saturating_add(begun)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect()
    }

    #[test]
    fn parameters_are_read_and_unknown_ones_refused() {
        let parsed = parameters(&map(&[
            ("berth.dev/mode", "2775"),
            ("berth.dev/uid", "999"),
            ("berth.dev/gid", "0"),
            ("berth.dev/trash-retention", "7d"),
            ("csi.storage.k8s.io/pvc/name", "data-mysql-0"),
            ("csi.storage.k8s.io/pvc/namespace", "default"),
            ("csi.storage.k8s.io/pv/name", "pvc-1"),
            ("csi.storage.k8s.io/something-new", "x"),
        ]))
        .expect("all known");
        assert_eq!(parsed.attributes.mode, 0o2775);
        assert_eq!(parsed.attributes.uid, Some(999));
        assert_eq!(parsed.attributes.gid, Some(0));
        assert_eq!(parsed.attributes.trash_retention, Duration::from_secs(7 * 86_400));
        assert_eq!(parsed.claim.expect("claim").to_string(), "default/data-mysql-0");
        for (key, value) in [
            ("berth.dev/mod", "0770"),
            ("mode", "0770"),
            ("", ""),
            ("berth.dev/mode", "0990"),
            ("berth.dev/mode", "4755"),
            ("berth.dev/mode", "7"),
            ("berth.dev/mode", "+770"),
            ("berth.dev/mode", "-0770"),
            ("berth.dev/uid", "root"),
            ("berth.dev/uid", "-1"),
            ("berth.dev/uid", "+1"),
            ("berth.dev/uid", "4294967295"),
            ("berth.dev/gid", "4294967296"),
            ("berth.dev/trash-retention", "soon"),
            ("berth.dev/trash-retention", "-1s"),
        ] {
            let error = parameters(&map(&[(key, value)])).expect_err(&format!("{key}={value}"));
            assert_eq!(error.code(), tonic::Code::InvalidArgument);
        }
    }

    #[test]
    fn a_retention_is_whole_seconds_and_never_less_than_what_was_said() {
        for (value, seconds) in [
            ("0", 0),
            ("0s", 0),
            ("1ms", 1),
            ("1500ms", 2),
            ("1h", 3600),
            ("18446744073709551615s 1ns", u64::MAX),
        ] {
            let parsed = parameters(&map(&[("berth.dev/trash-retention", value)])).expect(value);
            assert_eq!(
                parsed.attributes.trash_retention,
                Duration::from_secs(seconds),
                "{value}"
            );
        }
    }

    #[test]
    fn modes_that_span_nodes_are_refused_with_a_word_on_what_to_use() {
        for mode in [0, 3, 4, 5, 99] {
            let given = csi::volume_capability::AccessMode { mode };
            assert!(access_mode(Some(&given)).is_err(), "{mode}");
        }
        for mode in [1, 2, 6, 7] {
            let given = csi::volume_capability::AccessMode { mode };
            assert!(access_mode(Some(&given)).is_ok(), "{mode}");
        }
    }

    #[test]
    fn ranges_that_nothing_satisfies_are_told_apart() {
        let range = |required_bytes, limit_bytes| {
            capacity_range(Some(&csi::CapacityRange {
                required_bytes,
                limit_bytes,
            }))
        };
        assert_eq!(range(2, 1).map_err(|error| error.kind()), Err(Kind::OutOfRange));
        assert_eq!(range(-1, 0).map_err(|error| error.kind()), Err(Kind::Invalid));
        assert!(range(1, 1).is_ok());
        assert!(range(i64::MAX, 0).is_ok());
    }
}
