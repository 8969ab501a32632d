//! How a claim's access mode is put to a driver.

use crate::proto::csi::VolumeCapability;
use crate::proto::csi::volume_capability::access_mode::Mode;
use crate::proto::csi::volume_capability::{AccessMode as CsiMode, AccessType, MountVolume};

use super::manifest::AccessMode;

/// The capability that external-provisioner and the kubelet ask for, which depends on whether the driver knows the
/// single-node modes (`SINGLE_NODE_MULTI_WRITER` among its capabilities).
pub fn of(mode: AccessMode, single_node_modes: bool) -> VolumeCapability {
    let mode = match (mode, single_node_modes) {
        (AccessMode::ReadWriteOnce, true) => Mode::SingleNodeMultiWriter,
        (AccessMode::ReadWriteOnce, false) => Mode::SingleNodeWriter,
        (AccessMode::ReadWriteOncePod, true) => Mode::SingleNodeSingleWriter,
        // Refused before it gets to a driver by the sidecar; a driver would refuse UNKNOWN.
        (AccessMode::ReadWriteOncePod, false) => Mode::Unknown,
        (AccessMode::ReadOnlyMany, _) => Mode::MultiNodeReaderOnly,
        (AccessMode::ReadWriteMany, _) => Mode::MultiNodeMultiWriter,
    };
    VolumeCapability {
        access_mode: Some(CsiMode { mode: mode.into() }),
        access_type: Some(AccessType::Mount(MountVolume::default())),
    }
}

#[cfg(test)]
mod tests {
    use super::{AccessMode, Mode, of};

    #[test]
    fn modes_map_as_external_provisioner_maps_them() {
        let table = [
            (AccessMode::ReadWriteOnce, true, Mode::SingleNodeMultiWriter),
            (AccessMode::ReadWriteOnce, false, Mode::SingleNodeWriter),
            (AccessMode::ReadWriteOncePod, true, Mode::SingleNodeSingleWriter),
            (AccessMode::ReadOnlyMany, true, Mode::MultiNodeReaderOnly),
            (AccessMode::ReadWriteMany, true, Mode::MultiNodeMultiWriter),
        ];
        for (mode, single_node_modes, expected) in table {
            let found = of(mode, single_node_modes).access_mode.map(|mode| mode.mode());
            assert_eq!(found, Some(expected), "{mode:?}");
        }
    }
}
