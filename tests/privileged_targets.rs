//! Target paths that a careless or hostile caller could name: nothing of others is ever touched.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use berth::proto::csi;
use common::Filesystem;
use common::disk::{mount_depth, mount_lines, run, unmount};
use common::requests::{publish, stage, target_path, unpublish};
use common::{Clients, Node, Published, isolated, on_every_filesystem, refused};
use tonic::Code;

#[test]
fn privileged_a_target_that_is_no_empty_directory_is_refused_and_untouched() {
    let name = "privileged_a_target_that_is_no_empty_directory_is_refused_and_untouched";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        let canary = node.home().join("canary");
        std::fs::create_dir(&canary).unwrap();
        std::fs::write(canary.join("bird"), "sings").unwrap();

        let link = target_path(&agent, "link", &volume.id);
        symlink(&canary, &link).unwrap();
        let file = target_path(&agent, "file", &volume.id);
        std::fs::write(&file, "mine").unwrap();
        let full = target_path(&agent, "full", &volume.id);
        std::fs::create_dir(&full).unwrap();
        std::fs::write(full.join("a"), "mine").unwrap();
        let fifo = target_path(&agent, "fifo", &volume.id);
        run(Command::new("mkfifo").arg(&fifo));
        for target in [&link, &file, &full, &fifo] {
            refused_everywhere(&clients, &volume, target, "left as it is").await;
        }
        assert_eq!(std::fs::read_link(&link).unwrap(), canary);
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");
        assert_eq!(std::fs::read(full.join("a")).unwrap(), b"mine");
        assert!(fifo.exists());
        assert_eq!(std::fs::read(canary.join("bird")).unwrap(), b"sings");
        assert_eq!(mount_depth(&canary), 0, "mounted where the link points");
    });
}

#[test]
fn privileged_a_symbolic_link_on_the_way_to_the_target_is_refused() {
    let name = "privileged_a_symbolic_link_on_the_way_to_the_target_is_refused";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        let outside = node.home().join("outside");
        std::fs::create_dir_all(outside.join("mount")).unwrap();
        symlink(&outside, agent.kubelet("pods/away")).unwrap();
        symlink("pod", agent.kubelet("pods/alias")).unwrap();
        let beneath = volume.target.strip_prefix(agent.kubelet("pods/pod")).unwrap();
        for target in [
            agent.kubelet("pods/away/mount"),
            agent.kubelet("pods/away/new"),
            agent.kubelet("pods/alias").join(beneath),
        ] {
            refused_everywhere(&clients, &volume, &target, "").await;
        }
        assert!(outside.join("mount").is_dir());
        assert!(!outside.join("new").exists(), "made a directory outside the kubelet's");
        assert_eq!(mount_depth(&outside.join("mount")), 0);
        assert_eq!(mount_depth(&volume.target), 1, "unpublished through an alias");
        // A volume's own content is no way out either: a pod can plant what it likes in there.
        symlink(&outside, volume.target.join("planted")).unwrap();
        refused_everywhere(&clients, &volume, &volume.target.join("planted/mount"), "").await;
        assert_eq!(mount_depth(&outside.join("mount")), 0);
    });
}

/// Stage, publish and unpublish all refuse `target` for what is there.
async fn refused_everywhere(clients: &Clients, volume: &Published, target: &Path, words: &str) {
    let code = Code::FailedPrecondition;
    refused(clients.publish(&volume.id, &volume.staging, target).await, code, words);
    refused(clients.stage(&volume.id, target).await, code, words);
    refused(clients.unpublish(&volume.id, target).await, code, words);
}

