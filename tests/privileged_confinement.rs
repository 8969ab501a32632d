//! The agent's own privileges: it keeps six capabilities, all calls work with them, and each of them is
//! needed by a call that is named here. Everything else it has given up, and cannot take back.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed"
)]

mod common;

use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use berth::proto::csi;
use berth::proto::registration::InfoRequest;
use common::disk::run;
use common::requests::{capability, create_with, publish, staging_path, target_path};
use common::{Agent, Clients, Filesystem, Node, eventually, isolated, on_every_filesystem, raw};
use csi::volume_capability::access_mode::Mode;
use nix::errno::Errno;

/// chown 0, dac_override 1, fowner 3, fsetid 4, linux_immutable 9, sys_admin 21.
const KEPT: &str = "000000000020021b";
const NONE: &str = "0000000000000000";

#[test]
fn privileged_every_thread_of_the_agent_holds_six_capabilities_and_no_more() {
    let name = "privileged_every_thread_of_the_agent_holds_six_capabilities_and_no_more";
    on_every_filesystem(name, async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        all_calls(&node, &agent, &clients).await;
        let mut threads = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap() {
            let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            for (field, expected) in [
                ("CapEff", KEPT),
                ("CapPrm", KEPT),
                ("CapBnd", KEPT),
                ("CapInh", NONE),
                ("CapAmb", NONE),
                ("NoNewPrivs", "1"),
                ("Seccomp", "2"),
            ] {
                let found = status
                    .lines()
                    .find_map(|line| line.strip_prefix(&format!("{field}:\t")));
                assert_eq!(found, Some(expected), "{field}");
            }
            threads += 1;
        }
        assert!(threads > 3, "{threads} threads");
        common::isolated::figure(&format!("{threads} threads on {:?}", node.filesystem));
    });
}

/// Every call that does something, with all that may need a privilege.
async fn all_calls(node: &Node, agent: &Agent, clients: &Clients) {
    let parameters = [
        ("berth.dev/uid", "999"),
        ("berth.dev/gid", "1000"),
        ("berth.dev/mode", "2770"),
        ("berth.dev/trash-retention", "1h"),
        ("csi.storage.k8s.io/pvc/namespace", "shop"),
        ("csi.storage.k8s.io/pvc/name", "data"),
    ];
    let id = clients.create_with("owned", &parameters).await.unwrap();
    let found = std::fs::metadata(node.volume(&id)).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (999, 1000, 0o2770));
    let (staging, target) = (staging_path(agent, &id), target_path(agent, "pod", &id));
    clients.stage(&id, &staging).await.unwrap();
    let mut request = publish(&id, &staging, &target);
    request.readonly = true;
    clients.publish_from(request).await.unwrap();
    assert!(std::fs::write(target.join("file"), "data").is_err(), "read-only");
    clients.stats(&id, &target).await.unwrap();
    let request = csi::ValidateVolumeCapabilitiesRequest {
        volume_id: id.clone(),
        volume_capabilities: vec![capability(Mode::SingleNodeWriter)],
        ..csi::ValidateVolumeCapabilitiesRequest::default()
    };
    clients
        .controller
        .clone()
        .validate_volume_capabilities(request)
        .await
        .unwrap();
    assert_eq!(clients.list().await.unwrap(), std::slice::from_ref(&id));
    assert!(clients.available().await.unwrap() > 0);
    common::health::all_is_well(clients, &id).await;
    clients.node_info().await.unwrap();
    clients.unpublish(&id, &target).await.unwrap();
    clients.unstage(&id, &staging).await.unwrap();
    leave(&node.volume(&id));
    clients.delete(&id).await.unwrap();
    clients.undelete(&id).await.unwrap();
    clients.summaries().await.unwrap();
    let short = clients.create("short").await.unwrap();
    leave(&node.volume(&short));
    clients.delete(&short).await.unwrap();
    purged(node, &short).await;
    let socket = agent.kubelet("plugins_registry/csi.berth.dev-reg.sock");
    raw::registration(&socket)
        .await
        .unwrap()
        .get_info(InfoRequest {})
        .await
        .unwrap();
    assert_eq!(common::http::get(&agent.http_address(), "/readyz").status, 200);
    assert_eq!(common::http::get(&agent.http_address(), "/metrics").status, 200);
}

/// Things in a volume that not everybody can remove.
fn leave(volume: &Path) {
    closed_directory(volume);
    immutable_file(volume);
    sticky_directory(volume);
}

fn closed_directory(volume: &Path) {
    let path = volume.join("closed");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("file"), "data").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    chown(&path, Some(1234), Some(1234)).unwrap();
}

fn immutable_file(volume: &Path) {
    std::fs::write(volume.join("immutable"), "data").unwrap();
    run(Command::new("chattr").arg("+i").arg(volume.join("immutable")));
}

fn sticky_directory(volume: &Path) {
    let path = volume.join("sticky");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("file"), "data").unwrap();
    for path in [&path, &path.join("file")] {
        chown(path, Some(1234), Some(1234)).unwrap();
    }
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o1777)).unwrap();
}

async fn purged(node: &Node, id: &str) {
    eventually("it is purged", async || {
        !node.trash(id).exists() && !node.record(id).exists()
    })
    .await;
}

/// What fails without a capability: its name to setpriv(1), and the call.
const NEEDS: [(&str, &str); 7] = [
    ("chown", "CreateVolume with berth.dev/uid"),
    ("fowner", "CreateVolume with berth.dev/uid and a mode"),
    ("fowner", "purge of a sticky directory"),
    ("fsetid", "CreateVolume with a set-group-ID mode"),
    ("dac_override", "purge of a closed directory"),
    ("linux_immutable", "purge of an immutable file"),
    ("sys_admin", "NodeStageVolume"),
];

