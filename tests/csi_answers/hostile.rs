//! IDs and paths that mean harm: each call answers as designed, and nothing outside the pool changes.

use std::path::PathBuf;

use berth::proto::admin::UndeleteRequest;
use berth::proto::csi;
use csi::volume_capability::access_mode::Mode;
use tonic::Code;

use super::canary::{Canary, expect, ids};
use super::common::raw;
use super::common::requests::{capability, create, create_with, publish, stage, unpublish, unstage};
use super::refused;

#[tokio::test]
async fn ids_that_no_volume_has_are_unknown_to_every_call() {
    let canary = Canary::new().await;
    let (staging, target) = (canary.kubelet("staging"), canary.kubelet("pods/new/mount"));
    let (mut controller, mut node) = (
        canary.fixture.clients.controller.clone(),
        canary.fixture.clients.node.clone(),
    );
    for id in ids() {
        expect("DeleteVolume", &id, canary.fixture.delete(&id).await, Code::Ok);
        let request = csi::ValidateVolumeCapabilitiesRequest {
            volume_id: id.clone(),
            volume_capabilities: vec![capability(Mode::SingleNodeWriter)],
            ..csi::ValidateVolumeCapabilitiesRequest::default()
        };
        let answer = controller.validate_volume_capabilities(request).await;
        expect("ValidateVolumeCapabilities", &id, answer, Code::NotFound);
        let request = csi::ControllerGetVolumeRequest { volume_id: id.clone() };
        expect(
            "ControllerGetVolume",
            &id,
            controller.controller_get_volume(request).await,
            Code::NotFound,
        );
        let request = csi::ControllerGetVolumeHealthRequest {
            volume_id: id.clone(),
            ..csi::ControllerGetVolumeHealthRequest::default()
        };
        let answer = controller.controller_get_volume_health(request).await;
        expect("ControllerGetVolumeHealth", &id, answer, Code::NotFound);
        let request = csi::NodeGetVolumeHealthRequest {
            volume_id: id.clone(),
            ..csi::NodeGetVolumeHealthRequest::default()
        };
        expect(
            "NodeGetVolumeHealth",
            &id,
            node.node_get_volume_health(request).await,
            Code::NotFound,
        );
        let request = csi::NodeGetVolumeStatsRequest {
            volume_id: id.clone(),
            volume_path: target.display().to_string(),
            ..csi::NodeGetVolumeStatsRequest::default()
        };
        expect(
            "NodeGetVolumeStats",
            &id,
            node.node_get_volume_stats(request).await,
            Code::NotFound,
        );
        expect(
            "NodeStageVolume",
            &id,
            node.node_stage_volume(stage(&id, &staging)).await,
            Code::NotFound,
        );
        let request = publish(&id, &staging, &target);
        expect(
            "NodePublishVolume",
            &id,
            node.node_publish_volume(request).await,
            Code::NotFound,
        );
        expect(
            "NodeUnstageVolume",
            &id,
            node.node_unstage_volume(unstage(&id, &staging)).await,
            Code::Ok,
        );
        expect(
            "NodeUnpublishVolume",
            &id,
            node.node_unpublish_volume(unpublish(&id, &target)).await,
            Code::Ok,
        );
        let request = UndeleteRequest { volume_id: id.clone() };
        expect(
            "Undelete",
            &id,
            canary.fixture.clients.admin.clone().undelete(request).await,
            Code::NotFound,
        );
        let request = csi::ListVolumesRequest {
            starting_token: format!("after:{id}"),
            ..csi::ListVolumesRequest::default()
        };
        let answer = controller.list_volumes(request).await;
        let legal = ["volumes", "null"].contains(&id.as_str());
        expect("ListVolumes", &id, answer, if legal { Code::Ok } else { Code::Aborted });
    }
    canary.check().await;
}

#[tokio::test]
async fn an_empty_message_is_invalid_to_every_call_that_needs_more() {
    let canary = Canary::new().await;
    let channel = raw::channel(&canary.fixture.agent.socket()).await.unwrap();
    for call in [
        "Controller/DeleteVolume",
        "Controller/ValidateVolumeCapabilities",
        "Controller/ControllerGetVolume",
        "Controller/ControllerGetVolumeHealth",
        "Node/NodeStageVolume",
        "Node/NodeUnstageVolume",
        "Node/NodePublishVolume",
        "Node/NodeUnpublishVolume",
        "Node/NodeGetVolumeStats",
        "Node/NodeGetVolumeHealth",
    ] {
        let answer = raw::call(&channel, &format!("/csi.v1.{call}")).await;
        refused(answer, Code::InvalidArgument, "volume_id is required");
    }
    let answer = raw::call(&channel, "/csi.v1.Controller/CreateVolume").await;
    refused(answer, Code::InvalidArgument, "name is required");
    canary.check().await;
}