#[test]
fn privileged_paths_outside_the_kubelets_directory_are_invalid() {
    let name = "privileged_paths_outside_the_kubelets_directory_are_invalid";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        let outside = node.home().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let kubelet = agent.kubelet("");
        let kubelet = kubelet.to_str().unwrap().trim_end_matches('/');
        for path in [
            outside.to_str().unwrap(),
            "/",
            "/etc",
            "relative/path",
            kubelet,
            &format!("{kubelet}2/mount"),
            &format!("{kubelet}/../outside"),
            &format!("{kubelet}/pods/../../outside"),
            &format!("{kubelet}/pods/./x"),
            &format!("{kubelet}//pods/x"),
        ] {
            let path = Path::new(path);
            let code = Code::InvalidArgument;
            refused(
                clients.publish(&volume.id, &volume.staging, path).await,
                code,
                "target_path",
            );
            refused(
                clients.publish(&volume.id, path, &volume.target).await,
                code,
                "staging_target_path",
            );
            refused(clients.unpublish(&volume.id, path).await, code, "target_path");
            refused(clients.stage(&volume.id, path).await, code, "staging_target_path");
            refused(clients.unstage(&volume.id, path).await, code, "staging_target_path");
            refused(clients.stats(&volume.id, path).await, Code::NotFound, &volume.id);
        }
        assert_eq!(mount_depth(&outside), 0);
        assert!(std::fs::read_dir(&outside).unwrap().next().is_none());
        let empty = publish(&volume.id, &volume.staging, Path::new(""));
        refused(
            clients.publish_from(empty).await,
            Code::InvalidArgument,
            "target_path is required",
        );
        let none = csi::NodeStageVolumeRequest {
            volume_capability: None,
            ..stage(&volume.id, &volume.staging)
        };
        let answer = clients.node.clone().node_stage_volume(none).await;
        refused(answer, Code::InvalidArgument, "volume_capability is required");
    });
}

#[test]
fn privileged_unpublish_removes_the_target_only_while_it_is_empty() {
    let name = "privileged_unpublish_removes_the_target_only_while_it_is_empty";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        // Somebody took the mount off and a pod wrote to the directory beneath.
        unmount(&volume.target);
        std::fs::write(volume.target.join("precious"), "data").unwrap();
        let answer = clients.unpublish(&volume.id, &volume.target).await;
        refused(answer, Code::FailedPrecondition, volume.target.to_str().unwrap());
        assert_eq!(std::fs::read(volume.target.join("precious")).unwrap(), b"data");
        let answer = clients.publish(&volume.id, &volume.staging, &volume.target).await;
        refused(answer, Code::FailedPrecondition, "files of its own");
        std::fs::remove_file(volume.target.join("precious")).unwrap();
        clients.unpublish(&volume.id, &volume.target).await.unwrap();
        assert!(!volume.target.exists());
        assert!(
            volume.target.parent().unwrap().is_dir(),
            "more than the target was removed"
        );
    });
}

#[test]
fn privileged_unpublish_converges_whatever_is_known_of_the_volume() {
    let name = "privileged_unpublish_converges_whatever_is_known_of_the_volume";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        let never = target_path(&agent, "never", &volume.id);
        for _ in 0..2 {
            clients.unpublish(&volume.id, &never).await.unwrap();
            clients.unpublish("vol-unknown", &never).await.unwrap();
            clients.unpublish("../../etc", &never).await.unwrap();
        }
        let nowhere = agent.kubelet("pods/no/such/parent");
        clients.unpublish(&volume.id, &nowhere).await.unwrap();

        // A mount of somebody else's is not taken off, whatever ID is given.
        let foreign = target_path(&agent, "foreign", &volume.id);
        std::fs::create_dir(&foreign).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&foreign));
        for id in [volume.id.as_str(), "vol-unknown"] {
            refused(clients.unpublish(id, &foreign).await, Code::FailedPrecondition, id);
        }
        let answer = clients.unpublish("vol-unknown", &volume.target).await;
        refused(answer, Code::FailedPrecondition, "vol-unknown");
        assert_eq!(mount_depth(&foreign), 1);
        assert_eq!(mount_depth(&volume.target), 1);

        // Mounted twice by somebody, or by a Berth that had a defect: both go.
        run(Command::new("mount")
            .arg("--bind")
            .args([&volume.staging, &volume.target]));
        assert_eq!(mount_depth(&volume.target), 2);
        clients.unpublish(&volume.id, &volume.target).await.unwrap();
        assert_eq!(mount_depth(&volume.target), 0);
    });
}

