//! Requests as a kubelet and external-provisioner send them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use berth::proto::csi;
use csi::volume_capability::access_mode::Mode;
use csi::volume_capability::{AccessMode, AccessType, MountVolume};

use super::Agent;

pub const MIB: i64 = 1 << 20;

pub fn capability(mode: Mode) -> csi::VolumeCapability {
    capability_with(mode, &[])
}

pub fn capability_with(mode: Mode, flags: &[&str]) -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_mode: Some(AccessMode { mode: mode.into() }),
        access_type: Some(AccessType::Mount(MountVolume {
            mount_flags: flags.iter().map(ToString::to_string).collect(),
            ..MountVolume::default()
        })),
    }
}

pub fn create(name: &str, bytes: i64) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(csi::CapacityRange {
            required_bytes: bytes,
            limit_bytes: 0,
        }),
        volume_capabilities: vec![capability(Mode::SingleNodeWriter)],
        ..csi::CreateVolumeRequest::default()
    }
}

pub fn create_with(name: &str, bytes: i64, parameters: &[(&str, &str)]) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        parameters: parameters
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect::<HashMap<_, _>>(),
        ..create(name, bytes)
    }
}

pub fn delete(id: &str) -> csi::DeleteVolumeRequest {
    csi::DeleteVolumeRequest {
        volume_id: id.to_owned(),
        ..csi::DeleteVolumeRequest::default()
    }
}

/// The staging path of a volume, made as the kubelet makes it.
pub fn staging_path(agent: &Agent, id: &str) -> PathBuf {
    let path = agent.kubelet(&format!("plugins/kubernetes.io/csi/csi.berth.dev/{id}/globalmount"));
    std::fs::create_dir_all(&path).expect("staging path");
    path
}

/// The target path of a pod; its parent is made as the kubelet makes it.
pub fn target_path(agent: &Agent, pod: &str, id: &str) -> PathBuf {
    let path = agent.kubelet(&format!("pods/{pod}/volumes/kubernetes.io~csi/{id}/mount"));
    std::fs::create_dir_all(path.parent().unwrap()).expect("parent of the target path");
    path
}

pub fn stage(id: &str, staging: &Path) -> csi::NodeStageVolumeRequest {
    csi::NodeStageVolumeRequest {
        volume_id: id.to_owned(),
        staging_target_path: text(staging),
        volume_capability: Some(capability(Mode::SingleNodeWriter)),
        ..csi::NodeStageVolumeRequest::default()
    }
}

pub fn unstage(id: &str, staging: &Path) -> csi::NodeUnstageVolumeRequest {
    csi::NodeUnstageVolumeRequest {
        volume_id: id.to_owned(),
        staging_target_path: text(staging),
    }
}

pub fn publish(id: &str, staging: &Path, target: &Path) -> csi::NodePublishVolumeRequest {
    csi::NodePublishVolumeRequest {
        volume_id: id.to_owned(),
        staging_target_path: text(staging),
        target_path: text(target),
        volume_capability: Some(capability(Mode::SingleNodeWriter)),
        ..csi::NodePublishVolumeRequest::default()
    }
}

pub fn unpublish(id: &str, target: &Path) -> csi::NodeUnpublishVolumeRequest {
    csi::NodeUnpublishVolumeRequest {
        volume_id: id.to_owned(),
        target_path: text(target),
    }
}

pub fn text(path: &Path) -> String {
    path.to_str().expect("plain path").to_owned()
}
