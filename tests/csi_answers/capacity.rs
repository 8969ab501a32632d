//! GetCapacity: what may still be promised, here and in this way.

use std::collections::HashMap;

use berth::proto::csi;
use csi::volume_capability::access_mode::Mode;
use tonic::Code;

use super::common::requests::{MIB, capability, create, create_with};
use super::{Fixture, refused, topology};

#[tokio::test]
async fn an_empty_request_is_answered_with_all_there_is() {
    let fixture = Fixture::new().await;
    let request = csi::GetCapacityRequest::default();
    let answer = fixture
        .clients
        .controller
        .clone()
        .get_capacity(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        answer,
        csi::GetCapacityResponse {
            available_capacity: 100 * MIB,
            maximum_volume_size: Some(100 * MIB),
            minimum_volume_size: Some(1),
        }
    );
}

#[tokio::test]
async fn it_falls_by_what_is_made_and_rises_by_what_is_deleted() {
    let fixture = Fixture::new().await;
    let available = async || fixture.capacity(csi::GetCapacityRequest::default()).await.unwrap() / MIB;
    let a = fixture.create_id(create("a", 30 * MIB)).await;
    assert_eq!(available().await, 70);
    fixture.create_id(create("a", 30 * MIB)).await;
    assert_eq!(available().await, 70, "a retry promises nothing twice");
    fixture.create(create("b", 80 * MIB)).await.unwrap_err();
    assert_eq!(available().await, 70, "what is refused is not promised");
    let kept = fixture
        .create_id(create_with("c", 50 * MIB, &[("berth.dev/trash-retention", "1h")]))
        .await;
    assert_eq!(available().await, 20);
    fixture.delete(&a).await.unwrap();
    assert_eq!(available().await, 50);
    // What the trash keeps is no promise any more; the space that its data takes is just not free.
    fixture.delete(&kept).await.unwrap();
    assert_eq!(available().await, 100);
    fixture.create(create("d", 10 * MIB)).await.unwrap();
    let fixture = fixture.restart_with_mib(100).await;
    assert_eq!(
        fixture.capacity(csi::GetCapacityRequest::default()).await.unwrap(),
        90 * MIB
    );
}

#[tokio::test]
async fn elsewhere_there_is_nothing() {
    let fixture = Fixture::new().await;
    let uuid = fixture.pool_uuid();
    let at = async |segments: &[(&str, &str)]| {
        let request = csi::GetCapacityRequest {
            accessible_topology: Some(topology(segments)),
            ..csi::GetCapacityRequest::default()
        };
        fixture.capacity(request).await.unwrap()
    };
    let (pool, node) = ("topology.berth.dev/pool", "topology.berth.dev/node");
    for here in [
        &[(pool, uuid.as_str())][..],
        &[(node, "test-node")],
        &[(pool, &uuid), (node, "test-node")],
        &[],
    ] {
        assert_eq!(at(here).await, 100 * MIB, "{here:?}");
    }
    for elsewhere in [
        &[(pool, "00000000-0000-4000-8000-000000000000")][..],
        &[(node, "other")],
        &[(pool, &uuid), (node, "other")],
        &[(pool, &uuid), ("zone", "a")],
        &[(pool, "")],
    ] {
        assert_eq!(at(elsewhere).await, 0, "{elsewhere:?}");
    }
}

#[tokio::test]
async fn for_what_is_not_served_there_is_nothing() {
    let fixture = Fixture::new().await;
    let with = async |capabilities: Vec<csi::VolumeCapability>| {
        let request = csi::GetCapacityRequest {
            volume_capabilities: capabilities,
            ..csi::GetCapacityRequest::default()
        };
        fixture.capacity(request).await.unwrap()
    };
    assert_eq!(with(vec![capability(Mode::SingleNodeWriter)]).await, 100 * MIB);
    assert_eq!(with(vec![capability(Mode::MultiNodeMultiWriter)]).await, 0);
    assert_eq!(
        with(vec![
            capability(Mode::SingleNodeWriter),
            capability(Mode::MultiNodeReaderOnly)
        ])
        .await,
        0
    );
}

#[tokio::test]
async fn parameters_are_read_as_at_creation() {
    let fixture = Fixture::new().await;
    let with = async |key: &str, value: &str| {
        let request = csi::GetCapacityRequest {
            parameters: HashMap::from([(key.to_owned(), value.to_owned())]),
            ..csi::GetCapacityRequest::default()
        };
        fixture.capacity(request).await
    };
    assert_eq!(with("berth.dev/mode", "0700").await.unwrap(), 100 * MIB);
    assert_eq!(with("csi.storage.k8s.io/anything", "").await.unwrap(), 100 * MIB);
    refused(
        with("berth.dev/mod", "0700").await,
        Code::InvalidArgument,
        "berth.dev/mod",
    );
    refused(with("berth.dev/uid", "root").await, Code::InvalidArgument, "root");
}

#[tokio::test]
async fn overcommit_promises_the_same_byte_more_than_once() {
    let home = tempfile::tempdir().unwrap();
    let pool = home.path().join("pool");
    std::fs::create_dir(&pool).unwrap();
    let disk = nix::sys::statvfs::statvfs(&pool).unwrap();
    let size = i64::try_from(disk.blocks() * disk.fragment_size()).unwrap();
    let flags = ["--init-pool", "--reserve", "0", "--overcommit", "1000000"];
    let agent = super::common::Agent::start_with(home.path(), &pool, &flags).await;
    let mut controller = agent.clients().await.controller;
    controller.create_volume(create("a", size * 10)).await.unwrap();
    controller.create_volume(create("b", size * 10)).await.unwrap();
}
