//! Sockets stay reachable whatever happens to their directories, and however many callers there are.

use std::os::unix::net::UnixStream;
use std::path::Path;

use berth::proto::csi::ProbeRequest;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Home, SOON, answer, answer_within, mode};

fn empty(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

#[tokio::test]
async fn sockets_come_back_when_their_directories_are_emptied() {
    let home = Home::new();
    let agent = home.start().await;
    let before = agent.clients().await;
    for socket in home.sockets() {
        empty(socket.parent().unwrap());
    }
    answer_within(&home.sockets(), SOON).await;
    // A connection from before the loss goes on, and permissions are as they were.
    before.identity.clone().probe(ProbeRequest {}).await.unwrap();
    for socket in home.sockets() {
        assert_eq!(mode(&socket), 0o600);
    }
    // The sockets are still this agent's: another one is refused.
    assert!(home.refusal().contains("is owned by another agent"));
    answer(&home.sockets()).await.unwrap();
}

#[tokio::test]
async fn sockets_come_back_when_their_directories_are_removed() {
    let home = Home::new();
    let _agent = home.start().await;
    for socket in home.sockets() {
        std::fs::remove_dir_all(socket.parent().unwrap()).unwrap();
    }
    answer_within(&home.sockets(), SOON).await;
    for socket in home.sockets() {
        assert_eq!(mode(socket.parent().unwrap()), 0o700);
    }
}

#[tokio::test]
async fn an_agent_that_lost_its_sockets_ends_without_them() {
    let home = Home::new();
    let agent = home.start().await;
    for socket in home.sockets() {
        std::fs::remove_dir_all(socket.parent().unwrap()).unwrap();
    }
    assert!(agent.terminate().success());
    let _next = home.start().await;
}

#[tokio::test]
async fn two_thousand_idle_connections_stop_nobody() {
    const IDLE: u64 = 2000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    }
    assert!(
        hard > IDLE + 200,
        "this machine allows {hard} descriptors: too few for the test"
    );
    let home = Home::new();
    let agent = home.start().await;
    let sockets = home.sockets();
    let mut idle = Vec::new();
    for at in 0..IDLE {
        idle.push(UnixStream::connect(&sockets[usize::from(at % 4 == 0)]).unwrap());
    }
    for _ in 0..20 {
        tokio::time::timeout(SOON, answer(&sockets)).await.unwrap().unwrap();
    }
    // Nor do they keep the agent from ending.
    let since = std::time::Instant::now();
    assert!(agent.terminate().success());
    assert!(since.elapsed() < super::ending::PROMPT, "it took {:?}", since.elapsed());
    drop(idle);
}
