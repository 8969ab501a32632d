//! SIGTERM: what runs is finished and answered, nothing new is taken, nothing is left behind.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use berth::proto::admin::ListVolumesRequest;
use berth::proto::csi::ProbeRequest;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Home;
use super::common::requests::{MIB, create};
use super::common::{Agent, Clients};

/// An agent without work ends sooner than this, whoever is connected. The drain timeout is 20 s.
pub const PROMPT: Duration = Duration::from_secs(5);

/// How long a call needs to get from the client to its work.
const UNDER_WAY: Duration = Duration::from_millis(30);

/// Makes a volume that takes several hundred milliseconds to measure.
async fn slow_to_measure(clients: &Clients, pool: &Path) {
    let created = clients
        .controller
        .clone()
        .create_volume(create("slow", MIB))
        .await
        .unwrap();
    let id = created.into_inner().volume.unwrap().volume_id;
    let data = pool.join("volumes").join(id);
    // Names are made faster than files. ext4 takes 65,000 of one file.
    for file in 0..10 {
        let directory = data.join(file.to_string());
        std::fs::create_dir(&directory).unwrap();
        let first = directory.join("first");
        std::fs::write(&first, "").unwrap();
        for name in 0..20_000 {
            std::fs::hard_link(&first, directory.join(name.to_string())).unwrap();
        }
    }
}

fn signal(agent: &Agent, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(agent.pid()).unwrap()), signal).unwrap();
}

async fn refused(socket: &Path) {
    let deadline = Instant::now() + PROMPT;
    while UnixStream::connect(socket).is_ok() {
        assert!(
            Instant::now() < deadline,
            "{} still takes connections",
            socket.display()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_call_is_finished_and_answered_while_new_connections_are_refused() {
    let home = Home::new();
    let agent = home.start().await;
    let clients = agent.clients().await;
    slow_to_measure(&clients, &home.pool()).await;
    let mut admin = clients.admin.clone();
    let call = tokio::spawn(async move { admin.list_volumes(ListVolumesRequest { measure: true }).await });
    tokio::time::sleep(UNDER_WAY).await;
    assert!(!call.is_finished(), "the call is too fast for this test");
    signal(&agent, Signal::SIGTERM);
    for socket in home.sockets() {
        refused(&socket).await;
    }
    assert!(!call.is_finished(), "connections are refused only after the call");
    let volumes = call.await.unwrap().expect("an answer").into_inner().volumes;
    assert_eq!(volumes[0].used_inodes, Some(1 + 10 + 10 * 20_001));
    assert_eq!(agent.terminate().code(), Some(0));
    for socket in home.sockets() {
        assert!(!socket.exists(), "{} is left", socket.display());
    }
}

#[tokio::test]
async fn idle_clients_do_not_hold_up_the_end() {
    let home = Home::new();
    let agent = home.start().await;
    // A client that has called and stays connected, and one that never says a word, on each socket.
    let clients = agent.clients().await;
    clients.identity.clone().probe(ProbeRequest {}).await.unwrap();
    let silent = home.sockets().map(|socket| UnixStream::connect(socket).unwrap());
    let since = Instant::now();
    assert_eq!(agent.terminate().code(), Some(0));
    assert!(since.elapsed() < PROMPT, "it took {:?}", since.elapsed());
    assert!(clients.identity.clone().probe(ProbeRequest {}).await.is_err());
    drop(silent);
}

#[tokio::test]
async fn sigint_ends_it_the_same_way() {
    let home = Home::new();
    let agent = home.start().await;
    signal(&agent, Signal::SIGINT);
    for socket in home.sockets() {
        refused(&socket).await;
    }
    assert_eq!(agent.terminate().code(), Some(0));
    for socket in home.sockets() {
        assert!(!socket.exists());
    }
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_timeout_does_not_keep_it_alive() {
    let home = Home::new();
    let flags = ["--init-pool", "--drain-timeout", "1ms"];
    let agent = Agent::start_with(home.path(), &home.pool(), &flags).await;
    let clients = agent.clients().await;
    slow_to_measure(&clients, &home.pool()).await;
    let mut admin = clients.admin.clone();
    let call = tokio::spawn(async move { admin.list_volumes(ListVolumesRequest { measure: true }).await });
    tokio::time::sleep(UNDER_WAY).await;
    let since = Instant::now();
    assert_eq!(agent.terminate().code(), Some(0));
    assert!(since.elapsed() < PROMPT, "it took {:?}", since.elapsed());
    assert!(call.await.unwrap().is_err());
}
