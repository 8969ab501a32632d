//! Publishing on real mounts: once per target, as was asked for, and to whom it may be.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

mod common;

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use berth::proto::csi;
use common::disk::{mount_depth, mount_options, run, unmount};
use common::requests::{MIB, capability, capability_with, create, publish, target_path, unpublish};
use common::{Agent, Clients, on_every_filesystem, refused};
use csi::volume_capability::access_mode::Mode;
use tonic::Code;

#[test]
fn privileged_a_thousand_duplicate_calls_make_one_mount_or_none() {
    let name = "privileged_a_thousand_duplicate_calls_make_one_mount_or_none";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "one").await;
        clients.unpublish(&volume.id, &volume.target).await.unwrap();
        let publish = publish(&volume.id, &volume.staging, &volume.target);
        let unpublish = unpublish(&volume.id, &volume.target);

        assert!(
            storm(&clients, 1000, Some(&publish), None).await >= 1,
            "none was served"
        );
        assert_eq!(mount_depth(&volume.target), 1);
        assert!(
            storm(&clients, 1000, None, Some(&unpublish)).await >= 1,
            "none was served"
        );
        assert_eq!(mount_depth(&volume.target), 0);
        assert!(!volume.target.exists(), "the target is left behind");

        storm(&clients, 500, Some(&publish), Some(&unpublish)).await;
        let depth = mount_depth(&volume.target);
        assert!(depth <= 1, "publish and unpublish at once: mounted {depth} times");
        clients.publish_from(publish).await.unwrap();
        assert_eq!(mount_depth(&volume.target), 1);
        clients.take_down(&volume).await.unwrap();
        assert_eq!(mount_depth(&volume.staging), 0);
        assert!(!volume.target.exists(), "the target is left behind");
    });
}

/// Sends each request `times` times at once and returns how many were served. The others must
/// have been told that the volume is being worked on.
async fn storm(
    clients: &Clients,
    times: usize,
    publish: Option<&csi::NodePublishVolumeRequest>,
    unpublish: Option<&csi::NodeUnpublishVolumeRequest>,
) -> usize {
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..times {
        if let Some(request) = publish.cloned() {
            let clients = clients.clone();
            calls.spawn(async move { clients.publish_from(request).await });
        }
        if let Some(request) = unpublish.cloned() {
            let mut node = clients.node.clone();
            calls.spawn(async move { node.node_unpublish_volume(request).await.map(|_| ()) });
        }
    }
    let mut served = 0;
    while let Some(answer) = calls.join_next().await {
        match answer.unwrap() {
            Ok(()) => served += 1,
            Err(status) => assert_eq!(status.code(), Code::Aborted, "{status}"),
        }
    }
    served
}

#[test]
fn privileged_a_multi_writer_volume_is_at_two_targets() {
    let name = "privileged_a_multi_writer_volume_is_at_two_targets";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let mode = Some(capability(Mode::SingleNodeMultiWriter));
        let request = csi::CreateVolumeRequest {
            volume_capabilities: mode.clone().into_iter().collect(),
            ..create("shared", MIB)
        };
        let volume = clients.publish_new_from(&agent, request).await;
        let second = target_path(&agent, "second", &volume.id);
        let request = csi::NodePublishVolumeRequest {
            volume_capability: mode,
            ..publish(&volume.id, &volume.staging, &second)
        };
        clients.publish_from(request).await.unwrap();
        std::fs::write(volume.target.join("a"), "from the first").unwrap();
        assert_eq!(std::fs::read(second.join("a")).unwrap(), b"from the first");
        clients.unpublish(&volume.id, &second).await.unwrap();
        assert_eq!(mount_depth(&volume.target), 1, "the first target lost its mount");
    });
}

#[test]
fn privileged_a_single_writer_volume_has_one_target_also_after_a_crash() {
    let name = "privileged_a_single_writer_volume_has_one_target_also_after_a_crash";
    on_every_filesystem(name, async |node| {
        let mut agent = node.agent().await;
        let request = csi::CreateVolumeRequest {
            volume_capabilities: vec![capability(Mode::SingleNodeSingleWriter)],
            ..create("alone", MIB)
        };
        let volume = agent.clients().await.publish_new_from(&agent, request).await;
        let second = target_path(&agent, "second", &volume.id);
        // What counts is how the volume was made, also when a caller asks for less.
        for mode in [Mode::SingleNodeSingleWriter, Mode::SingleNodeWriter] {
            for crash in [false, true] {
                if crash {
                    agent.kill();
                    agent = node.agent().await;
                }
                let clients = agent.clients().await;
                let at = |target: &Path| csi::NodePublishVolumeRequest {
                    volume_capability: Some(capability(mode)),
                    ..publish(&volume.id, &volume.staging, target)
                };
                let answer = clients.publish_from(at(&second)).await;
                refused(answer, Code::FailedPrecondition, volume.target.to_str().unwrap());
                assert!(!second.exists(), "a refused target was made");
                clients.publish_from(at(&volume.target)).await.unwrap();
                assert_eq!(mount_depth(&volume.target), 1);
            }
        }
        let clients = agent.clients().await;
        clients.unpublish(&volume.id, &volume.target).await.unwrap();
        clients.publish(&volume.id, &volume.staging, &second).await.unwrap();
    });
}

