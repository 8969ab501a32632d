//! Names of record files: the volume's ID and how far its deletion is.

use crate::volume::{Deletion, VolumeId};

const ACTIVE: &str = "json";
const DELETED: &str = "deleted";
const PURGING: &str = "purging";

/// The name of the record of volume `id`.
pub fn format(id: &VolumeId, deletion: Option<Deletion>) -> String {
    match deletion {
        None => format!("{id}.{ACTIVE}"),
        Some(Deletion::Kept { until }) => format!("{id}.{DELETED}.{until}"),
        Some(Deletion::Purging) => format!("{id}.{PURGING}"),
    }
}

/// Reads a name that [`format`] wrote; `None` for any other.
pub fn parse(name: &str) -> Option<(VolumeId, Option<Deletion>)> {
    let (id, state) = name.split_once('.')?;
    let id = VolumeId::parse(id).ok()?;
    let deletion = match state.split_once('.') {
        None if state == ACTIVE => None,
        None if state == PURGING => Some(Deletion::Purging),
        Some((DELETED, until)) => Some(Deletion::Kept {
            until: until.parse().ok()?,
        }),
        _ => return None,
    };
    // One name for one state: `+1` and `01` are not what format writes.
    (format(&id, deletion) == name).then_some((id, deletion))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_state_and_nothing_else_is_a_name() {
        let id = VolumeId::parse("pvc-1").expect("legal");
        for deletion in [None, Some(Deletion::Kept { until: 17 }), Some(Deletion::Purging)] {
            assert_eq!(parse(&format(&id, deletion)), Some((id.clone(), deletion)));
        }
        for other in [
            "pvc-1",
            "pvc-1.",
            ".json",
            "PVC.json",
            "pvc-1.json.1",
            "pvc-1.deleted",
            "pvc-1.deleted.",
            "pvc-1.deleted.+1",
            "pvc-1.deleted.01",
            "pvc-1.deleted.99999999999999999999",
            "pvc-1.purging.1",
            "../x.json",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
