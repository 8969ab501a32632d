//! ValidateVolumeCapabilities and ControllerGetVolume.

use std::collections::HashMap;

use berth::proto::csi;
use csi::volume_capability::access_mode::Mode;
use csi::volume_capability::{AccessType, BlockVolume};
use tonic::{Code, Status};

use super::common::requests::{MIB, capability, capability_with, create_with};
use super::{Fixture, refused};

type Answer = Result<csi::ValidateVolumeCapabilitiesResponse, Status>;

async fn validate(fixture: &Fixture, request: csi::ValidateVolumeCapabilitiesRequest) -> Answer {
    let answer = fixture
        .clients
        .controller
        .clone()
        .validate_volume_capabilities(request)
        .await;
    answer.map(tonic::Response::into_inner)
}

fn request(id: &str, capabilities: Vec<csi::VolumeCapability>) -> csi::ValidateVolumeCapabilitiesRequest {
    csi::ValidateVolumeCapabilitiesRequest {
        volume_id: id.to_owned(),
        volume_capabilities: capabilities,
        ..csi::ValidateVolumeCapabilitiesRequest::default()
    }
}

#[tokio::test]
async fn what_is_served_is_confirmed_as_it_was_asked() {
    let fixture = Fixture::new().await;
    let parameters = [("berth.dev/mode", "0700")];
    let id = fixture.create_id(create_with("a", MIB, &parameters)).await;
    let mut asked = request(
        &id,
        vec![
            capability(Mode::SingleNodeMultiWriter),
            capability_with(Mode::SingleNodeReaderOnly, &["noatime"]),
        ],
    );
    asked.parameters = HashMap::from(parameters.map(|(key, value)| (key.to_owned(), value.to_owned())));
    asked.volume_context = HashMap::from([(
        "storage.kubernetes.io/csiProvisionerIdentity".to_owned(),
        "x".to_owned(),
    )]);
    let answer = validate(&fixture, asked.clone()).await.unwrap();
    let confirmed = answer.confirmed.expect("confirmed");
    assert_eq!(confirmed.volume_capabilities, asked.volume_capabilities);
    assert_eq!(confirmed.parameters, asked.parameters);
    assert_eq!(confirmed.volume_context, asked.volume_context);
    assert_eq!(answer.message, "");
}

#[tokio::test]
async fn what_is_not_served_is_an_answer_with_a_reason_and_no_error() {
    let fixture = Fixture::new().await;
    let id = fixture.create_id(create_with("a", MIB, &[])).await;
    let good = capability(Mode::SingleNodeWriter);
    let block = csi::VolumeCapability {
        access_type: Some(AccessType::Block(BlockVolume {})),
        ..good.clone()
    };
    let mut other_parameters = request(&id, vec![good.clone()]);
    other_parameters.parameters = HashMap::from([("berth.dev/mode".to_owned(), "0700".to_owned())]);
    let mut unknown_parameters = request(&id, vec![good.clone()]);
    unknown_parameters.parameters = HashMap::from([("colour".to_owned(), "blue".to_owned())]);
    let mut mutable = request(&id, vec![good.clone()]);
    mutable.mutable_parameters = HashMap::from([("iops".to_owned(), "1".to_owned())]);
    let rows = [
        (
            request(&id, vec![capability(Mode::MultiNodeMultiWriter)]),
            "MULTI_NODE_MULTI_WRITER",
        ),
        (
            request(&id, vec![good.clone(), capability(Mode::MultiNodeReaderOnly)]),
            "MULTI_NODE_READER_ONLY",
        ),
        (request(&id, vec![block]), "volumeMode: Filesystem"),
        (
            request(&id, vec![capability_with(Mode::SingleNodeWriter, &["suid"])]),
            "suid",
        ),
        (request(&id, vec![csi::VolumeCapability::default()]), "access_type"),
        (other_parameters, "other parameters"),
        (unknown_parameters, "colour"),
        (mutable, "mutable"),
    ];
    for (request, words) in rows {
        let answer = validate(&fixture, request).await.unwrap();
        assert_eq!(answer.confirmed, None);
        assert!(
            answer.message.contains(words),
            "{:?} says nothing of {words:?}",
            answer.message
        );
    }
}

#[tokio::test]
async fn required_fields_come_before_the_lookup() {
    let fixture = Fixture::new().await;
    let good = vec![capability(Mode::SingleNodeWriter)];
    refused(
        validate(&fixture, request("", good.clone())).await,
        Code::InvalidArgument,
        "volume_id is required",
    );
    refused(
        validate(&fixture, request("gone", vec![])).await,
        Code::InvalidArgument,
        "volume_capabilities is",
    );
    refused(
        validate(&fixture, request("gone", good)).await,
        Code::NotFound,
        "there is no volume \"gone\"",
    );
    // The lookup comes before what the capabilities say.
    let bad = vec![capability(Mode::MultiNodeMultiWriter)];
    refused(
        validate(&fixture, request("gone", bad)).await,
        Code::NotFound,
        "there is no volume",
    );
}

#[tokio::test]
async fn a_volume_is_described_until_it_is_deleted() {
    let fixture = Fixture::new().await;
    let volume = fixture
        .create(create_with("a", MIB, &[("berth.dev/trash-retention", "1h")]))
        .await
        .unwrap();
    let get = async |id: &str| {
        let request = csi::ControllerGetVolumeRequest {
            volume_id: id.to_owned(),
        };
        let answer = fixture.clients.controller.clone().controller_get_volume(request).await;
        answer.map(tonic::Response::into_inner)
    };
    let found = get(&volume.volume_id).await.unwrap();
    assert_eq!(found.volume.as_ref(), Some(&volume));
    assert_eq!(found.status.unwrap().published_node_ids, [""; 0]);
    refused(get("").await, Code::InvalidArgument, "volume_id is required");
    refused(get("gone").await, Code::NotFound, "there is no volume \"gone\"");
    fixture.delete(&volume.volume_id).await.unwrap();
    refused(get(&volume.volume_id).await, Code::NotFound, "there is no volume");
}
