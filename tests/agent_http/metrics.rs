//! The figures are the pool's and the calls', and callers cannot make up series.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::common::http::get;
use super::common::requests::{MIB, create, create_with, delete};
use super::common::{Agent, Clients, raw};
use super::openmetrics::{self, Samples};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn scrape(agent: &Agent) -> Samples {
    let page = get(&agent.http_address(), "/metrics");
    assert_eq!((page.status, page.content_type.as_str()), (200, CONTENT_TYPE));
    openmetrics::parse(&page.body)
}

fn calls(samples: &Samples, method: &str, code: &str) -> f64 {
    let series = format!("berth_rpc_duration_seconds_count{{method=\"{method}\",code=\"{code}\"}}");
    samples.get(&series).copied().unwrap_or(0.0)
}

struct Fixture {
    home: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("pool")).unwrap();
        Self { home }
    }

    fn pool(&self) -> PathBuf {
        self.home.path().join("pool")
    }

    async fn start(&self) -> (Agent, Clients) {
        let agent = Agent::start(self.home.path(), &self.pool()).await;
        let clients = agent.clients().await;
        (agent, clients)
    }
}

async fn make(clients: &Clients, name: &str, bytes: i64, parameters: &[(&str, &str)]) -> String {
    let request = create_with(name, bytes, parameters);
    let created = clients.controller.clone().create_volume(request).await.unwrap();
    created.into_inner().volume.unwrap().volume_id
}

#[tokio::test]
async fn volumes_and_the_trash_are_counted_as_they_come_and_go() {
    let fixture = Fixture::new();
    let (agent, clients) = fixture.start().await;
    let expect = |volumes: f64, trash: f64, committed: i64| {
        let samples = scrape(&agent);
        let found = ["berth_volumes", "berth_trash_volumes", "berth_pool_committed_bytes"].map(|name| samples[name]);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let committed = committed as f64;
        assert_eq!(found, [volumes, trash, committed]);
    };
    expect(0.0, 0.0, 0);
    let kept = make(&clients, "kept", 3 * MIB, &[("berth.dev/trash-retention", "1h")]).await;
    let other = make(&clients, "other", 5 * MIB, &[]).await;
    make(&clients, "other", 5 * MIB, &[]).await;
    expect(2.0, 0.0, 8 * MIB);
    clients.controller.clone().delete_volume(delete(&kept)).await.unwrap();
    expect(1.0, 1.0, 5 * MIB);
    clients.controller.clone().delete_volume(delete(&other)).await.unwrap();
    let purged = || !fixture.pool().join(".berth/trash").join(&other).exists();
    while !purged() || scrape(&agent)["berth_trash_volumes"] > 1.0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    expect(0.0, 1.0, 0);
}

#[tokio::test]
async fn the_pools_size_and_space_are_those_of_its_file_system() {
    let fixture = Fixture::new();
    let (agent, _) = fixture.start().await;
    let before = statvfs(&fixture.pool()).unwrap();
    let samples = scrape(&agent);
    let after = statvfs(&fixture.pool()).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "both sides lose the same")]
    let number = |number: u64| number as f64;
    let bytes = |blocks: u64| number(blocks * before.fragment_size());
    assert_eq!(samples["berth_pool_ready"], 1.0);
    assert_eq!(samples["berth_pool_size_bytes"], bytes(before.blocks()));
    assert_eq!(samples["berth_pool_inodes"], number(before.files()));
    // Others write meanwhile.
    let between = |name: &str, before: f64, after: f64, slack: f64| {
        let (low, high) = (before.min(after) - slack, before.max(after) + slack);
        assert!(
            (low..=high).contains(&samples[name]),
            "{name}: {} is not in {low}..={high}",
            samples[name]
        );
    };
    let gib = number(1 << 30);
    let available = [&before, &after].map(|vfs| bytes(vfs.blocks_available()));
    between("berth_pool_available_bytes", available[0], available[1], gib);
    let inodes = [&before, &after].map(|vfs| number(vfs.files_available()));
    between("berth_pool_inodes_available", inodes[0], inodes[1], 100_000.0);
    assert!(samples["berth_pool_promisable_bytes"] <= samples["berth_pool_available_bytes"]);
}

