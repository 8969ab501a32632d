//! Something else in the place of a volume's directory, put there while the agent looked away.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tonic::Code;

use super::canary::Canary;
use super::common::disk::{run, unmount};
use super::common::{Agent, Clients, eventually, on_every_filesystem, refused};
use super::soon;

type Replace = fn(&Path, &Path);

const WAYS: [(&str, Replace); 5] = [
    ("a link", |at, canary| {
        aside(at);
        symlink(canary, at).unwrap();
    }),
    ("a mount", |at, canary| {
        run(Command::new("mount").arg("--bind").args([canary, at]));
    }),
    ("a mount of another file system", |at, _| {
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(at));
    }),
    ("a file", |at, _| {
        aside(at);
        std::fs::write(at, "no volume").unwrap();
    }),
    ("a fifo", |at, _| {
        aside(at);
        run(Command::new("mkfifo").arg(at));
    }),
];

fn aside(at: &Path) {
    std::fs::rename(at, at.with_extension("aside")).unwrap();
}

/// Brings the directory back.
fn restore(at: &Path) {
    if at.with_extension("aside").exists() {
        std::fs::remove_file(at).unwrap();
        std::fs::rename(at.with_extension("aside"), at).unwrap();
    } else {
        unmount(at);
    }
}

#[test]
fn privileged_what_is_in_the_place_of_a_volume_is_not_the_volume() {
    let name = "replaced::privileged_what_is_in_the_place_of_a_volume_is_not_the_volume";
    on_every_filesystem(name, async |node| {
        let canary = Canary::new(node.home().join("canary"));
        let mut agent = node.agent().await;
        for (what, replace) in WAYS {
            let clients = agent.clients().await;
            let id = clients.create(what).await.unwrap();
            std::fs::write(node.volume(&id).join("file"), "data").unwrap();
            replace(&node.volume(&id), canary.path());
            refused_everywhere(&agent, &clients, &id).await;
            agent.kill();
            agent = node.agent().await;
            let clients = agent.clients().await;
            refused_everywhere(&agent, &clients, &id).await;
            restore(&node.volume(&id));
            canary.check(what);
            assert_eq!(std::fs::read(node.volume(&id).join("file")).unwrap(), b"data", "{what}");
            clients.delete(&id).await.expect(what);
            eventually("it is purged", async || !node.trash(&id).exists()).await;
        }
    });
}

async fn refused_everywhere(agent: &Agent, clients: &Clients, id: &str) {
    let path = agent.kubelet("stage");
    std::fs::create_dir_all(&path).unwrap();
    let code = Code::FailedPrecondition;
    refused(soon("stage", clients.stage(id, &path)).await, code, id);
    refused(
        soon("publish", clients.publish(id, &path, &agent.kubelet("target"))).await,
        code,
        id,
    );
    refused(soon("delete", clients.delete(id)).await, code, id);
    let reasons = soon("health", clients.controller_reasons(id)).await.unwrap();
    assert!(!reasons.is_empty(), "nothing is wrong with it?");
    // Measured, it counts as nothing.
    soon("volumes", clients.summaries()).await.unwrap();
}

#[test]
fn privileged_what_is_in_the_place_of_a_deleted_volume_is_not_emptied() {
    let name = "replaced::privileged_what_is_in_the_place_of_a_deleted_volume_is_not_emptied";
    on_every_filesystem(name, async |node| {
        let canary = Canary::new(node.home().join("canary"));
        for (what, replace) in WAYS {
            let agent = node.agent().await;
            let clients = agent.clients().await;
            let id = clients
                .create_with(what, &[("berth.dev/trash-retention", "2s")])
                .await
                .unwrap();
            std::fs::write(node.volume(&id).join("file"), "data").unwrap();
            clients.delete(&id).await.unwrap();
            replace(&node.trash(&id), canary.path());
            refused(
                soon("undelete", clients.undelete(&id)).await,
                Code::FailedPrecondition,
                &id,
            );
            match what.contains("mount") {
                true => {
                    eventually("the log tells of it", async || {
                        let told = |line: &str| line.contains("not purged") && line.contains(&id);
                        agent.log().lines().any(told)
                    })
                    .await;
                    unmount(&node.trash(&id));
                }
                // The thing itself goes, for the trash is Berth's alone; what it leads to stays.
                false => {
                    eventually("it is purged", async || !node.record(&id).exists()).await;
                    let aside = node.trash(&id).with_extension("aside");
                    assert_eq!(std::fs::read(aside.join("file")).unwrap(), b"data", "{what}");
                    std::fs::remove_dir_all(aside).unwrap();
                }
            }
            canary.check(what);
            agent.kill();
            let agent = node.agent().await;
            eventually("it is purged", async || !node.record(&id).exists()).await;
            agent.kill();
        }
    });
}

#[test]
fn privileged_what_is_mounted_over_a_file_of_the_pool_is_not_written_to() {
    let name = "replaced::privileged_what_is_mounted_over_a_file_of_the_pool_is_not_written_to";
    on_every_filesystem(name, async |node| {
        let canary = Canary::new(node.home().join("canary"));
        node.agent().await.kill();
        for (file, served) in [(".berth/lock", false), (".berth/ballast", true)] {
            let path = node.pool().join(file);
            // Shorter than what is set aside, so that there is something to do.
            run(Command::new("mount")
                .arg("--bind")
                .args([&canary.path().join("inner/file"), &path]));
            let agent = node.agent_with(&[]).await;
            let clients = agent.clients().await;
            assert_eq!(soon("create", clients.create(file)).await.is_ok(), served, "{file}");
            agent.kill();
            unmount(&path);
            canary.check(file);
        }
    });
}