#[test]
fn privileged_each_capability_that_is_kept_is_needed() {
    let name = "privileged_each_capability_that_is_kept_is_needed";
    isolated(name, async {
        for (capability, call) in NEEDS {
            let node = Node::new(Filesystem::Xfs);
            let agent = agent_without(&node, &[]).await;
            assert!(
                works(&node, &agent, call).await,
                "{call} fails with every capability that is kept"
            );
            agent.kill();
            let agent = agent_without(&node, &[capability]).await;
            assert!(!works(&node, &agent, call).await, "{call} works without {capability}");
        }
    });
}

/// An agent that was never given some capabilities.
async fn agent_without(node: &Node, missing: &[&str]) -> Agent {
    let missing: Vec<_> = missing.iter().map(|name| format!("-{name}")).collect();
    let plain = Agent::command(node.home(), &node.pool(), &["--init-pool"]);
    let mut command = Command::new("setpriv");
    if !missing.is_empty() {
        let list = missing.join(",");
        command.args(["--bounding-set", &list, "--inh-caps", &list]);
    }
    let log = File::options()
        .append(true)
        .open(node.home().join("agent.log"))
        .unwrap();
    command.arg(plain.get_program()).args(plain.get_args()).stderr(log);
    Agent::start_command(node.home(), &mut command).await
}

/// Whether a call does all of what it has to, with a new volume.
async fn works(node: &Node, agent: &Agent, call: &str) -> bool {
    let clients = agent.clients().await;
    let pid = agent.pid().to_string();
    let create = async |parameters: &[(&str, &str)]| clients.create_from(create_with(&pid, 1 << 20, parameters)).await;
    let purge = async |leave: fn(&Path)| {
        let id = create(&[]).await.unwrap();
        leave(&node.volume(&id));
        let refusals = agent.log().matches("not purged").count();
        clients.delete(&id).await.unwrap();
        eventually("it is purged or not", async || {
            !node.record(&id).exists() && !node.trash(&id).exists()
                || agent.log().matches("not purged").count() > refusals
        })
        .await;
        !node.trash(&id).exists()
    };
    match call {
        "CreateVolume with berth.dev/uid" => {
            let id = create(&[("berth.dev/uid", "999"), ("berth.dev/mode", "0770")]).await;
            id.is_ok_and(|id| std::fs::metadata(node.volume(&id)).unwrap().uid() == 999)
        }
        "CreateVolume with berth.dev/uid and a mode" => {
            let id = create(&[("berth.dev/uid", "999"), ("berth.dev/mode", "1750")]).await;
            id.is_ok_and(|id| std::fs::metadata(node.volume(&id)).unwrap().mode() & 0o7777 == 0o1750)
        }
        "CreateVolume with a set-group-ID mode" => {
            let id = create(&[("berth.dev/gid", "1000"), ("berth.dev/mode", "2770")]).await;
            id.is_ok_and(|id| std::fs::metadata(node.volume(&id)).unwrap().mode() & 0o7777 == 0o2770)
        }
        "purge of a closed directory" => purge(closed_directory).await,
        "purge of an immutable file" => purge(immutable_file).await,
        "purge of a sticky directory" => purge(sticky_directory).await,
        "NodeStageVolume" => {
            let id = create(&[]).await.unwrap();
            clients.stage(&id, &staging_path(agent, &id)).await.is_ok()
        }
        other => panic!("no such call: {other}"),
    }
}

/// On a thread of its own, which is confined alone.
#[test]
fn privileged_a_confined_thread_starts_no_program_and_enters_no_namespace() {
    let name = "privileged_a_confined_thread_starts_no_program_and_enters_no_namespace";
    isolated(name, async {
        let confined = std::thread::spawn(|| {
            let file = File::open("/proc/self/ns/net").unwrap();
            berth::confinement::confine().unwrap();
            let refused = |what: &str, answer: nix::Result<()>| assert_eq!(answer, Err(Errno::EPERM), "{what}");
            let spawned = Command::new("/bin/true").spawn().map(drop);
            assert_eq!(
                spawned.unwrap_err().raw_os_error(),
                Some(Errno::EPERM as i32),
                "a program was started"
            );
            use nix::sched::{CloneFlags, setns, unshare};
            refused("execve", nix::unistd::execv(c"/bin/true", &[c"true"]).map(|_| ()));
            refused("unshare", unshare(CloneFlags::CLONE_NEWNS));
            refused("setns", setns(file, CloneFlags::CLONE_NEWNET));
            refused("chroot", nix::unistd::chroot("/"));
            refused("pivot_root", nix::unistd::pivot_root("/", "/"));
            let mount = nix::mount::mount(
                Some("none"),
                "/tmp",
                Some("tmpfs"),
                nix::mount::MsFlags::empty(),
                None::<&str>,
            );
            refused("mount", mount);
            let null = nix::sys::stat::makedev(1, 3);
            let (kind, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::S_IRUSR);
            let temporary = std::env::temp_dir();
            refused(
                "mknod",
                nix::sys::stat::mknod(&temporary.join("null"), kind, mode, null),
            );
            // Threads and files are what it works with.
            std::thread::spawn(move || std::fs::write(temporary.join("file"), "data"))
                .join()
                .unwrap()
                .unwrap();
        });
        confined.join().unwrap();
        assert!(
            Command::new("/bin/true").status().unwrap().success(),
            "the others are free"
        );
    });
}