#[test]
fn privileged_a_read_only_target_refuses_writes_while_staging_takes_them() {
    let name = "privileged_a_read_only_target_refuses_writes_while_staging_takes_them";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "writable").await;
        std::fs::write(volume.target.join("a"), "1").unwrap();
        let read_only_mode = Some(capability(Mode::SingleNodeReaderOnly));
        let read_only_flag = Some(capability_with(Mode::SingleNodeWriter, &["ro"]));
        for (pod, readonly, volume_capability) in [
            ("flag", true, Some(capability(Mode::SingleNodeWriter))),
            ("mode", false, read_only_mode),
            ("option", false, read_only_flag),
        ] {
            let target = target_path(&agent, pod, &volume.id);
            let request = csi::NodePublishVolumeRequest {
                readonly,
                volume_capability,
                ..publish(&volume.id, &volume.staging, &target)
            };
            clients.publish_from(request).await.unwrap();
            for path in ["a", "b"] {
                let error = std::fs::write(target.join(path), "2").expect_err("written to a read-only target");
                assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem, "{pod}");
            }
            assert_eq!(std::fs::read(target.join("a")).unwrap(), b"1");
        }
        std::fs::write(volume.staging.join("a"), "3").unwrap();
        std::fs::write(volume.target.join("a"), "4").unwrap();
    });
}

#[test]
fn privileged_every_mount_option_is_what_the_kernel_shows() {
    let name = "privileged_every_mount_option_is_what_the_kernel_shows";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "options").await;
        assert!(mount_options(&volume.target).contains(&"nodev".to_owned()));
        assert!(mount_options(&volume.staging).contains(&"nodev".to_owned()));
        for flags in [
            vec!["ro"],
            vec!["noatime"],
            vec!["nodiratime"],
            vec!["relatime"],
            vec!["nosuid"],
            vec!["noexec"],
            vec!["rw", "nodev"],
            vec!["noexec,nosuid", "noatime", "nodiratime", "ro"],
        ] {
            let target = target_path(&agent, "options", &format!("{}-{}", volume.id, flags.join("-")));
            publish_with(&clients, &volume, &target, &flags).await;
            let shown = mount_options(&target);
            for flag in flags.iter().flat_map(|flag| flag.split(',')).chain(["nodev"]) {
                assert!(shown.iter().any(|option| option == flag), "{flag} is not in {shown:?}");
            }
            let asked = |option: &str| flags.iter().any(|flag| flag.split(',').any(|word| word == option));
            for option in ["ro", "noexec", "nosuid", "noatime", "nodiratime"] {
                assert!(
                    asked(option) || !shown.iter().any(|word| word == option),
                    "{option} in {shown:?}"
                );
            }
            // The same again is what is there already, and leaves one mount.
            publish_with(&clients, &volume, &target, &flags).await;
            assert_eq!(mount_depth(&target), 1);
        }
        // Together they say one thing; what a bind mount cannot carry is not held against it.
        let target = target_path(&agent, "pod", "both");
        for _ in 0..2 {
            publish_with(&clients, &volume, &target, &["noatime", "relatime", "sync", "dirsync"]).await;
        }
        assert_eq!(mount_depth(&target), 1);
        for flag in ["exec", "dev", "suid", "bind", "remount", "uid=0"] {
            let request = csi::NodePublishVolumeRequest {
                volume_capability: Some(capability_with(Mode::SingleNodeWriter, &[flag])),
                ..publish(&volume.id, &volume.staging, &volume.target)
            };
            refused(clients.publish_from(request).await, Code::InvalidArgument, flag);
        }
    });
}

async fn publish_with(clients: &Clients, volume: &common::Published, target: &Path, flags: &[&str]) {
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    let request = csi::NodePublishVolumeRequest {
        volume_capability: Some(capability_with(Mode::SingleNodeWriter, flags)),
        ..publish(&volume.id, &volume.staging, target)
    };
    let answer = clients.publish_from(request).await;
    answer.unwrap_or_else(|status| panic!("{flags:?}: {status}"));
}

#[test]
fn privileged_noexec_refuses_programs_and_devices_never_open() {
    let name = "privileged_noexec_refuses_programs_and_devices_never_open";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "programs").await;
        std::fs::copy("/bin/true", volume.target.join("true")).unwrap();
        run(&mut Command::new(volume.target.join("true")));
        let target = target_path(&agent, "noexec", &volume.id);
        publish_with(&clients, &volume, &target, &["noexec"]).await;
        let error = Command::new(target.join("true")).output().expect_err("it ran");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);

        let device = volume.target.join("null");
        run(Command::new("mknod").arg(&device).args(["c", "1", "3"]));
        std::fs::set_permissions(&device, PermissionsExt::from_mode(0o666)).unwrap();
        for mount in [&volume.target, &volume.staging, &target] {
            let error = std::fs::File::open(mount.join("null")).expect_err("a device was opened");
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", mount.display());
        }
    });
}

