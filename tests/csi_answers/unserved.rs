//! Everything that is not served says so, and so does everything that does not exist.

use tonic::Code;

use super::common::raw;
use super::{Fixture, tree};

const UNSERVED: [&str; 24] = [
    "csi.v1.Controller/ControllerPublishVolume",
    "csi.v1.Controller/ControllerUnpublishVolume",
    "csi.v1.Controller/CreateSnapshot",
    "csi.v1.Controller/DeleteSnapshot",
    "csi.v1.Controller/ListSnapshots",
    "csi.v1.Controller/GetSnapshot",
    "csi.v1.Controller/ControllerExpandVolume",
    "csi.v1.Controller/ControllerModifyVolume",
    "csi.v1.Node/NodeExpandVolume",
    "csi.v1.GroupController/GroupControllerGetCapabilities",
    "csi.v1.GroupController/CreateVolumeGroupSnapshot",
    "csi.v1.GroupController/DeleteVolumeGroupSnapshot",
    "csi.v1.GroupController/GetVolumeGroupSnapshot",
    "csi.v1.SnapshotMetadata/GetMetadataAllocated",
    "csi.v1.SnapshotMetadata/GetMetadataDelta",
    // These never were, or are no more.
    "csi.v1.Controller/NoSuchCall",
    "csi.v1.Controller/createVolume",
    "csi.v1.Controller/",
    "csi.v1.Controller",
    "csi.v0.Controller/CreateVolume",
    "csi.v1.NoSuchService/CreateVolume",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "pluginregistration.Registration/GetInfo",
    "",
];

#[tokio::test]
async fn what_is_not_served_is_unimplemented() {
    let fixture = Fixture::new().await;
    let channel = raw::channel(&fixture.agent.socket()).await.unwrap();
    let before = tree(&fixture.pool());
    for path in UNSERVED {
        let status = raw::call(&channel, &format!("/{path}")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status}");
    }
    assert_eq!(tree(&fixture.pool()), before);
    raw::call(&channel, "/csi.v1.Identity/Probe").await.unwrap();
}

#[tokio::test]
async fn the_registration_socket_serves_registration_alone() {
    let fixture = Fixture::new().await;
    let socket = fixture.agent.kubelet("plugins_registry/csi.berth.dev-reg.sock");
    let channel = raw::channel(&socket).await.unwrap();
    raw::call(&channel, "/pluginregistration.Registration/GetInfo")
        .await
        .unwrap();
    for path in [
        "csi.v1.Identity/Probe",
        "csi.v1.Controller/ListVolumes",
        "berth.admin.v1.Admin/ListVolumes",
    ] {
        let status = raw::call(&channel, &format!("/{path}")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status}");
    }
}