#[tokio::test]
async fn what_may_be_promised_falls_by_what_is() {
    let fixture = Fixture::new();
    let size = statvfs(&fixture.pool()).unwrap();
    // All but 100 MiB is kept back: what others write to the disk meanwhile makes no difference.
    let reserve = size.blocks() * size.fragment_size() - (100 << 20);
    let flags = ["--init-pool", "--reserve", &reserve.to_string()];
    let agent = Agent::start_with(fixture.home.path(), &fixture.pool(), &flags).await;
    let mib = f64::from(1 << 20);
    assert_eq!(scrape(&agent)["berth_pool_promisable_bytes"], 100.0 * mib);
    make(&agent.clients().await, "a", 30 * MIB, &[]).await;
    assert_eq!(scrape(&agent)["berth_pool_promisable_bytes"], 70.0 * mib);
}

#[tokio::test]
async fn damaged_records_and_orphans_are_counted() {
    let fixture = Fixture::new();
    let (agent, clients) = fixture.start().await;
    let id = make(&clients, "damaged", MIB, &[]).await;
    make(&clients, "whole", MIB, &[]).await;
    assert!(agent.terminate().success());
    let records = fixture.pool().join(".berth/records");
    let record = records.join(format!("{id}.json"));
    let bytes = std::fs::read(&record).unwrap();
    std::fs::write(&record, &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(records.join("what is this"), "").unwrap();
    for (orphan, holds) in [("vol-orphan", true), ("vol-empty", false)] {
        let orphan = fixture.pool().join("volumes").join(orphan);
        std::fs::create_dir(&orphan).unwrap();
        if holds {
            std::fs::write(orphan.join("data"), "precious").unwrap();
        }
    }
    let (agent, _) = fixture.start().await;
    let samples = scrape(&agent);
    let found = ["berth_volumes", "berth_quarantined_records", "berth_orphans"].map(|name| samples[name]);
    assert_eq!(found, [1.0, 2.0, 1.0]);
}

#[tokio::test]
async fn calls_are_timed_by_method_and_code() {
    let fixture = Fixture::new();
    let (agent, clients) = fixture.start().await;
    for _ in 0..3 {
        make(&clients, "a", MIB, &[]).await;
    }
    let mut controller = clients.controller.clone();
    controller.create_volume(create("a", 2 * MIB)).await.unwrap_err();
    controller.create_volume(create("", MIB)).await.unwrap_err();
    controller.delete_volume(delete("pvc-unknown")).await.unwrap();
    let samples = scrape(&agent);
    let create = |code| calls(&samples, "csi.v1.Controller/CreateVolume", code);
    assert_eq!(
        (create("Ok"), create("AlreadyExists"), create("InvalidArgument")),
        (3.0, 1.0, 1.0)
    );
    assert_eq!(calls(&samples, "csi.v1.Controller/DeleteVolume", "Ok"), 1.0);
    let sum = samples[r#"berth_rpc_duration_seconds_sum{method="csi.v1.Controller/CreateVolume",code="Ok"}"#];
    assert!(sum > 0.0 && sum < 20.0, "{sum} s for three calls");
    // The harness itself asked until the agent was there.
    assert!(calls(&samples, "csi.v1.Identity/Probe", "Ok") >= 1.0);
}

#[tokio::test]
async fn methods_that_callers_invent_make_no_series() {
    let fixture = Fixture::new();
    let (agent, _) = fixture.start().await;
    let channel = raw::channel(&agent.socket()).await.unwrap();
    let before: Vec<_> = scrape(&agent).into_keys().collect();
    let mut invented = vec![
        "/".to_owned(),
        "/csi.v1.Controller".to_owned(),
        "/csi.v1.Controller/".to_owned(),
    ];
    for at in 0..50 {
        invented.push(format!("/csi.v1.Controller/CreateVolume{at}"));
        invented.push(format!("/evil.v{at}.Service/Method"));
    }
    // Served as far as a service knows them, but answered by none.
    invented.push("/csi.v1.Controller/CreateSnapshot".to_owned());
    for path in &invented {
        let status = raw::call(&channel, path).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unimplemented, "{path}: {status}");
    }
    let samples = scrape(&agent);
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let count = invented.len() as f64;
    assert_eq!(calls(&samples, "other", "Unimplemented"), count);
    let new = |series: &&String| !before.contains(series) && !series.contains("method=\"other\"");
    assert_eq!(samples.keys().find(new), None);
}

#[tokio::test]
async fn without_a_pool_the_figures_say_so() {
    let home = tempfile::tempdir().unwrap();
    let agent = Agent::start_with(home.path(), Path::new("/nonexistent/berth-pool"), &[]).await;
    let samples = scrape(&agent);
    assert_eq!(samples["berth_pool_ready"], 0.0);
}