#[tokio::test]
async fn paths_outside_the_kubelets_directory_are_invalid_to_every_call() {
    let canary = Canary::new().await;
    let (home, good) = (canary.fixture.home.path(), canary.kubelet("pods/new/mount"));
    let inside = |path: &str| {
        format!(
            "{}/{path}",
            canary.kubelet("").display().to_string().trim_end_matches('/')
        )
    };
    let outside = |path: &str| home.join(path).display().to_string();
    let paths = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "/".to_owned(),
        "pods/new/mount".to_owned(),
        "/etc".to_owned(),
        "/proc/self/root".to_owned(),
        outside("canary"),
        outside("canary/empty"),
        outside("pool/volumes"),
        outside("kubelet"),
        outside("kubelet/"),
        outside("kubelet2"),
        inside("../canary/empty"),
        inside(".."),
        inside("pods/../../canary/empty"),
        inside("pods/./x"),
        inside("pods//x"),
        inside("pods/x/."),
        inside("pods/x\0"),
        inside("pods/x\0/../../../canary"),
        inside(&"x".repeat(4096)),
        inside(&"x/".repeat(50_000)),
    ];
    let mut node = canary.fixture.clients.node.clone();
    let id = canary.volume.as_str();
    for path in &paths {
        let bad = PathBuf::from(path);
        expect(
            "NodeStageVolume",
            path,
            node.node_stage_volume(stage(id, &bad)).await,
            Code::InvalidArgument,
        );
        expect(
            "NodeUnstageVolume",
            path,
            node.node_unstage_volume(unstage(id, &bad)).await,
            Code::InvalidArgument,
        );
        let answer = node.node_unpublish_volume(unpublish(id, &bad)).await;
        expect("NodeUnpublishVolume", path, answer, Code::InvalidArgument);
        let answer = node.node_publish_volume(publish(id, &good, &bad)).await;
        expect("NodePublishVolume", path, answer, Code::InvalidArgument);
        let staged_nowhere = if path.is_empty() {
            Code::FailedPrecondition
        } else {
            Code::InvalidArgument
        };
        let answer = node.node_publish_volume(publish(id, &bad, &good)).await;
        expect("NodePublishVolume, staging path", path, answer, staged_nowhere);
        let request = csi::NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: path.clone(),
            ..csi::NodeGetVolumeStatsRequest::default()
        };
        let lookup = if path.is_empty() {
            Code::InvalidArgument
        } else {
            Code::NotFound
        };
        expect(
            "NodeGetVolumeStats",
            path,
            node.node_get_volume_stats(request).await,
            lookup,
        );
    }
    canary.check().await;
}

#[tokio::test]
async fn links_and_files_in_the_kubelets_directory_are_neither_followed_nor_removed() {
    let canary = Canary::new().await;
    let mut node = canary.fixture.clients.node.clone();
    let id = canary.volume.as_str();
    for path in [
        "pods/link",
        "pods/empty",
        "pods/link/empty",
        "pods/link/new",
        "pods/full/mount",
        "pods/full/mount/file",
    ] {
        let bad = canary.kubelet(path);
        let answer = node.node_stage_volume(stage(id, &bad)).await;
        expect("NodeStageVolume", path, answer, Code::FailedPrecondition);
        let answer = node.node_unpublish_volume(unpublish(id, &bad)).await;
        expect("NodeUnpublishVolume", path, answer, Code::FailedPrecondition);
        let request = csi::NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: bad.display().to_string(),
            ..csi::NodeGetVolumeStatsRequest::default()
        };
        expect(
            "NodeGetVolumeStats",
            path,
            node.node_get_volume_stats(request).await,
            Code::NotFound,
        );
    }
    canary.check().await;
}

#[tokio::test]
async fn names_and_claims_that_mean_harm_make_nothing_outside_the_pool() {
    let canary = Canary::new().await;
    let outside = |tree: String| -> Vec<String> {
        let pool = canary.fixture.pool().display().to_string();
        tree.lines()
            .filter(|line| !line.contains(&pool))
            .map(str::to_owned)
            .collect()
    };
    for name in ids() {
        let legal = name.chars().count() <= 128 && !name.contains('\0');
        let answer = canary.fixture.create(create(&name, 1)).await;
        expect(
            "CreateVolume",
            &name,
            answer,
            if legal { Code::Ok } else { Code::InvalidArgument },
        );
        for (namespace, claim) in [(name.as_str(), "a"), ("a", name.as_str())] {
            let parameters = [
                ("csi.storage.k8s.io/pvc/namespace", namespace),
                ("csi.storage.k8s.io/pvc/name", claim),
            ];
            let request = create_with("claimed", 1, &parameters);
            let answer = canary.fixture.create(request).await;
            if let Err(status) = answer {
                assert!(matches!(status.code(), Code::InvalidArgument), "{status}");
                assert!(
                    status.message().chars().count() <= 1001,
                    "{} bytes",
                    status.message().len()
                );
            }
        }
    }
    assert_eq!(outside(canary.tree()), outside(canary.before.clone()));
    for directory in ["volumes", ".berth/records", "by-claim"] {
        for entry in std::fs::read_dir(canary.fixture.pool().join(directory)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            assert!(
                name.chars().all(plain) && !name.starts_with('.'),
                "{directory}/{name:?}"
            );
        }
    }
}
