//! CreateVolume: names, capabilities, parameters, retries and conflicts.

use std::collections::{BTreeSet, HashMap};

use berth::proto::csi;
use csi::volume_capability::access_mode::Mode;
use csi::volume_capability::{AccessType, BlockVolume, MountVolume};
use tonic::Code;

use super::common::requests::{MIB, capability, capability_with, create, create_with};
use super::{Fixture, refused, topology, tree};

const CLAIM: &str = "pvc-0f9c1f4e-8a53-4c4e-9d0a-5b8f3d7f2c11";

/// A request for a volume that is used in these ways.
fn create_for(capabilities: Vec<csi::VolumeCapability>) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        volume_capabilities: capabilities,
        ..create("a", MIB)
    }
}

#[tokio::test]
async fn the_answer_says_what_was_made_and_where_it_can_be_used() {
    let fixture = Fixture::new().await;
    let volume = fixture.create(create(CLAIM, MIB)).await.unwrap();
    let expected = csi::Volume {
        capacity_bytes: MIB,
        volume_id: CLAIM.to_owned(),
        volume_context: HashMap::new(),
        content_source: None,
        // The pool alone: a disk that moves to another node takes its volumes along.
        accessible_topology: vec![topology(&[("topology.berth.dev/pool", &fixture.pool_uuid())])],
    };
    assert_eq!(volume, expected);
    assert!(fixture.pool().join("volumes").join(CLAIM).is_dir());
}

