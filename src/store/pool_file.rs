//! `berth.json`: which pool this is and on which file system it was made.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::envelope::{self, Problem};
use crate::sys::filesystem::FilesystemId;

/// The newest format of the pool file.
pub const FORMAT: u32 = 1;

/// The identity of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolInfo {
    /// Made once, when the pool was made; the topology label of every volume in it.
    pub uuid: Uuid,
    /// The file system it was made on.
    pub filesystem: FilesystemId,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
}

#[derive(Serialize, Deserialize)]
struct V1 {
    pool_uuid: Uuid,
    filesystem_type: String,
    filesystem_id: String,
    created_at: u64,
}

/// The file's bytes.
pub fn encode(info: &PoolInfo) -> Result<Vec<u8>, serde_json::Error> {
    envelope::seal(
        FORMAT,
        &V1 {
            pool_uuid: info.uuid,
            filesystem_type: info.filesystem.kind.clone(),
            filesystem_id: info.filesystem.id.clone(),
            created_at: info.created_at,
        },
    )
}

/// Reads the file's bytes.
pub fn decode(bytes: &[u8]) -> Result<PoolInfo, Problem> {
    let (_, body) = envelope::open(bytes, FORMAT)?;
    let v1: V1 = serde_json::from_str(body).map_err(|error| Problem::Damaged(error.to_string()))?;
    Ok(PoolInfo {
        uuid: v1.pool_uuid,
        filesystem: FilesystemId {
            kind: v1.filesystem_type,
            id: v1.filesystem_id,
        },
        created_at: v1.created_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_file_of_format_1_is_read_and_written() {
        let golden = include_bytes!("../../tests/golden/pool-v1.json");
        let info = PoolInfo {
            uuid: Uuid::try_parse("7f1c2b0a-4c7e-4d52-9a53-0b0e5f8a6c11").unwrap(),
            filesystem: FilesystemId {
                kind: "xfs".to_owned(),
                id: "uuid:0d4e7a3c5b2f4e1896c7d1a2b3c4e5f6".to_owned(),
            },
            created_at: 1_790_000_000,
        };
        let encoded = encode(&info).expect("encodes");
        assert_eq!(String::from_utf8_lossy(&encoded), String::from_utf8_lossy(golden));
        assert_eq!(decode(golden), Ok(info));
    }
}
