//! Hostile values in every field of every call that holds a string.

use berth::proto::{admin, csi, registration};
use prost::Message;
use tonic::{Code, Status};

use super::canary::Canary;
use super::common::disk::mounts_beneath;
use super::common::random::Random;
use super::common::requests::{self, MIB, publish, stage, unpublish, unstage};
use super::common::{Agent, Filesystem, Published, on_filesystems, raw};
use super::fields::{self, Field};
use super::values::hostile;
use super::{seed, soon};

/// Keys of parameters that mean something.
const PARAMETERS: [&str; 7] = [
    "berth.dev/mode",
    "berth.dev/uid",
    "berth.dev/gid",
    "berth.dev/trash-retention",
    "csi.storage.k8s.io/pvc/name",
    "csi.storage.k8s.io/pvc/namespace",
    "csi.storage.k8s.io/pv/name",
];

/// What an answer to a request that can be read may say. A defect of Berth's is none of it.
const LEGAL: [Code; 9] = [
    Code::Ok,
    Code::InvalidArgument,
    Code::NotFound,
    Code::AlreadyExists,
    Code::FailedPrecondition,
    Code::OutOfRange,
    Code::ResourceExhausted,
    Code::Aborted,
    Code::Unimplemented,
];

#[test]
fn privileged_no_string_in_any_field_of_any_call_leads_out() {
    let name = "strings::privileged_no_string_in_any_field_of_any_call_leads_out";
    on_filesystems(name, &[Filesystem::Xfs], async |node| {
        let canary = Canary::new(node.home().join("canary"));
        let agent = node.agent_with(&["--init-pool", "--log=debug"]).await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        let csi = raw::channel(&agent.socket()).await.unwrap();
        let kubelet = raw::channel(&agent.kubelet("plugins_registry/csi.berth.dev-reg.sock"))
            .await
            .unwrap();
        let mut random = Random::new(seed());
        let values = hostile(&volume.id, &mut random);
        let (mut calls, mut served) = (0, 0);
        let fields = attacked();
        for field in &fields {
            let channel = match field.call.starts_with("/pluginregistration.") {
                true => &kubelet,
                false => &csi,
            };
            for value in variants(field, &values, &agent) {
                let request = [base(field, &volume), field.encode(&value)].concat();
                let answer = soon((field, shown(&value)), raw::send(channel, &field.call, request)).await;
                check(field, &value, &answer);
                served += u64::from(answer.is_ok());
                calls += 1;
            }
            canary.check(field);
            outside_of_the_kubelets_directory_nothing_is_mounted(&agent, &node);
        }
        one_line_for_each_event(&agent.log());
        assert!(served > 0 && served < calls);
        clients
            .create("after all this")
            .await
            .expect("the agent works as before");
        super::common::isolated::figure(&format!(
            "{calls} calls: {} values in {} fields, {served} served",
            values.len(),
            fields.len()
        ));
    });
}

/// Every field, and those under keys that mean something once for each.
fn attacked() -> Vec<Field> {
    let mut attacked = fields::all();
    let parameters = |field: &&Field| field.name == "parameters.value";
    let under_keys = |field: &Field| PARAMETERS.map(|key| field.under(key));
    let further: Vec<_> = attacked.iter().filter(parameters).flat_map(under_keys).collect();
    attacked.extend(further);
    assert!(
        attacked.len() > 80,
        "only {} fields: is the contract read?",
        attacked.len()
    );
    attacked
}

/// The values, and for a path also beneath the kubelet's directory.
fn variants(field: &Field, values: &[Vec<u8>], agent: &Agent) -> Vec<Vec<u8>> {
    let mut variants = values.to_vec();
    if field.name.ends_with("_path") {
        let prefix = format!("{}/", agent.kubelet("pods").display()).into_bytes();
        variants.extend(values.iter().map(|value| [&prefix[..], value].concat()));
    }
    variants
}

/// A request that would be served, but for the field: bytes that the field's are appended to.
fn base(field: &Field, volume: &Published) -> Vec<u8> {
    let Published { id, staging, target } = volume;
    let method = field.call.rsplit('/').next().unwrap();
    match method {
        "CreateVolume" => requests::create_with(
            "pod",
            MIB,
            &[
                ("csi.storage.k8s.io/pvc/name", "a"),
                ("csi.storage.k8s.io/pvc/namespace", "b"),
            ],
        )
        .encode_to_vec(),
        "ValidateVolumeCapabilities" => csi::ValidateVolumeCapabilitiesRequest {
            volume_id: id.clone(),
            volume_capabilities: requests::create("", 0).volume_capabilities,
            ..csi::ValidateVolumeCapabilitiesRequest::default()
        }
        .encode_to_vec(),
        "NodeStageVolume" => stage(id, staging).encode_to_vec(),
        "NodeUnstageVolume" => unstage("vol-none", staging).encode_to_vec(),
        "NodePublishVolume" => publish(id, staging, target).encode_to_vec(),
        "NodeUnpublishVolume" => unpublish("vol-none", target).encode_to_vec(),
        "NodeGetVolumeStats" => csi::NodeGetVolumeStatsRequest {
            volume_id: id.clone(),
            volume_path: requests::text(target),
            ..csi::NodeGetVolumeStatsRequest::default()
        }
        .encode_to_vec(),
        "NotifyRegistrationStatus" => registration::RegistrationStatus {
            plugin_registered: true,
            ..registration::RegistrationStatus::default()
        }
        .encode_to_vec(),
        "Undelete" => admin::UndeleteRequest {
            volume_id: "vol-none".to_owned(),
        }
        .encode_to_vec(),
        _ => Vec::new(),
    }
}

fn check(field: &Field, value: &[u8], answer: &Result<Vec<u8>, Status>) {
    let Err(status) = answer else {
        assert!(
            str::from_utf8(value).is_ok(),
            "{field:?} takes what is no text: {value:?}"
        );
        return;
    };
    // A request that cannot be read is one that cannot be answered: gRPC has this code for it.
    let legal = LEGAL.contains(&status.code()) || str::from_utf8(value).is_err() && status.code() == Code::Internal;
    assert!(legal, "{field:?} of {}: {status}", shown(value));
    assert!(status.message().chars().count() <= 1001, "{field:?}: a long message");
}

fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value).chars().take(60).collect()
}

fn outside_of_the_kubelets_directory_nothing_is_mounted(agent: &Agent, node: &super::common::Node) {
    let allowed = [agent.kubelet(""), node.pool()];
    let outside = |point: &std::path::PathBuf| !allowed.iter().any(|path| point.starts_with(path));
    let stray: Vec<_> = mounts_beneath(node.home()).into_iter().filter(outside).collect();
    assert!(stray.is_empty(), "{stray:?}");
}

/// Nobody writes into the log but the agent: each line starts with its time.
fn one_line_for_each_event(log: &str) {
    assert!(!log.contains("panicked"), "{log}");
    for line in log.lines() {
        let time = line.split('T').next().unwrap_or_default();
        let stamped = time.len() == 10 && line.get(10..).is_some_and(|rest| rest.contains("Z "));
        assert!(stamped && !line.contains('\u{1b}'), "not the agent's line: {line:?}");
        assert!(!line.starts_with("2026-01-01T00:00:00Z"), "a caller's line: {line:?}");
    }
}