#[tokio::test]
async fn names_of_128_characters_of_any_script_make_volumes_of_their_own() {
    let fixture = Fixture::new().await;
    let long = ["a", "ü", "漢", "🚢", "e\u{301}", "ا", "\u{202e}", "\u{feff}"].map(|text| {
        let name: String = text.chars().cycle().take(128).collect();
        assert_eq!(name.chars().count(), 128);
        name
    });
    let short = [
        CLAIM,
        "mysql",
        "/",
        ".",
        "..",
        "../../etc",
        "~",
        " ",
        "a\tb\nc\r",
        "-",
        "PVC-1",
        "\"",
        "%2e%2e",
        "\u{a0}",
        "\u{10ffff}",
    ];
    let names: Vec<&str> = long.iter().map(String::as_str).chain(short).collect();
    let mut ids = BTreeSet::new();
    for name in &names {
        let id = fixture.create_id(create(name, 1)).await;
        assert_eq!(fixture.create_id(create(name, 1)).await, id, "{name:?} again");
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(id.chars().all(legal) && id.len() <= 63, "{name:?} became {id:?}");
        assert!(ids.insert(id), "{name:?} shares a volume with another name");
    }
    assert!(ids.contains(CLAIM));
    assert_eq!(fixture.ids().await, ids.iter().cloned().collect::<Vec<_>>());
    let mut directories: Vec<_> = std::fs::read_dir(fixture.pool().join("volumes"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    directories.sort();
    assert_eq!(directories, ids.into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn names_that_are_missing_too_long_or_hold_control_characters_are_refused() {
    let fixture = Fixture::new().await;
    let before = tree(&fixture.pool());
    refused(
        fixture.create(create("", MIB)).await,
        Code::InvalidArgument,
        "name is required",
    );
    for long in ["a".repeat(129), "🚢".repeat(129), "x".repeat(100_000)] {
        refused(
            fixture.create(create(&long, MIB)).await,
            Code::InvalidArgument,
            "longer than 128 characters",
        );
    }
    for banned in [
        "\0", "a\0", "\u{1}", "\u{7}b", "\u{8}", "\u{b}", "\u{c}", "\u{e}", "\u{1f}", "\u{7f}", "\u{80}", "\u{9f}",
    ] {
        let answer = fixture.create(create(banned, MIB)).await;
        refused(answer, Code::InvalidArgument, "banned character");
    }
    assert_eq!(tree(&fixture.pool()), before);
}

#[tokio::test]
async fn modes_on_one_node_are_served_and_modes_that_span_nodes_are_not() {
    let fixture = Fixture::new().await;
    for mode in [
        Mode::SingleNodeWriter,
        Mode::SingleNodeReaderOnly,
        Mode::SingleNodeSingleWriter,
        Mode::SingleNodeMultiWriter,
    ] {
        let request = csi::CreateVolumeRequest {
            volume_capabilities: vec![capability(mode)],
            ..create(mode.as_str_name(), MIB)
        };
        fixture.create(request).await.unwrap();
    }
    for mode in [
        Mode::MultiNodeReaderOnly,
        Mode::MultiNodeSingleWriter,
        Mode::MultiNodeMultiWriter,
    ] {
        let answer = fixture.create(create_for(vec![capability(mode)])).await;
        refused(answer, Code::InvalidArgument, mode.as_str_name());
        // One that is served does not make up for one that is not.
        let both = vec![capability(Mode::SingleNodeWriter), capability(mode)];
        refused(
            fixture.create(create_for(both)).await,
            Code::InvalidArgument,
            "ReadWriteOnce",
        );
    }
}

#[tokio::test]
async fn capabilities_that_say_nothing_or_too_much_are_refused() {
    let fixture = Fixture::new().await;
    let good = capability(Mode::SingleNodeWriter);
    let with_type = |access_type| csi::VolumeCapability {
        access_type,
        ..good.clone()
    };
    let with_mode = |mode: i32| csi::VolumeCapability {
        access_mode: Some(csi::volume_capability::AccessMode { mode }),
        ..good.clone()
    };
    let group = AccessType::Mount(MountVolume {
        volume_mount_group: "1000".to_owned(),
        ..MountVolume::default()
    });
    let flags = |flag: &str| vec![capability_with(Mode::SingleNodeWriter, &[flag])];
    let no_mode = csi::VolumeCapability {
        access_mode: None,
        ..good.clone()
    };
    let rows = [
        (vec![], "volume_capabilities is required"),
        (vec![with_type(None)], "access_type is required"),
        (
            vec![with_type(Some(AccessType::Block(BlockVolume {})))],
            "volumeMode: Filesystem",
        ),
        (vec![with_type(Some(group))], "volume_mount_group"),
        (vec![no_mode], "access mode"),
        (vec![with_mode(0)], "UNKNOWN"),
        (vec![with_mode(99)], "99"),
        (vec![with_mode(-1)], "-1"),
        (flags("suid"), "suid"),
        (flags("bind"), "bind"),
        (flags("noatime,context=system_u"), "context=system_u"),
        (flags("ro,rw"), "contradict"),
    ];
    for (capabilities, words) in rows {
        let answer = fixture.create(create_for(capabilities)).await;
        refused(answer, Code::InvalidArgument, words);
    }
    assert_eq!(fixture.ids().await, [""; 0]);
    let served = [
        ("noatime", "a"),
        ("ro", "b"),
        ("nosuid,noexec,nodev,rw", "c"),
        ("", "d"),
    ];
    for (flag, name) in served {
        let request = csi::CreateVolumeRequest {
            volume_capabilities: flags(flag),
            ..create(name, MIB)
        };
        fixture.create(request).await.unwrap();
    }
}

#[tokio::test]
async fn parameters_are_known_or_refused() {
    let fixture = Fixture::new().await;
    let big = "x".repeat(70_000);
    let rows = [
        ("berth.dev/mod", "0770", "berth.dev/mod"),
        ("berth.dev/", "", "berth.dev/"),
        ("BERTH.DEV/mode", "0770", "BERTH.DEV/mode"),
        ("mode", "0770", "mode"),
        ("", "", "unknown"),
        ("fsType", "xfs", "fsType"),
        ("csi.storage.k8s.io", "x", "csi.storage.k8s.io"),
        ("berth.dev/mode", "rwx", "rwx"),
        ("berth.dev/mode", "4755", "4755"),
        ("berth.dev/mode", "", "octal"),
        ("berth.dev/uid", "root", "root"),
        ("berth.dev/gid", "4294967295", "4294967295"),
        ("berth.dev/trash-retention", "soon", "soon"),
        ("berth.dev/\n\0", "x", "unknown"),
        ("csi.storage.k8s.io/big", &big, "70022 bytes"),
        (&big, "", "70000 bytes"),
    ];
    for (key, value, words) in rows {
        let answer = fixture.create(create_with("a", MIB, &[(key, value)])).await;
        refused(answer, Code::InvalidArgument, words);
    }
    for (namespace, name) in [
        ("..", "a"),
        ("default", ".."),
        ("default", "a/b"),
        ("/", "a"),
        ("a\0", "a"),
    ] {
        let claim = [
            ("csi.storage.k8s.io/pvc/namespace", namespace),
            ("csi.storage.k8s.io/pvc/name", name),
        ];
        let answer = fixture.create(create_with("a", MIB, &claim)).await;
        refused(answer, Code::InvalidArgument, "RFC 1123");
    }
    let mut request = create("a", MIB);
    request.mutable_parameters = HashMap::from([("berth.dev/mode".to_owned(), "0770".to_owned())]);
    refused(
        fixture.create(request).await,
        Code::InvalidArgument,
        "mutable parameter",
    );
    assert_eq!(fixture.ids().await, [""; 0]);

    let all = [
        ("berth.dev/mode", "0750"),
        ("berth.dev/trash-retention", "7d"),
        ("csi.storage.k8s.io/pvc/namespace", "default"),
        ("csi.storage.k8s.io/pvc/name", "data-mysql-0"),
        ("csi.storage.k8s.io/pv/name", CLAIM),
        ("csi.storage.k8s.io/whatever-comes-next", "x"),
    ];
    let id = fixture.create_id(create_with(CLAIM, MIB, &all)).await;
    let link = std::fs::read_link(fixture.pool().join("by-claim/default/data-mysql-0")).unwrap();
    assert_eq!(link.to_str(), Some(format!("../../volumes/{id}").as_str()));
}

#[tokio::test]
async fn sources_are_refused_until_there_are_snapshots_and_clones() {
    use csi::volume_content_source::{SnapshotSource, Type, VolumeSource};

    let fixture = Fixture::new().await;
    let id = fixture.create_id(create("source", MIB)).await;
    let sources = [
        Type::Volume(VolumeSource { volume_id: id }),
        Type::Snapshot(SnapshotSource {
            snapshot_id: "none".to_owned(),
        }),
    ];
    for source in sources {
        let mut request = create("copy", MIB);
        request.volume_content_source = Some(csi::VolumeContentSource { r#type: Some(source) });
        refused(
            fixture.create(request).await,
            Code::InvalidArgument,
            "volume_content_source",
        );
    }
    assert_eq!(fixture.ids().await.len(), 1);
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_also_after_a_restart() {
    let fixture = Fixture::new().await;
    let options = |flags: &[&str]| capability_with(Mode::SingleNodeWriter, flags);
    let request = |capabilities| csi::CreateVolumeRequest {
        volume_capabilities: capabilities,
        ..create_with("a", 5 * MIB, &[("berth.dev/mode", "0700")])
    };
    let reader = capability(Mode::SingleNodeReaderOnly);
    let first = request(vec![reader.clone(), options(&["noatime", "nosuid"])]);
    let volume = fixture.create(first.clone()).await.unwrap();
    // Order and repetition say nothing.
    let again = request(vec![options(&["nosuid,noatime"]), reader.clone(), reader]);
    assert_eq!(fixture.create(again.clone()).await.unwrap(), volume);
    let fixture = fixture.restart_with_mib(100).await;
    assert_eq!(fixture.create(first).await.unwrap(), volume);
    assert_eq!(fixture.create(again).await.unwrap(), volume);
    assert_eq!(fixture.ids().await, [volume.volume_id]);
}

#[tokio::test]
async fn many_requests_for_one_name_at_once_make_one_volume() {
    let fixture = Fixture::new().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let mut controller = fixture.clients.controller.clone();
        calls.spawn(async move { controller.create_volume(create("a", MIB)).await });
    }
    let mut ids = BTreeSet::new();
    while let Some(answer) = calls.join_next().await {
        match answer.unwrap() {
            Ok(answer) => drop(ids.insert(answer.into_inner().volume.unwrap().volume_id)),
            Err(status) => assert_eq!(status.code(), Code::Aborted, "{status}"),
        }
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(fixture.ids().await, ids.into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn another_request_under_the_same_name_is_a_conflict() {
    let fixture = Fixture::new().await;
    let volume = fixture
        .create(create_with("a", 5 * MIB, &[("berth.dev/mode", "0700")]))
        .await
        .unwrap();
    let same = create_with("a", 5 * MIB, &[("berth.dev/mode", "0700")]);
    let range = |required_bytes, limit_bytes| csi::CreateVolumeRequest {
        capacity_range: Some(csi::CapacityRange {
            required_bytes,
            limit_bytes,
        }),
        ..same.clone()
    };
    let exclusive = csi::CreateVolumeRequest {
        volume_capabilities: vec![capability(Mode::SingleNodeSingleWriter)],
        ..same.clone()
    };
    let read_only = csi::CreateVolumeRequest {
        volume_capabilities: vec![capability_with(Mode::SingleNodeWriter, &["ro"])],
        ..same.clone()
    };
    let rows = [
        (range(5 * MIB + 1, 0), "its size is"),
        (range(0, 5 * MIB - 1), "its size is"),
        (exclusive, "its capabilities are others"),
        (read_only, "its capabilities are others"),
        (create("a", 5 * MIB), "its parameters are others"),
        (
            create_with("a", 5 * MIB, &[("berth.dev/mode", "0701")]),
            "its parameters are others",
        ),
    ];
    for (request, words) in rows {
        refused(fixture.create(request).await, Code::AlreadyExists, words);
    }
    // What the volume satisfies is no conflict.
    for request in [range(0, 0), range(MIB, 0), range(0, 9 * MIB), range(5 * MIB, 5 * MIB)] {
        assert_eq!(fixture.create(request).await.unwrap(), volume);
    }
}
