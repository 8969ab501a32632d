//! Agents that end and start again while pods use their volumes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use common::disk::{mount_depth, unmount_lazily};
use common::{Agent, Node, Published, on_every_filesystem, refused};
use tonic::Code;

#[test]
fn privileged_published_volumes_are_served_on_after_a_crash() {
    let name = "privileged_published_volumes_are_served_on_after_a_crash";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let volume = agent.clients().await.publish_new(&agent, "pod").await;
        let pod = Pod::start(&volume);
        agent.kill();
        let agent = node.agent().await;
        serves_on(&node, &agent, &volume, pod).await;
    });
}

#[test]
fn privileged_published_volumes_are_served_on_after_an_update() {
    let name = "privileged_published_volumes_are_served_on_after_an_update";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let volume = agent.clients().await.publish_new(&agent, "pod").await;
        let pod = Pod::start(&volume);
        let status = agent.terminate();
        assert!(status.success(), "{status}");
        assert_eq!(mount_depth(&volume.target), 1, "ending took the mount off");
        let agent = node.agent().await;
        serves_on(&node, &agent, &volume, pod).await;
    });
}

/// The kubelet forgets a driver whose socket goes, and knows one again only when there is a pool.
#[test]
fn privileged_the_kubelet_keeps_the_driver_as_long_as_pods_have_to_end() {
    let name = "privileged_the_kubelet_keeps_the_driver_as_long_as_pods_have_to_end";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let registration = agent.kubelet("plugins_registry/csi.berth.dev-reg.sock");
        let volume = agent.clients().await.publish_new(&agent, "pod").await;
        assert!(agent.terminate().success());
        assert!(registration.exists(), "the kubelet would forget the driver");
        unmount_lazily(&node.pool());
        let agent = node.agent_with(&[]).await;
        let clients = agent.clients().await;
        assert!(!clients.ready().await);
        clients.take_down(&volume).await.unwrap();
        assert!(agent.terminate().success());
        assert!(registration.exists(), "it is the first agent's still");

        node.disk.mount(&node.pool(), "");
        let agent = node.agent().await;
        common::eventually("the kubelet is told", async || {
            std::os::unix::net::UnixStream::connect(&registration).is_ok()
        })
        .await;
        assert!(agent.terminate().success());
        assert!(!registration.exists(), "nobody needs the driver any more");
    });
}

/// The agent knows the volume and everything that is done with it goes on as if nothing was.
async fn serves_on(node: &Node, agent: &Agent, volume: &Published, pod: Pod) {
    let clients = agent.clients().await;
    assert_eq!(clients.stats(&volume.id, &volume.target).await.unwrap().len(), 2);
    assert_eq!(clients.stats(&volume.id, &volume.staging).await.unwrap().len(), 2);
    clients.stage(&volume.id, &volume.staging).await.unwrap();
    clients
        .publish(&volume.id, &volume.staging, &volume.target)
        .await
        .unwrap();
    assert_eq!((mount_depth(&volume.staging), mount_depth(&volume.target)), (1, 1));
    let summaries = clients.summaries().await.unwrap();
    let [summary] = summaries.as_slice() else {
        panic!("one volume was made: {summaries:?}");
    };
    assert_eq!(summary.published_at.len(), 2, "{summary:?}");
    refused(clients.delete(&volume.id).await, Code::FailedPrecondition, "in use");

    pod.end();
    clients.take_down(volume).await.unwrap();
    assert!(!volume.target.exists());
    refused(
        clients.stats(&volume.id, &volume.target).await,
        Code::NotFound,
        &volume.id,
    );
    clients.delete(&volume.id).await.unwrap();
    common::eventually("the deleted volume leaves the disk", async || {
        !node.volume(&volume.id).exists() && !node.trash(&volume.id).exists() && !node.record(&volume.id).exists()
    })
    .await;
}

/// A pod that holds a file open and writes to it, and makes files, all the time.
struct Pod {
    stop: Arc<AtomicBool>,
    writer: JoinHandle<u64>,
    target: PathBuf,
}

impl Pod {
    fn start(volume: &Published) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, target) = (stop.clone(), volume.target.clone());
        let writer = std::thread::spawn(move || {
            let mut journal = File::create(target.join("journal")).expect("journal");
            let mut written = 0;
            while !told.load(Ordering::Relaxed) {
                writeln!(journal, "{written:08}").expect("write through the mount");
                std::fs::write(target.join("latest"), written.to_string()).expect("a new file");
                written += 1;
            }
            journal.sync_all().expect("sync");
            written
        });
        Self {
            stop,
            writer,
            target: volume.target.clone(),
        }
    }

    /// Ends the pod, and checks that every line it wrote is there.
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let written = self.writer.join().expect("the pod was not disturbed");
        assert!(written > 0, "the pod wrote nothing");
        let mut journal = String::new();
        let mut file = File::open(self.target.join("journal")).unwrap();
        file.read_to_string(&mut journal).unwrap();
        let expected: String = (0..written).map(|line| format!("{line:08}\n")).collect();
        assert!(journal == expected, "the journal of {written} lines is another");
    }
}

#[test]
fn privileged_a_crash_between_stage_and_publish_is_nothing_to_the_next_agent() {
    let name = "privileged_a_crash_between_stage_and_publish_is_nothing_to_the_next_agent";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let volume = clients.publish_new(&agent, "pod").await;
        clients.unpublish(&volume.id, &volume.target).await.unwrap();
        agent.kill();
        // What a publish leaves that is killed between making the target and mounting.
        std::fs::create_dir(&volume.target).unwrap();
        let agent = node.agent().await;
        let clients = agent.clients().await;
        clients
            .publish(&volume.id, &volume.staging, &volume.target)
            .await
            .unwrap();
        assert_eq!(mount_depth(&volume.target), 1);
        agent.kill();
        // And an unpublish that is killed between unmounting and removing the target.
        common::disk::unmount(&volume.target);
        let agent = node.agent().await;
        let clients = agent.clients().await;
        clients.unpublish(&volume.id, &volume.target).await.unwrap();
        assert!(!volume.target.exists());
        assert_eq!(clients.create("pod").await.unwrap(), volume.id);
    });
}
