//! Who the driver and the node are, and what they can do.

use berth::proto::csi;

use super::common::Agent;
use super::{Fixture, topology};

#[tokio::test]
async fn the_driver_says_its_name_version_and_services() {
    use csi::plugin_capability::{Type, service};

    let fixture = Fixture::new().await;
    let mut identity = fixture.clients.identity.clone();
    let info = identity
        .get_plugin_info(csi::GetPluginInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (info.name.as_str(), info.vendor_version.as_str()),
        ("csi.berth.dev", env!("CARGO_PKG_VERSION"))
    );
    let answer = identity
        .get_plugin_capabilities(csi::GetPluginCapabilitiesRequest {})
        .await
        .unwrap();
    let mut services: Vec<_> = answer
        .into_inner()
        .capabilities
        .into_iter()
        .map(|capability| match capability.r#type.unwrap() {
            Type::Service(service) => service.r#type(),
            Type::VolumeExpansion(expansion) => panic!("{expansion:?}"),
        })
        .collect();
    services.sort();
    assert_eq!(
        services,
        [
            service::Type::ControllerService,
            service::Type::VolumeAccessibilityConstraints
        ]
    );
    let probe = identity.probe(csi::ProbeRequest {}).await.unwrap().into_inner();
    assert_eq!(probe.ready, Some(true));
}

#[tokio::test]
async fn the_services_say_what_they_can_do_and_no_more() {
    let fixture = Fixture::new().await;
    let request = csi::ControllerGetCapabilitiesRequest {};
    let answer = fixture
        .clients
        .controller
        .clone()
        .controller_get_capabilities(request)
        .await
        .unwrap();
    let mut names: Vec<_> = answer
        .into_inner()
        .capabilities
        .into_iter()
        .map(|capability| match capability.r#type.unwrap() {
            csi::controller_service_capability::Type::Rpc(rpc) => rpc.r#type().as_str_name(),
        })
        .collect();
    names.sort_unstable();
    let expected = [
        "CREATE_DELETE_VOLUME",
        "GET_CAPACITY",
        "GET_VOLUME",
        "GET_VOLUME_HEALTH",
        "LIST_VOLUMES",
        "LIST_VOLUME_HEALTH",
        "SINGLE_NODE_MULTI_WRITER",
    ];
    assert_eq!(names, expected);
    let answer = fixture
        .clients
        .node
        .clone()
        .node_get_capabilities(csi::NodeGetCapabilitiesRequest {})
        .await
        .unwrap();
    let mut names: Vec<_> = answer
        .into_inner()
        .capabilities
        .into_iter()
        .map(|capability| match capability.r#type.unwrap() {
            csi::node_service_capability::Type::Rpc(rpc) => rpc.r#type().as_str_name(),
        })
        .collect();
    names.sort_unstable();
    let expected = [
        "GET_STORAGE_HEALTH",
        "GET_VOLUME_HEALTH",
        "GET_VOLUME_STATS",
        "SINGLE_NODE_MULTI_WRITER",
        "STAGE_UNSTAGE_VOLUME",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn the_node_is_its_pool_and_its_name() {
    let fixture = Fixture::new().await;
    let uuid = fixture.pool_uuid();
    let info = fixture
        .clients
        .node
        .clone()
        .node_get_info(csi::NodeGetInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    let expected = csi::NodeGetInfoResponse {
        node_id: "test-node".to_owned(),
        max_volumes_per_node: 0,
        accessible_topology: Some(topology(&[
            ("topology.berth.dev/pool", &uuid),
            ("topology.berth.dev/node", "test-node"),
        ])),
    };
    assert_eq!(info, expected);
    // The pool is the disk's, not the agent's.
    let fixture = fixture.restart_with_mib(10).await;
    let again = fixture
        .clients
        .node
        .clone()
        .node_get_info(csi::NodeGetInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, expected);
}

#[tokio::test]
async fn a_node_name_that_is_no_label_is_an_id_and_no_topology() {
    let home = tempfile::tempdir().unwrap();
    let pool = home.path().join("pool");
    std::fs::create_dir(&pool).unwrap();
    let name = format!("{}.example", "n".repeat(100));
    let plain = Agent::command(home.path(), &pool, &["--init-pool"]);
    let mut command = std::process::Command::new(plain.get_program());
    let log = std::fs::File::create(home.path().join("agent.log")).unwrap();
    let renamed = plain.get_args().map(|argument| match argument.to_str() {
        Some("test-node") => name.as_ref(),
        _ => argument,
    });
    command.args(renamed).stderr(log);
    let agent = Agent::start_command(home.path(), &mut command).await;
    let mut node = agent.clients().await.node;
    let info = node
        .node_get_info(csi::NodeGetInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(info.node_id, name);
    let keys: Vec<_> = info.accessible_topology.unwrap().segments.into_keys().collect();
    assert_eq!(keys, ["topology.berth.dev/pool"]);
}
