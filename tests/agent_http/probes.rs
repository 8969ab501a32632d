//! /healthz says that the agent is alive, /readyz whether it can work, and why not.

use std::path::Path;
use std::time::{Duration, Instant};

use berth::proto::csi::{NodeGetInfoRequest, ProbeRequest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::common::command::berth;
use super::common::http::{self, get};
use super::common::requests::{MIB, create};
use super::common::{Agent, Clients};

/// The agent looks after its pool every two seconds.
const SOON: Duration = Duration::from_secs(10);

fn wait_for_readyz(agent: &Agent, status: u16, words: &str) {
    let deadline = Instant::now() + SOON;
    loop {
        let page = get(&agent.http_address(), "/readyz");
        if page.status == status && page.body.contains(words) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "/readyz stays {page:?}, not {status} {words:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

async fn is_ready(clients: &Clients) -> bool {
    let answer = clients.identity.clone().probe(ProbeRequest {}).await;
    answer.unwrap().into_inner().ready.unwrap()
}

fn init(pool: &Path) -> String {
    berth(["init", "--pool", pool.to_str().unwrap()]).success()
}

#[tokio::test]
async fn an_agent_becomes_ready_when_a_pool_is_made_without_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let pool = home.path().join("pool");
    std::fs::create_dir(&pool).unwrap();
    let agent = Agent::start_with(home.path(), &pool, &[]).await;
    let clients = agent.clients().await;
    let (page, healthz) = (
        get(&agent.http_address(), "/readyz"),
        get(&agent.http_address(), "/healthz"),
    );
    assert_eq!((page.status, healthz.status, healthz.body.as_str()), (503, 200, "ok\n"));
    let reason = format!("{} is not a pool: it has no berth.json.", pool.display());
    assert!(
        page.body.contains(&reason) && page.body.contains("run `berth init`"),
        "{page:?}"
    );
    // Everything that needs a pool says the same, and changes nothing.
    assert!(!is_ready(&clients).await);
    for status in [
        clients
            .controller
            .clone()
            .create_volume(create("a", MIB))
            .await
            .unwrap_err(),
        clients
            .node
            .clone()
            .node_get_info(NodeGetInfoRequest {})
            .await
            .unwrap_err(),
    ] {
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert!(status.message().contains(&reason), "{status}");
    }
    assert_eq!(std::fs::read_dir(&pool).unwrap().count(), 0);

    init(&pool);
    wait_for_readyz(&agent, 200, "ok");
    assert!(is_ready(&clients).await);
    clients
        .controller
        .clone()
        .create_volume(create("a", MIB))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_agent_whose_pool_is_taken_away_says_so_and_goes_on_when_it_is_back() {
    let home = tempfile::tempdir().unwrap();
    let (pool, away) = (home.path().join("pool"), home.path().join("away"));
    std::fs::create_dir(&pool).unwrap();
    let agent = Agent::start(home.path(), &pool).await;
    let clients = agent.clients().await;
    clients
        .controller
        .clone()
        .create_volume(create("a", MIB))
        .await
        .unwrap();
    wait_for_readyz(&agent, 200, "ok");

    std::fs::rename(&pool, &away).unwrap();
    // At once, not when the pool is next looked after.
    let page = get(&agent.http_address(), "/readyz");
    assert_eq!(page.status, 503);
    assert!(
        page.body.contains("no longer leads to the pool that was opened"),
        "{page:?}"
    );
    assert!(!is_ready(&clients).await);
    assert_eq!(get(&agent.http_address(), "/healthz").status, 200);

    std::fs::rename(&away, &pool).unwrap();
    wait_for_readyz(&agent, 200, "ok");
    clients
        .controller
        .clone()
        .create_volume(create("a", MIB))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_agent_tells_why_it_does_not_take_another_ones_pool() {
    let home = tempfile::tempdir().unwrap();
    let pool = home.path().join("pool");
    std::fs::create_dir(&pool).unwrap();
    let first = Agent::start(&home.path().join("first"), &pool).await;
    let second = Agent::start(&home.path().join("second"), &pool).await;
    wait_for_readyz(
        &second,
        503,
        "is in use by another process: an agent runs on this pool already",
    );
    wait_for_readyz(&first, 200, "ok");
    assert!(first.terminate().success());
    wait_for_readyz(&second, 200, "ok");
}

#[tokio::test]
async fn the_pages_end_with_the_agent_and_there_are_no_others() {
    let home = tempfile::tempdir().unwrap();
    let pool = home.path().join("pool");
    std::fs::create_dir(&pool).unwrap();
    let agent = Agent::start(home.path(), &pool).await;
    let address = agent.http_address();
    for path in ["/", "/healthz/", "/metrics/../readyz", "/debug/pprof"] {
        assert_eq!(get(&address, path).status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(http::request(&address, method, "/readyz").status, 405, "{method}");
    }
    // A client that never finishes its request holds up neither others nor the end.
    let silent = std::net::TcpStream::connect(&address).unwrap();
    assert_eq!(get(&address, "/readyz").status, 200);
    let since = Instant::now();
    kill(Pid::from_raw(i32::try_from(agent.pid()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(agent.terminate().success());
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "it took {:?}",
        since.elapsed()
    );
    assert!(std::net::TcpStream::connect(&address).is_err());
    drop(silent);
}

#[tokio::test]
async fn an_address_that_is_taken_ends_the_agent_with_the_flag_to_change() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = tempfile::tempdir().unwrap();
    let kubelet = home.path().join("kubelet");
    std::fs::create_dir(&kubelet).unwrap();
    let outcome = berth([
        "agent",
        "--log=error",
        "--node-name=n",
        &format!("--http-addr={address}"),
        &format!("--pool={}", home.path().join("none").display()),
        &format!("--kubelet-dir={}", kubelet.display()),
        &format!("--csi-endpoint={}", home.path().join("s/csi.sock").display()),
    ]);
    assert_eq!(outcome.code, 1);
    let said = outcome.err.lines().last().unwrap();
    assert!(
        said.contains(&format!("cannot listen on {address} (--http-addr)")),
        "{said}"
    );
}
