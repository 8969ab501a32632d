//! A disk that hangs: calls about it wait and are answered in the end, and nothing else waits.

use std::future::Future;
use std::time::{Duration, Instant};

use berth::proto::registration::InfoRequest;
use tokio::task::JoinSet;

use super::common::health::{all_is_well, pool_is_lost};
use super::common::isolated::figure;
use super::common::requests::staging_path;
use super::common::{Agent, Clients, Filesystem, eventually, http, raw};
use super::patient::{Patient, at_once, sound};

/// How long the disk hangs, unless `BERTH_HANG_SECONDS` says something else. From 10 s on the agent
/// takes it for hanging.
const HANG: Duration = Duration::from_secs(14);
/// The threads that the agent has for calls, and more calls than that.
const THREADS: usize = 128;
const CALLS: usize = 200;
/// How long something may take that has nothing to do with the disk, on a slow machine.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn privileged_a_disk_that_hangs_makes_only_its_own_calls_wait() {
    let name = "hanging::privileged_a_disk_that_hangs_makes_only_its_own_calls_wait";
    at_once(name, &Filesystem::ALL, async |patient| hang(&patient).await);
}

async fn hang(patient: &Patient) {
    let hang = std::env::var("BERTH_HANG_SECONDS").map_or(HANG, |text| Duration::from_secs(text.parse().unwrap()));
    let agent = patient.agent().await;
    let clients = agent.clients().await;
    let pod = clients.publish_new(&agent, "pod").await;
    let old = clients.create("old").await.unwrap();
    all_is_well(&clients, &old).await;

    let illness = patient.fall_ill("delay {} 0 600000");
    let since = Instant::now();
    let mut calls = JoinSet::new();
    // A connection takes 128 calls at a time.
    let callers = [agent.clients().await, agent.clients().await];
    for number in 0..CALLS {
        let clients = callers[number % callers.len()].clone();
        calls.spawn(async move { clients.create(&format!("volume {number}")).await });
    }
    let deletion = tokio::spawn({
        let (clients, old) = (clients.clone(), old.clone());
        async move { clients.delete(&old).await }
    });
    let mut slowest = Duration::ZERO;
    while since.elapsed() < hang {
        slowest = slowest.max(others_go_on(&agent, &clients).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    soon("NodeUnpublishVolume", clients.take_down(&pod)).await.unwrap();
    assert!(calls.try_join_next().is_none(), "a volume was made without the disk");
    assert!(!deletion.is_finished(), "a volume was deleted without the disk");
    assert_eq!(clients.storage_reasons().await, ["PoolHangs"]);
    assert!(!clients.ready().await);
    let page = http::get(agent.http_address().trim_start_matches("http://"), "/readyz");
    assert_eq!(page.status, 503, "{}", page.body);
    figure(&format!(
        "{:?}: hung for {:?}, the slowest other answer took {slowest:?}",
        patient.filesystem,
        since.elapsed()
    ));

    drop(illness);
    while let Some(call) = calls.join_next().await {
        call.unwrap().expect("the volume is made after all");
    }
    deletion.await.unwrap().expect("the volume is deleted after all");
    eventually("the agent is ready again", async || clients.ready().await).await;
    all_is_well(&clients, &pod.id).await;
    assert_eq!(clients.list().await.unwrap().len(), CALLS + 1);
}

#[test]
fn privileged_mounts_that_wait_for_the_disk_leave_threads_to_others() {
    let name = "hanging::privileged_mounts_that_wait_for_the_disk_leave_threads_to_others";
    at_once(name, &[Filesystem::Xfs], async |patient| {
        let agent = patient.agent().await;
        let clients = agent.clients().await;
        let mut volumes = Vec::new();
        for number in 0..CALLS {
            volumes.push(clients.create(&format!("volume {number}")).await.unwrap());
        }
        assert!(agent.terminate().success());
        patient.forget();
        let agent = patient.agent().await;
        // At once: half a second after its start the agent measures what is in the volumes.
        let illness = patient.fall_ill("delay {} 0 600000");
        // A connection takes 128 calls at a time.
        let callers = [agent.clients().await, agent.clients().await];
        let mut calls = JoinSet::new();
        for (number, id) in volumes.into_iter().enumerate() {
            let (clients, staging) = (callers[number % 2].clone(), staging_path(&agent, &id));
            calls.spawn(async move { clients.stage(&id, &staging).await });
        }
        let people = [agent.clients().await, agent.clients().await];
        let mut lists = JoinSet::new();
        for number in 0..CALLS {
            let clients = people[number % 2].clone();
            lists.spawn(async move { clients.summaries().await });
        }
        // On a connection of its own: on the others no more calls are let in.
        let clients = agent.clients().await;
        for _ in 0..5 {
            others_go_on(&agent, &clients).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let mut known = 0;
        while let Some(call) = calls.try_join_next() {
            call.unwrap().expect("what the kernel had read before is mounted");
            known += 1;
        }
        assert!(CALLS - known > THREADS, "{known} calls did not wait for the disk");
        drop(illness);
        while let Some(call) = calls.join_next().await {
            call.unwrap().expect("the volume is mounted after all");
        }
        while let Some(list) = lists.join_next().await {
            assert_eq!(list.unwrap().expect("the volumes are told after all").len(), CALLS);
        }
    });
}

#[test]
fn privileged_an_agent_that_starts_on_a_disk_that_hangs_says_so_and_takes_it_later() {
    let name = "hanging::privileged_an_agent_that_starts_on_a_disk_that_hangs_says_so_and_takes_it_later";
    // A btrfs as small as this one is read whole when it is mounted.
    at_once(name, &[Filesystem::Xfs, Filesystem::Ext4], async |patient| {
        let agent = patient.agent().await;
        let old = agent.clients().await.create("old").await.unwrap();
        assert!(agent.terminate().success());
        patient.forget();
        let illness = patient.fall_ill("delay {} 0 600000");
        let agent = patient.agent().await;
        let clients = agent.clients().await;
        let address = agent.http_address().trim_start_matches("http://").to_owned();
        assert_eq!(http::get(&address, "/healthz").status, 200);
        let page = http::get(&address, "/readyz");
        assert!(
            page.status == 503 && page.body.contains("is still being opened"),
            "{}",
            page.body
        );
        pool_is_lost(&clients, &old, "PoolOpening").await;
        let registration = agent.kubelet("plugins_registry/csi.berth.dev-reg.sock");
        assert!(!registration.exists());
        drop(illness);
        eventually("the agent takes the pool", async || clients.ready().await).await;
        all_is_well(&clients, &old).await;
        eventually("the kubelet is told", async || registration.exists()).await;
    });
}

/// Whatever needs no disk, or another one, is answered. Returns how long the slowest of it took.
async fn others_go_on(agent: &Agent, clients: &Clients) -> Duration {
    let address = agent.http_address().trim_start_matches("http://").to_owned();
    let mut slowest = Duration::ZERO;
    let mut timed = async |what: &str, call: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let since = Instant::now();
        soon(what, call).await;
        slowest = slowest.max(since.elapsed());
    };
    let healthz = tokio::task::spawn_blocking(move || assert_eq!(http::get(&address, "/healthz").status, 200));
    timed("/healthz", Box::pin(async { healthz.await.unwrap() })).await;
    let c = clients.clone();
    timed(
        "Probe",
        Box::pin(async move {
            let _ = c.ready().await;
        }),
    )
    .await;
    let c = clients.clone();
    timed("ListVolumes", Box::pin(async move { drop(c.list().await.unwrap()) })).await;
    let c = clients.clone();
    timed(
        "GetCapacity",
        Box::pin(async move {
            let _ = c.available().await.unwrap();
        }),
    )
    .await;
    let c = clients.clone();
    timed(
        "NodeGetInfo",
        Box::pin(async move { drop(c.node_info().await.unwrap()) }),
    )
    .await;
    let c = clients.clone();
    timed(
        "NodeGetStorageHealth",
        Box::pin(async move { drop(c.storage_reasons().await) }),
    )
    .await;
    let socket = agent.kubelet("plugins_registry/csi.berth.dev-reg.sock");
    let registration = async move {
        let mut kubelet = raw::registration(&socket).await.unwrap();
        kubelet.get_info(InfoRequest {}).await.unwrap();
    };
    timed("the kubelet's GetInfo", Box::pin(registration)).await;
    slowest
}

async fn soon<T>(what: &str, call: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, call).await {
        Ok(answer) => answer,
        Err(_) => panic!("{what} waits for the disk"),
    }
}

#[test]
fn privileged_an_agent_on_another_disk_does_not_notice() {
    let name = "hanging::privileged_an_agent_on_another_disk_does_not_notice";
    at_once(name, &[Filesystem::Xfs], async |patient| {
        let (agent, other) = (patient.agent().await, sound());
        let (clients, second) = (agent.clients().await, other.agent().await);
        let illness = patient.fall_ill("delay {} 0 600000");
        let waiting = tokio::spawn({
            let clients = clients.clone();
            async move { clients.create("waits").await }
        });
        let clients = second.clients().await;
        for number in 0..10 {
            let id = soon("CreateVolume", clients.create(&format!("volume {number}")))
                .await
                .unwrap();
            soon("DeleteVolume", clients.delete(&id)).await.unwrap();
        }
        assert!(!waiting.is_finished());
        drop(illness);
        waiting.await.unwrap().expect("the volume is made after all");
    });
}
