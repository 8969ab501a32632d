//! Taking the paths of the sockets: from the dead, never from the living.

use std::ffi::OsStr;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use super::common::command::berth;
use super::{Agent, Home, SOON, answer, answer_within, mode, set_mode};

#[tokio::test]
async fn sockets_that_a_killed_agent_left_are_replaced() {
    let home = Home::new();
    home.start().await.kill();
    for socket in home.sockets() {
        assert!(std::fs::metadata(&socket).unwrap().file_type().is_socket());
        assert!(
            std::os::unix::net::UnixStream::connect(&socket).is_err(),
            "nobody listens"
        );
    }
    let _agent = home.start().await;
    answer(&home.sockets()).await.unwrap();
}

/// A kubelet that asks for a driver without a pool is refused, and then waits for up to two minutes.
#[tokio::test]
async fn the_kubelet_is_told_of_the_driver_once_there_is_a_pool() {
    let home = Home::new();
    let agent = Agent::start_with(home.path(), &home.pool(), &[]).await;
    let [csi, registration] = home.sockets();
    assert!(csi.exists() && !registration.exists());
    berth([OsStr::new("init"), OsStr::new("--pool"), home.pool().as_os_str()]).success();
    answer_within(&home.sockets(), SOON).await;
    // It stays when the pool goes, so that pods can still end.
    std::fs::rename(home.pool(), home.path().join("away")).unwrap();
    let gone = async {
        while agent.clients().await.ready().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("the agent notices");
    answer(&home.sockets()).await.unwrap();
    assert!(agent.terminate().success());
}

/// An agent without a pool ends like any other.
#[tokio::test]
async fn an_agent_that_waits_for_its_pool_ends_when_told_to() {
    let home = Home::new();
    let agent = Agent::start_with(home.path(), &home.pool(), &[]).await;
    assert!(agent.terminate().success());
    assert!(home.sockets().iter().all(|socket| !socket.exists()));
}

#[tokio::test]
async fn a_second_agent_is_refused_and_the_first_goes_on() {
    let home = Home::new();
    let agent = home.start().await;
    let [csi, registration] = home.sockets();
    let other = Home::new();
    let start = |endpoint: &Path, kubelet: &Path| {
        std::fs::create_dir_all(kubelet).unwrap();
        berth([
            "agent",
            "--init-pool",
            "--node-name=test-node",
            "--http-addr=127.0.0.1:0",
            &format!("--pool={}", other.pool().display()),
            &format!("--csi-endpoint={}", endpoint.display()),
            &format!("--kubelet-dir={}", kubelet.display()),
        ])
        .failure()
    };
    let (own_socket, own_kubelet) = (other.path().join("csi/csi.sock"), other.path().join("kubelet"));
    for (said, owned) in [
        (start(&csi, &own_kubelet), &csi),
        (start(&own_socket, &agent.kubelet("")), &registration),
    ] {
        let expected = format!(
            "socket {} is owned by another agent that runs: stop it first",
            owned.display()
        );
        assert!(said.contains(&expected), "{said}");
    }
    // It ended before it touched anything: the directory is as empty as it was.
    assert_eq!(std::fs::read_dir(other.pool()).unwrap().count(), 0);
    answer(&home.sockets()).await.unwrap();
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn a_socket_on_which_another_program_listens_is_refused() {
    for which in [0, 1] {
        let home = Home::new();
        let socket = &home.sockets()[which];
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let said = home.refusal();
        assert!(
            said.contains(&format!("socket {} is owned", socket.display())),
            "{said}"
        );
        let caller = std::os::unix::net::UnixStream::connect(socket).unwrap();
        drop((caller, listener));
        let _agent = home.start().await;
    }
}

#[tokio::test]
async fn what_is_no_socket_is_refused_and_left_as_it_is() {
    type Plant = fn(&Path);
    let plants: [(Plant, Plant); 3] = [
        (
            |path| std::fs::write(path, "precious").unwrap(),
            |path| assert_eq!(std::fs::read(path).unwrap(), b"precious"),
        ),
        (
            |path| std::fs::create_dir_all(path.join("inner")).unwrap(),
            |path| assert!(path.join("inner").is_dir()),
        ),
        (
            |path| symlink("elsewhere.sock", path).unwrap(),
            |path| assert_eq!(std::fs::read_link(path).unwrap(), Path::new("elsewhere.sock")),
        ),
    ];
    for (plant, check) in plants {
        for which in [0, 1] {
            let home = Home::new();
            let socket = &home.sockets()[which];
            std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
            plant(socket);
            let said = home.refusal();
            let expected = format!(
                "{} is there and no socket: it is left as it is; move it away",
                socket.display()
            );
            assert!(said.contains(&expected), "{said}");
            check(socket);
        }
    }
}

#[tokio::test]
async fn sockets_and_their_directories_are_for_their_owner_alone() {
    let home = Home::new();
    let [csi, registration] = home.sockets();
    // One directory is there already, as the kubelet makes it, the other is not.
    std::fs::create_dir_all(registration.parent().unwrap()).unwrap();
    set_mode(registration.parent().unwrap(), 0o755);
    let _agent = home.start().await;
    for socket in [&csi, &registration] {
        assert_eq!(mode(socket), 0o600, "{}", socket.display());
        assert_eq!(mode(socket.parent().unwrap()), 0o700, "{}", socket.display());
        for entry in std::fs::read_dir(socket.parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path) & 0o077, 0, "others may use {}", path.display());
        }
    }
}

#[tokio::test]
async fn a_directory_with_files_of_others_keeps_its_mode() {
    let home = Home::new();
    let directory = home.sockets()[1].parent().unwrap().to_owned();
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("other.example.json"), "{}").unwrap();
    set_mode(&directory, 0o755);
    let _agent = home.start().await;
    assert_eq!(mode(&directory), 0o755);
    for socket in home.sockets() {
        assert_eq!(mode(&socket), 0o600);
    }
}

#[tokio::test]
async fn a_directory_that_others_may_write_to_is_refused() {
    for (which, bits) in [(0, 0o777), (1, 0o777), (0, 0o770), (1, 0o1777)] {
        let home = Home::new();
        let socket = &home.sockets()[which];
        let directory = socket.parent().unwrap();
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join("somebody's"), "").unwrap();
        set_mode(directory, bits);
        let said = home.refusal();
        let expected = format!(
            "the directory {} of the socket may be written by others (mode {:04o})",
            directory.display(),
            bits & 0o777
        );
        assert!(said.contains(&expected), "{said}");
        assert!(!socket.exists());
        assert_eq!(mode(directory), bits);
    }
}

#[tokio::test]
async fn an_endpoint_longer_than_a_socket_address_is_refused_before_anything_starts() {
    let home = Home::new();
    let long = home.path().join("x".repeat(120));
    let pool = format!("--pool={}", home.pool().display());
    let outcome = berth([
        "agent".to_owned(),
        pool,
        "--init-pool".to_owned(),
        "--node-name=n".to_owned(),
        format!("--csi-endpoint=unix://{}", long.display()),
    ]);
    assert_eq!(outcome.code, 2);
    assert!(
        outcome.err.contains("the path of a unix socket has at most 106 bytes"),
        "{}",
        outcome.err
    );
    assert_eq!(std::fs::read_dir(home.pool()).unwrap().count(), 0);
}