#[test]
fn privileged_a_target_that_is_taken_is_refused_and_stays() {
    let name = "privileged_a_target_that_is_taken_is_refused_and_stays";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "first").await;
        let other = clients.publish_new(&agent, "other").await;
        std::fs::write(volume.target.join("whose"), "first").unwrap();

        let same = || publish(&volume.id, &volume.staging, &volume.target);
        let read_only = csi::NodePublishVolumeRequest {
            readonly: true,
            ..same()
        };
        let options = csi::NodePublishVolumeRequest {
            volume_capability: Some(capability_with(Mode::SingleNodeWriter, &["noexec"])),
            ..same()
        };
        let other_volume = publish(&other.id, &other.staging, &volume.target);
        for request in [&read_only, &options, &other_volume] {
            refused(
                clients.publish_from(request.clone()).await,
                Code::AlreadyExists,
                "taken",
            );
        }
        // The other way round: read-only is there, read-write is asked for.
        clients.unpublish(&volume.id, &volume.target).await.unwrap();
        clients.publish_from(read_only.clone()).await.unwrap();
        refused(clients.publish_from(same()).await, Code::AlreadyExists, "taken");
        clients.publish_from(read_only).await.unwrap();
        assert_eq!(std::fs::read(volume.target.join("whose")).unwrap(), b"first");
        assert_eq!(mount_depth(&volume.target), 1);
        refused(
            clients.stage(&other.id, &volume.staging).await,
            Code::AlreadyExists,
            "something else",
        );
        refused(
            clients.unpublish(&other.id, &volume.target).await,
            Code::FailedPrecondition,
            &other.id,
        );
        assert_eq!(mount_depth(&volume.target), 1, "another volume's mount was taken off");
    });
}

#[test]
fn privileged_publish_needs_the_volume_staged() {
    let name = "privileged_publish_needs_the_volume_staged";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "first").await;
        let other = clients.publish_new(&agent, "other").await;
        clients.unpublish(&volume.id, &volume.target).await.unwrap();
        let publish = publish(&volume.id, &volume.staging, &volume.target);
        let none = csi::NodePublishVolumeRequest {
            staging_target_path: String::new(),
            ..publish.clone()
        };
        refused(
            clients.publish_from(none).await,
            Code::FailedPrecondition,
            "staging_target_path",
        );
        let others = csi::NodePublishVolumeRequest {
            staging_target_path: other.staging.to_str().unwrap().to_owned(),
            ..publish.clone()
        };
        refused(
            clients.publish_from(others).await,
            Code::FailedPrecondition,
            "something else",
        );
        clients.unstage(&volume.id, &volume.staging).await.unwrap();
        assert!(volume.staging.is_dir(), "the staging path is the kubelet's to remove");
        refused(
            clients.publish_from(publish.clone()).await,
            Code::FailedPrecondition,
            "not staged",
        );
        assert!(!volume.target.exists());
        clients.unstage(&volume.id, &volume.staging).await.unwrap();
        clients.stage(&volume.id, &volume.staging).await.unwrap();
        unmount(&volume.staging);
        refused(
            clients.publish_from(publish).await,
            Code::FailedPrecondition,
            "not staged",
        );
    });
}

/// A kubelet's directory may be reached through a symbolic link; the kernel shows mounts without it.
#[test]
fn privileged_a_kubelet_directory_behind_a_symbolic_link_serves_single_writers() {
    let name = "privileged_a_kubelet_directory_behind_a_symbolic_link_serves_single_writers";
    on_every_filesystem(name, async |node| {
        std::fs::create_dir_all(node.home().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", node.home().join("kubelet")).unwrap();
        let agent: Agent = node.agent().await;
        let clients = agent.clients().await;
        let request = csi::CreateVolumeRequest {
            volume_capabilities: vec![capability(Mode::SingleNodeSingleWriter)],
            ..create("alone", MIB)
        };
        let volume = clients.publish_new_from(&agent, request).await;
        clients
            .publish(&volume.id, &volume.staging, &volume.target)
            .await
            .unwrap();
        let second = target_path(&agent, "second", &volume.id);
        let answer = clients.publish(&volume.id, &volume.staging, &second).await;
        refused(answer, Code::FailedPrecondition, volume.target.to_str().unwrap());
        refused(clients.delete(&volume.id).await, Code::FailedPrecondition, "in use");
        clients.take_down(&volume).await.unwrap();
        clients.delete(&volume.id).await.unwrap();
    });
}