/// A pod must be able to end whatever became of its volume meanwhile.
#[test]
fn privileged_a_volume_that_nobody_knows_any_more_is_unpublished() {
    let name = "privileged_a_volume_that_nobody_knows_any_more_is_unpublished";
    on_every_filesystem(name, async |node| {
        type Lose = fn(&Node, &str);
        let losses: [(_, Lose); 2] = [("record", lose_record), ("directory", lose_directory)];
        for (pod, loss) in losses {
            let agent = node.agent().await;
            let clients = agent.clients().await;
            let volume = clients.publish_new(&agent, pod).await;
            agent.kill();
            loss(&node, &volume.id);
            let agent = node.agent().await;
            agent.clients().await.take_down(&volume).await.unwrap();
            assert_eq!(mount_depth(&volume.target), 0);
            assert!(!volume.target.exists());
        }
    });
}

fn lose_record(node: &Node, id: &str) {
    std::fs::remove_file(node.record(id)).unwrap();
    std::fs::write(node.volume(id).join("keeps it"), "an orphan").unwrap();
}

fn lose_directory(node: &Node, id: &str) {
    std::fs::remove_dir_all(node.volume(id)).unwrap();
}

/// What a DaemonSet with Bidirectional propagation and a kubelet in another namespace see.
#[test]
fn privileged_a_publish_reaches_other_mount_namespaces_and_leaves_them_again() {
    let name = "privileged_a_publish_reaches_other_mount_namespaces_and_leaves_them_again";
    isolated(name, async {
        for filesystem in Filesystem::ALL {
            let node = Node::new(filesystem);
            let kubelet = node.home().join("kubelet");
            std::fs::create_dir(&kubelet).unwrap();
            run(Command::new("mount").arg("--bind").args([&kubelet, &kubelet]));
            run(Command::new("mount").arg("--make-rshared").arg(&kubelet));
            let elsewhere = Elsewhere::new();
            let agent = node.agent().await;
            let clients = agent.clients().await;
            let volume = clients.publish_new(&agent, "pod").await;
            assert_eq!(elsewhere.depth(&volume.target), 1, "{filesystem:?}");
            assert_eq!(elsewhere.depth(&volume.staging), 1, "{filesystem:?}");
            std::fs::write(volume.target.join("a"), "seen").unwrap();
            let through = elsewhere.root().join(volume.target.strip_prefix("/").unwrap());
            assert_eq!(std::fs::read(through.join("a")).unwrap(), b"seen");
            clients.take_down(&volume).await.unwrap();
            assert_eq!(elsewhere.depth(&volume.target), 0, "{filesystem:?}");
            assert_eq!(elsewhere.depth(&volume.staging), 0, "{filesystem:?}");
            clients.delete(&volume.id).await.unwrap();
        }
    });
}

/// A process in a mount namespace that receives mounts from this one and sends none.
struct Elsewhere(Child);

impl Elsewhere {
    fn new() -> Self {
        let mut child = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "slave",
                "sh",
                "-c",
                "echo here; exec sleep 1000",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        let output = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
        assert_eq!((output.unwrap(), line.as_str()), (5, "here\n"));
        Self(child)
    }

    fn depth(&self, path: &Path) -> usize {
        mount_lines(&self.0.id().to_string(), path).len()
    }

    fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.0.id()).into()
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The parent of the target is the kubelet's to make; without it nothing is made.
#[test]
fn privileged_a_target_without_its_parent_is_refused() {
    let name = "privileged_a_target_without_its_parent_is_refused";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        let target = agent.kubelet("pods/none/mount");
        let answer = clients.publish(&volume.id, &volume.staging, &target).await;
        refused(answer, Code::FailedPrecondition, "pods/none");
        assert!(!agent.kubelet("pods/none").exists());
        let request = unpublish(&volume.id, &target);
        clients.node.clone().node_unpublish_volume(request).await.unwrap();
    });
}
