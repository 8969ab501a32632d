//! The record of one volume, as it stands on disk.
//!
//! The content never changes while a deletion goes its way: that is told by the file's name alone,
//! which a rename changes in one durable step.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::envelope::{self, Problem};
use crate::volume::{
    AccessMode, Attributes, Capability, Capacity, Claim, MountOption, Record, ValueError, VolumeId, VolumeName,
    VolumeSpec, shorten,
};

/// The newest format of a record.
pub const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct V1 {
    id: String,
    name: String,
    capacity_bytes: u64,
    capabilities: Vec<CapabilityV1>,
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    trash_retention_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<ClaimV1>,
    created_at: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CapabilityV1 {
    mode: ModeV1,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the names are CSI's, and on disk")]
enum ModeV1 {
    SingleNodeWriter,
    SingleNodeReaderOnly,
    SingleNodeSingleWriter,
    SingleNodeMultiWriter,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimV1 {
    namespace: String,
    name: String,
}

/// The file's bytes.
pub fn encode(record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    envelope::seal(FORMAT, &V1::from(record))
}

/// Reads the file's bytes.
pub fn decode(bytes: &[u8]) -> Result<Record, Problem> {
    let (_, body) = envelope::open(bytes, FORMAT)?;
    let v1: V1 = serde_json::from_str(body).map_err(|error| Problem::Damaged(error.to_string()))?;
    v1.try_into()
        .map_err(|error: ValueError| Problem::Damaged(error.to_string()))
}

impl From<&Record> for V1 {
    fn from(record: &Record) -> Self {
        let Record {
            id,
            spec,
            capacity,
            created_at,
            deletion: _,
        } = record;
        Self {
            id: id.to_string(),
            name: spec.name.to_string(),
            capacity_bytes: capacity.bytes(),
            capabilities: spec.capabilities.iter().map(CapabilityV1::from).collect(),
            mode: format!("{:04o}", spec.attributes.mode),
            uid: spec.attributes.uid,
            gid: spec.attributes.gid,
            trash_retention_seconds: spec.attributes.trash_retention.as_secs(),
            claim: spec.claim.as_ref().map(|claim| ClaimV1 {
                namespace: claim.namespace.to_string(),
                name: claim.name.to_string(),
            }),
            created_at: *created_at,
        }
    }
}

impl TryFrom<V1> for Record {
    type Error = ValueError;

    fn try_from(v1: V1) -> Result<Self, ValueError> {
        // One way to write a mode, and only those that a class may ask for.
        let mode = u32::from_str_radix(&v1.mode, 8)
            .ok()
            .filter(|mode| *mode <= Attributes::LARGEST_MODE && format!("{mode:04o}") == v1.mode)
            .ok_or_else(|| ValueError::new(format!("mode {:?}", shorten(&v1.mode)), "is not one of a directory"))?;
        if v1.capabilities.is_empty() {
            return Err(ValueError::new("capabilities", "are missing"));
        }
        let claim = v1.claim.map(|claim| Claim::parse(&claim.namespace, &claim.name));
        Ok(Self {
            id: VolumeId::parse(&v1.id)?,
            spec: VolumeSpec {
                name: VolumeName::parse(&v1.name)?,
                capabilities: v1
                    .capabilities
                    .into_iter()
                    .map(Capability::try_from)
                    .collect::<Result<_, _>>()?,
                attributes: Attributes {
                    mode,
                    uid: v1.uid,
                    gid: v1.gid,
                    trash_retention: Duration::from_secs(v1.trash_retention_seconds),
                },
                claim: claim.transpose()?,
            },
            capacity: Capacity::new(v1.capacity_bytes)?,
            created_at: v1.created_at,
            deletion: None,
        })
    }
}

impl From<&Capability> for CapabilityV1 {
    fn from(capability: &Capability) -> Self {
        Self {
            mode: match capability.mode {
                AccessMode::SingleNodeWriter => ModeV1::SingleNodeWriter,
                AccessMode::SingleNodeReaderOnly => ModeV1::SingleNodeReaderOnly,
                AccessMode::SingleNodeSingleWriter => ModeV1::SingleNodeSingleWriter,
                AccessMode::SingleNodeMultiWriter => ModeV1::SingleNodeMultiWriter,
            },
            options: capability
                .options
                .iter()
                .map(|option| option.name().to_owned())
                .collect(),
        }
    }
}

impl TryFrom<CapabilityV1> for Capability {
    type Error = ValueError;

    fn try_from(v1: CapabilityV1) -> Result<Self, ValueError> {
        Ok(Self {
            mode: match v1.mode {
                ModeV1::SingleNodeWriter => AccessMode::SingleNodeWriter,
                ModeV1::SingleNodeReaderOnly => AccessMode::SingleNodeReaderOnly,
                ModeV1::SingleNodeSingleWriter => AccessMode::SingleNodeSingleWriter,
                ModeV1::SingleNodeMultiWriter => AccessMode::SingleNodeMultiWriter,
            },
            options: MountOption::parse_all(v1.options.iter().map(String::as_str))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume with every optional field.
    fn full() -> Record {
        let name = VolumeName::parse("Größe \"1\" \u{1f6a2}").unwrap();
        Record {
            id: VolumeId::for_name(&name, 1),
            spec: VolumeSpec {
                name,
                capabilities: vec![
                    Capability {
                        mode: AccessMode::SingleNodeWriter,
                        options: vec![MountOption::NoAtime, MountOption::NoSuid, MountOption::NoExec],
                    },
                    Capability {
                        mode: AccessMode::SingleNodeMultiWriter,
                        options: vec![],
                    },
                ],
                attributes: Attributes {
                    mode: 0o2775,
                    uid: Some(999),
                    gid: Some(4_294_967_294),
                    trash_retention: Duration::from_secs(604_800),
                },
                claim: Some(Claim::parse("default", "data-mysql-0").unwrap()),
            },
            capacity: Capacity::new(i64::MAX as u64).unwrap(),
            created_at: 1_790_000_000,
            deletion: None,
        }
    }

    /// A volume as a claim without a word about anything gets it.
    fn plain() -> Record {
        let name = VolumeName::parse("pvc-0f9c1f4e-8a53-4c4e-9d0a-5b8f3d7f2c11").unwrap();
        Record {
            id: VolumeId::for_name(&name, 0),
            spec: VolumeSpec {
                name,
                capabilities: vec![Capability {
                    mode: AccessMode::SingleNodeSingleWriter,
                    options: vec![],
                }],
                attributes: Attributes::default(),
                claim: None,
            },
            capacity: Capacity::new(1 << 30).unwrap(),
            created_at: 1_790_000_000,
            deletion: None,
        }
    }

    #[test]
    fn the_golden_files_of_format_1_are_read_and_written() {
        for (golden, record) in [
            (
                include_bytes!("../../tests/golden/record-v1-full.json").as_slice(),
                full(),
            ),
            (
                include_bytes!("../../tests/golden/record-v1-plain.json").as_slice(),
                plain(),
            ),
        ] {
            let encoded = encode(&record).expect("encodes");
            assert_eq!(String::from_utf8_lossy(&encoded), String::from_utf8_lossy(golden));
            assert_eq!(decode(golden), Ok(record));
        }
    }

    /// Sealed with a right checksum, but not what a Berth of format 1 writes.
    #[test]
    fn a_body_that_means_nothing_is_damage() {
        let reseal = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut body = serde_json::to_value(V1::from(&plain())).unwrap();
            change(&mut body);
            decode(&envelope::seal(FORMAT, &body).unwrap())
        };
        assert_eq!(reseal(&|_| {}), Ok(plain()));
        let changes: [&dyn Fn(&mut serde_json::Value); 11] = [
            &|body| body["id"] = "../x".into(),
            &|body| body["name"] = "".into(),
            &|body| body["capacity_bytes"] = 0.into(),
            &|body| body["mode"] = "rwx".into(),
            &|body| body["mode"] = "+770".into(),
            &|body| body["mode"] = "4770".into(),
            &|body| body["mode"] = "37777777777".into(),
            &|body| body["capabilities"] = serde_json::json!([]),
            &|body| body["capabilities"][0]["mode"] = "multi_node_writer".into(),
            &|body| body["claim"] = serde_json::json!({"namespace": "..", "name": "a"}),
            &|body| body["limit"] = 7.into(),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            assert!(matches!(reseal(change), Err(Problem::Damaged(_))), "change {at}");
        }
    }
}
