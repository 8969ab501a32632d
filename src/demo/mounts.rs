//! What is mounted beneath a directory, as this process sees it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The mount points at and beneath `directory`, in the order they were made; one mounted over twice is there twice.
pub fn beneath(directory: &Path) -> Result<Vec<PathBuf>> {
    let path = "/proc/self/mountinfo";
    let table = std::fs::read(path).with_context(|| format!("read {path}"))?;
    Ok(mount_points(&table)
        .filter(|point| point.starts_with(directory))
        .collect())
}

/// The fifth field of each line (proc_pid_mountinfo(5)).
fn mount_points(table: &[u8]) -> impl Iterator<Item = PathBuf> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
}

/// Undoes the kernel's `\040` for a space, tab, newline or backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'\\')
            .then(|| after.split_at_checked(3))
            .flatten()
            .and_then(|(digits, after)| Some((octal(digits)?, after)));
        let (byte, after) = escaped.unwrap_or((byte, after));
        plain.push(byte);
        rest = after;
    }
    plain
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::mount_points;

    #[test]
    fn mount_points_are_read_with_their_spaces_and_repetitions() {
        let table = b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            40 27 254:0 /pool/a /tmp/with\\040space\\134 rw shared:1 - ext4 /dev/vda rw\n\
            41 27 254:0 /pool/b /tmp/twice rw - ext4 /dev/vda rw\n\
            42 41 254:0 /pool/b /tmp/twice rw - ext4 /dev/vda rw\n";
        let points: Vec<_> = mount_points(table).collect();
        let expected = ["/", "/tmp/with space\\", "/tmp/twice", "/tmp/twice"].map(PathBuf::from);
        assert_eq!(points, expected);
    }
}
