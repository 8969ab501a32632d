//! CreateVolume: sizes, space, and where the volume may be.

use berth::proto::csi;
use tonic::Code;

use super::common::requests::{MIB, create};
use super::{Fixture, refused, topology, tree};

const POOL: &str = "topology.berth.dev/pool";
const NODE: &str = "topology.berth.dev/node";
const GIB: i64 = 1 << 30;

fn sized(name: &str, range: Option<(i64, i64)>) -> csi::CreateVolumeRequest {
    let range = range.map(|(required_bytes, limit_bytes)| csi::CapacityRange {
        required_bytes,
        limit_bytes,
    });
    csi::CreateVolumeRequest {
        capacity_range: range,
        ..create(name, 0)
    }
}

#[tokio::test]
async fn the_size_is_what_is_required_or_a_default_within_the_limit() {
    let fixture = Fixture::with_mib(1100).await;
    let rows = [
        (None, GIB),
        (Some((0, 0)), GIB),
        (Some((0, 2 * GIB)), GIB),
        (Some((0, 5)), 5),
        (Some((1, 0)), 1),
        (Some((7, 7)), 7),
        (Some((7, i64::MAX)), 7),
    ];
    for (at, (range, expected)) in rows.into_iter().enumerate() {
        let volume = fixture.create(sized(&at.to_string(), range)).await.unwrap();
        assert_eq!(volume.capacity_bytes, expected, "{range:?}");
        fixture.delete(&volume.volume_id).await.unwrap();
    }
}

#[tokio::test]
async fn sizes_that_cannot_be_are_refused() {
    let fixture = Fixture::new().await;
    let before = tree(&fixture.pool());
    let rows = [
        ((2, 1), Code::OutOfRange, "required_bytes 2 is more than limit_bytes 1"),
        ((i64::MAX, 1), Code::OutOfRange, "limit_bytes 1"),
        ((-1, 0), Code::InvalidArgument, "required_bytes -1 is negative"),
        ((0, -1), Code::InvalidArgument, "limit_bytes -1 is negative"),
        ((i64::MIN, i64::MIN), Code::InvalidArgument, "is negative"),
        (
            (100 * MIB + 1, 0),
            Code::ResourceExhausted,
            "104857600 bytes left to promise",
        ),
        ((i64::MAX, 0), Code::ResourceExhausted, "left to promise"),
        ((i64::MAX, i64::MAX), Code::ResourceExhausted, "left to promise"),
    ];
    for (range, code, words) in rows {
        refused(fixture.create(sized("a", Some(range))).await, code, words);
    }
    assert_eq!(tree(&fixture.pool()), before);
    // To the byte.
    fixture.create(sized("a", Some((100 * MIB, 0)))).await.unwrap();
    refused(
        fixture.create(sized("b", Some((1, 0)))).await,
        Code::ResourceExhausted,
        "0 bytes left",
    );
}

#[tokio::test]
async fn the_name_is_looked_up_before_the_space() {
    let fixture = Fixture::new().await;
    let volume = fixture.create(create("a", 60 * MIB)).await.unwrap();
    refused(
        fixture.create(create("b", 60 * MIB)).await,
        Code::ResourceExhausted,
        "left to promise",
    );
    assert_eq!(fixture.create(create("a", 60 * MIB)).await.unwrap(), volume);
    refused(
        fixture.create(create("a", 61 * MIB)).await,
        Code::AlreadyExists,
        "its size is",
    );
    // Also when the pool has become too small for what it holds.
    let fixture = fixture.restart_with_mib(10).await;
    assert_eq!(fixture.create(create("a", 60 * MIB)).await.unwrap(), volume);
    refused(
        fixture.create(create("b", 1)).await,
        Code::ResourceExhausted,
        "0 bytes left",
    );
}

#[tokio::test]
async fn many_requests_at_once_never_promise_the_same_byte_twice() {
    let fixture = Fixture::new().await;
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..64 {
        let mut controller = fixture.clients.controller.clone();
        let request = create(&at.to_string(), 30 * MIB);
        calls.spawn(async move { controller.create_volume(request).await });
    }
    let mut served = 0;
    while let Some(answer) = calls.join_next().await {
        match answer.unwrap() {
            Ok(_) => served += 1,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    }
    assert_eq!((served, fixture.ids().await.len()), (3, 3));
    assert_eq!(
        fixture.capacity(csi::GetCapacityRequest::default()).await.unwrap(),
        10 * MIB
    );
}

#[tokio::test]
async fn only_what_allows_this_node_is_made_here() {
    let fixture = Fixture::new().await;
    let uuid = fixture.pool_uuid();
    let here = [
        vec![(POOL, uuid.as_str())],
        vec![(NODE, "test-node")],
        vec![(POOL, uuid.as_str()), (NODE, "test-node")],
        vec![],
    ];
    let elsewhere = [
        vec![(POOL, "00000000-0000-4000-8000-000000000000")],
        vec![(NODE, "other-node")],
        vec![(POOL, uuid.as_str()), (NODE, "other-node")],
        vec![("kubernetes.io/hostname", "test-node")],
        vec![(POOL, "")],
        vec![("", "")],
    ];
    let request = |name: &str, requisite: Vec<csi::Topology>, preferred| csi::CreateVolumeRequest {
        accessibility_requirements: Some(csi::TopologyRequirement { requisite, preferred }),
        ..create(name, 1)
    };
    let mut made = 0;
    let mut name = || {
        made += 1;
        format!("volume-{made}")
    };
    let foreign = topology(&elsewhere[0]);
    for segments in &here {
        let fits = topology(segments);
        for (requisite, preferred) in [
            (vec![fits.clone()], vec![]),
            (vec![], vec![fits.clone()]),
            (vec![foreign.clone(), fits.clone()], vec![foreign.clone()]),
        ] {
            fixture.create(request(&name(), requisite, preferred)).await.unwrap();
        }
    }
    let before = tree(&fixture.pool());
    for segments in &elsewhere {
        let other = topology(segments);
        for (requisite, preferred) in [
            (vec![other.clone()], vec![]),
            (vec![], vec![other.clone()]),
            // What is preferred has to be among what is requisite.
            (vec![other.clone()], vec![topology(&here[0])]),
        ] {
            let answer = fixture.create(request(&name(), requisite, preferred)).await;
            refused(
                answer,
                Code::ResourceExhausted,
                "none of the topologies asked for is node test-node",
            );
        }
    }
    assert_eq!(tree(&fixture.pool()), before);
    fixture.create(request(&name(), vec![], vec![])).await.unwrap();
}
