//! The wrapper of every file that Berth writes: a format version and a checksum around a body.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// Why a file cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// A newer Berth wrote it.
    TooNew(u32),
    /// It is not what any Berth wrote.
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    format: u32,
    checksum: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// Only the version: read first, since a newer format may look different in everything else.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// Wraps `body` for the disk.
pub fn seal(format: u32, body: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let body = serde_json::value::to_raw_value(body)?;
    let mut bytes = serde_json::to_vec(&Envelope {
        format,
        checksum: checksum(format, body.get()),
        body: &body,
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Checks version and checksum, and returns the format and the body's text.
pub fn open(bytes: &[u8], newest: u32) -> Result<(u32, &str), Problem> {
    let damaged = |error: serde_json::Error| Problem::Damaged(error.to_string());
    let Version { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format > newest {
        return Err(Problem::TooNew(format));
    }
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(damaged)?;
    if envelope.checksum != checksum(format, envelope.body.get()) {
        return Err(Problem::Damaged("the checksum does not match".to_owned()));
    }
    Ok((format, envelope.body.get()))
}

fn checksum(format: u32, body: &str) -> String {
    use std::fmt::Write;

    let digest = Sha256::new()
        .chain_update(format.to_be_bytes())
        .chain_update(body)
        .finalize();
    digest.iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_noticed() {
        let sealed = seal(1, &serde_json::json!({"id": "a", "size": 7})).expect("plain values");
        assert_eq!(open(&sealed, 1), Ok((1, r#"{"id":"a","size":7}"#)));
        for at in 0..sealed.len() - 1 {
            let mut torn = sealed.clone();
            torn[at] ^= 1;
            assert!(open(&torn, 1).is_err(), "byte {at} changed unnoticed");
            assert!(open(&sealed[..at], 1).is_err(), "cut at {at} unnoticed");
        }
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        assert_eq!(open(br#"{"format":2,"other":[]}"#, 1), Err(Problem::TooNew(2)));
        assert!(matches!(open(b"\0\0\0", 1), Err(Problem::Damaged(_))));
    }
}
