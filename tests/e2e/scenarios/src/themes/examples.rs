//! `deploy/examples/`: each server starts as its example says, stores something, and gives it back after its pod was deleted.

use anyhow::{Result, ensure};

use crate::clients;
use crate::cluster;
use crate::manifest::{self, Manifest};
use crate::scenario::{Scenario, scenario};
use crate::scene::{SOON, Scene, Set, until};

pub const ALL: &[Scenario] = &[
    scenario!(cassandra, Java, "a Cassandra ring keeps its members and their rows"),
    scenario!(kafka, Java, "a Kafka cluster keeps its log"),
    scenario!(
        zookeeper,
        Java,
        "a ZooKeeper ensemble with two volumes a server keeps its tree"
    ),
    scenario!(mysql, Servers, "MySQL (MariaDB in its place) keeps its tables"),
    scenario!(postgresql, Servers, "PostgreSQL keeps its tables"),
    scenario!(mongodb, Servers, "MongoDB (FerretDB in its place) keeps its documents"),
    scenario!(redis, Servers, "Redis keeps what it saved"),
    scenario!(nginx, Servers, "nginx, whose claims name no class, keeps its pages"),
];

/// The servers of an example, started in order, with claims of the class `manual`.
async fn start<'a>(s: &'a Scene, name: &str) -> Result<Set<'a>> {
    let manifests = manifest::example(name)?;
    start_as(s, name, &manifests).await
}

async fn start_as<'a>(s: &'a Scene, name: &str, manifests: &[Manifest]) -> Result<Set<'a>> {
    cluster::command(&["workload", name]).await?;
    let set = s.start_set(manifests).await?;
    for claim in s.claims().await? {
        ensure!(claim.class == "manual", "{} has the class {}", claim.name, claim.class);
    }
    Ok(set)
}

async fn cassandra(s: &Scene) -> Result<()> {
    const ROWS: std::ops::RangeInclusive<u32> = 1..=20;
    // The third member brings nothing new, and takes the longest to join.
    let smaller = |one: Manifest| {
        if one.kind() == "StatefulSet" {
            one.set("/spec/replicas", 2)
        } else {
            one
        }
    };
    let manifests: Vec<_> = manifest::example("cassandra")?.into_iter().map(smaller).collect();
    let set = start_as(s, "cassandra", &manifests).await?;
    let member = "nodetool info | sed -n 's/^ID *: //p'";
    let before = s.sh("cassandra-1", member).await?;
    let host = s.address("cassandra-1").await?;
    // Each row has one owner: the returned member's own are among those that are asked for.
    for statement in [
        "CREATE KEYSPACE berth WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
        "CREATE TABLE berth.kept (id int PRIMARY KEY, text text)",
    ] {
        clients::cassandra(&host, statement).await?;
    }
    for id in ROWS {
        let insert = format!("INSERT INTO berth.kept (id, text) VALUES ({id}, 'row {id} is kept')");
        // The other member may have heard of the table a moment later.
        until("storing a row", SOON, async || clients::cassandra(&host, &insert).await).await?;
    }
    set.comes_back("cassandra-1").await?;
    let host = s.address("cassandra-1").await?;
    // One that has just started answers for the members that it knows already.
    let found = until("reading all rows", SOON, async || {
        let rows = clients::cassandra(&host, "SELECT text FROM berth.kept").await?;
        let found = ROWS.filter(|id| rows.contains(&format!("row {id} is kept"))).count();
        ensure!(found == ROWS.count(), "it has {found} rows");
        Ok(found)
    })
    .await?;
    s.same("rows of the table", found, ROWS.count())?;
    s.same("member of the ring", s.sh("cassandra-1", member).await?, before)
}

async fn kafka(s: &Scene) -> Result<()> {
    let set = start(s, "kafka").await?;
    let tool = "/opt/kafka/bin/kafka";
    let topic = "--bootstrap-server kafka:9092 --topic berth";
    s.sh(
        "kafka-0",
        &format!("{tool}-topics.sh {topic} --create --partitions 1 --replication-factor 3"),
    )
    .await?;
    s.sh("kafka-0", &format!("echo stored | {tool}-console-producer.sh {topic}"))
        .await?;
    set.comes_back("kafka-0").await?;
    let read = format!("{tool}-console-consumer.sh {topic} --from-beginning --max-messages 1 --timeout-ms 60000");
    s.same("the first message", s.sh("kafka-0", &read).await?.as_str(), "stored")?;
    let log = "ls /var/lib/kafka/data/berth-0/*.log | wc -l";
    s.same(
        "log segments of the topic in kafka-0's volume",
        s.sh("kafka-0", log).await?.as_str(),
        "1",
    )
}

async fn zookeeper(s: &Scene) -> Result<()> {
    let set = start(s, "zookeeper").await?;
    // A server listens before it has found the others.
    until("storing", SOON, async || {
        s.sh("zookeeper-1", "zkCli.sh create /berth here").await
    })
    .await?;
    set.comes_back("zookeeper-1").await?;
    let tree = until("reading", SOON, async || {
        s.sh("zookeeper-1", "zkCli.sh get /berth").await
    })
    .await?;
    s.says(
        "/berth",
        tree.lines().find(|line| *line == "here").unwrap_or(&tree),
        "here",
    )
}

async fn mysql(s: &Scene) -> Result<()> {
    let set = start(s, "mysql").await?;
    let sql = |sql: &str| format!("mariadb -uroot -prootpassword --skip-column-names -e \"{sql}\"");
    s.sh(
        "mysql-0",
        &sql("create database berth; create table berth.t (n int); insert into berth.t values (17), (25)"),
    )
    .await?;
    set.comes_back("mysql-0").await?;
    let sum = s.sh("mysql-0", &sql("select sum(n) from berth.t")).await?;
    s.same("the sum of the rows", sum.as_str(), "42")
}

async fn postgresql(s: &Scene) -> Result<()> {
    let set = start(s, "postgresql").await?;
    let sql = |sql: &str| format!("/usr/lib/postgresql/15/bin/psql -U postgres -qtAc '{sql}'");
    s.sh(
        "postgresql-0",
        &sql("create table berth (n int); insert into berth values (17), (25)"),
    )
    .await?;
    set.comes_back("postgresql-0").await?;
    let sum = s.sh("postgresql-0", &sql("select sum(n) from berth")).await?;
    s.same("the sum of the rows", sum.as_str(), "42")
}

async fn mongodb(s: &Scene) -> Result<()> {
    let set = start(s, "mongodb").await?;
    clients::mongodb_insert(&s.address("mongodb-0").await?, "a document that is kept").await?;
    set.comes_back("mongodb-0").await?;
    clients::mongodb_find(&s.address("mongodb-0").await?, "a document that is kept").await?;
    s.saw("it has the document");
    Ok(())
}

async fn redis(s: &Scene) -> Result<()> {
    let set = start(s, "redis").await?;
    s.sh("redis-0", "redis-cli set berth here && redis-cli save").await?;
    set.comes_back("redis-0").await?;
    s.same("berth", s.sh("redis-0", "redis-cli get berth").await?.as_str(), "here")
}

async fn nginx(s: &Scene) -> Result<()> {
    s.make_manual_the_default_class().await?;
    let set = start(s, "nginx").await?;
    let pod = "nginx-statefulset-0";
    s.sh(pod, "echo \"Hello from $HOSTNAME\" >/usr/share/nginx/html/index.html")
        .await?;
    set.comes_back(pod).await?;
    let page = s.sh(pod, "curl -s localhost").await?;
    s.same("its page", page.as_str(), "Hello from nginx-statefulset-0")
}
