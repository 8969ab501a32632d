//! What StatefulSets promise their pods: order, names, and the volumes that go with the names.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::clients;
use crate::cluster;
use crate::manifest::{self, Manifest};
use crate::scenario::{Scenario, scenario};
use crate::scene::{Home, SOON, Scene, Set, until};

pub const ALL: &[Scenario] = &[
    scenario!(
        rolling_update,
        Servers,
        "a rolling update goes one by one, and loses nothing of what a client was told is stored"
    ),
    scenario!(
        scaled_3_5_2_5,
        Light,
        "scaling: the highest go first, claims stay, and who returns finds the old data"
    ),
    scenario!(
        pod_deleted,
        Light,
        "a deleted pod is back on the same node, at the same path, with the same bytes"
    ),
    scenario!(
        no_class,
        Whole,
        "claims that name no class wait, until the overlay makes manual the default class"
    ),
    scenario!(
        early_provisioning,
        Whole,
        "with the component of that name a claim knows its provisioner from the start, and that it is complete and that it is \
         bound is written at once"
    ),
];

/// Where the data of each pod is, and its checksum, read on the node.
async fn contents(set: &Set<'_>) -> Result<BTreeMap<String, String>> {
    let mut contents = BTreeMap::new();
    for pod in set.pods() {
        for home in set.homes(&pod).await? {
            contents.insert(pod.clone(), describe(&home).await?);
        }
    }
    Ok(contents)
}

async fn describe(home: &Home) -> Result<String> {
    Ok(format!("{home} {}", home.sum("bytes").await?))
}

async fn pod_deleted(s: &Scene) -> Result<()> {
    let set = s.start_set(&[manifest::set("deleted", 3)]).await?;
    s.same(
        "the order",
        set.pods().join(" ").as_str(),
        "deleted-0 deleted-1 deleted-2",
    )?;
    let before = contents(&set).await?;
    for pod in set.pods() {
        set.comes_back(&pod).await?;
        s.same(
            format!("starts that {pod} wrote down"),
            s.sh(&pod, "cat /data/starts").await?,
            format!("{pod}\n{pod}"),
        )?;
    }
    for (pod, content) in contents(&set).await? {
        s.same(format!("the bytes of {pod}"), &content, &before[&pod])?;
    }
    // The link for people leads to the same place.
    let home = &set.homes("deleted-0").await?[0];
    let link = cluster::on_node(
        &home.node,
        &format!("readlink -f /mnt/data/by-claim/{}/data-deleted-0", s.namespace),
    )
    .await?;
    s.same("the link by claim", link, home.path.clone())
}

async fn scaled_3_5_2_5(s: &Scene) -> Result<()> {
    let set = s.start_set(&[manifest::set("scaled", 3)]).await?;
    s.same("3 to 5", set.scale(5).await?.as_str(), "+scaled-3 +scaled-4")?;
    let before = contents(&set).await?;
    s.same("5 to 2", set.scale(2).await?.as_str(), "-scaled-4 -scaled-3 -scaled-2")?;
    let claims: Vec<_> = s
        .claims()
        .await?
        .into_iter()
        .map(|claim| format!("{} {}", claim.name, claim.phase))
        .collect();
    let kept = [0, 1, 2, 3, 4].map(|n| format!("data-scaled-{n} Bound")).join(", ");
    s.same("claims", claims.join(", "), kept)?;
    s.same("2 to 5", set.scale(5).await?.as_str(), "+scaled-2 +scaled-3 +scaled-4")?;
    for (pod, content) in contents(&set).await? {
        s.same(format!("the bytes of {pod}"), &content, &before[&pod])?;
    }
    Ok(())
}

/// Redis as its example has it, but told to write each change to its disk before it answers.
async fn rolling_update(s: &Scene) -> Result<()> {
    cluster::command(&["workload", "redis"]).await?;
    let durable = |one: manifest::Manifest| match one.kind() {
        "StatefulSet" => one.set(
            "/spec/template/spec/containers/0/args",
            json!(["--appendonly", "yes", "--appendfsync", "always"]),
        ),
        _ => one,
    };
    let example: Vec<_> = manifest::example("redis")?.into_iter().map(durable).collect();
    let set = s.start_set(&example).await?;
    let done = Cell::new(false);
    let write = async {
        let mut acknowledged = BTreeMap::new();
        let mut refused = 0;
        for number in 0_u32.. {
            for pod in set.pods() {
                // A server that is being replaced does not answer; only what it acknowledged counts.
                match write_one(s, &pod, number).await {
                    Ok(()) => drop(acknowledged.insert(pod, number)),
                    Err(_) => refused += 1,
                }
            }
            if done.get() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (acknowledged, refused)
    };
    let update = async {
        let template = json!({ "metadata": { "annotations": { "version": "2" } } });
        let order = set.change(json!({ "spec": { "template": template } })).await;
        done.set(true);
        order
    };
    let ((acknowledged, refused), order) = tokio::join!(write, update);
    s.same(
        "the update",
        order?.as_str(),
        "-redis-2 +redis-2 -redis-1 +redis-1 -redis-0 +redis-0",
    )?;
    s.saw(format!(
        "{refused} writes were not acknowledged, while the server was being replaced"
    ));
    ensure!(acknowledged.len() == 3, "not every server acknowledged a write");
    for (pod, number) in acknowledged {
        let stored = clients::redis(&s.address(&pod).await?, "get number").await?;
        s.same(
            format!("the last number that {pod} acknowledged"),
            stored,
            number.to_string(),
        )?;
    }
    Ok(())
}

async fn write_one(s: &Scene, pod: &str, number: u32) -> Result<()> {
    // A pod that is gone does not even refuse.
    let set = format!("set number {number}");
    let answer =
        tokio::time::timeout(Duration::from_millis(500), clients::redis(&s.address(pod).await?, &set)).await??;
    ensure!(answer == "+OK", "{answer}");
    Ok(())
}

async fn no_class(s: &Scene) -> Result<()> {
    let mark = json!({ "metadata": { "annotations": { "storageclass.kubernetes.io/is-default-class": null } } });
    s.all::<StorageClass>()
        .patch("manual", &PatchParams::default(), &Patch::Merge(mark))
        .await?;
    let claim = manifest::claim("plain", "1Gi").without("/spec/storageClassName");
    s.apply(&claim).await?;
    s.apply(&manifest::pod("user", &["plain"], "echo here >/plain/file"))
        .await?;
    s.event("plain", "no persistent volumes available").await?;
    s.same(
        "without a default class the claim is",
        s.claim_phase("plain").await?.as_str(),
        "Pending",
    )?;
    s.make_manual_the_default_class().await?;
    s.pod_ready("user").await?;
    s.same("with it, the claim is", s.claim_phase("plain").await?.as_str(), "Bound")?;
    let home = s.home("plain").await?;
    let set = manifest::set("classless", 2).without("/spec/volumeClaimTemplates/0/spec/storageClassName");
    let set = s.start_set(&[set]).await?;
    set.comes_back("classless-0").await?;
    let classes: Vec<_> = s.claims().await?.into_iter().map(|claim| claim.class).collect();
    s.same(
        "the classes of all claims",
        classes.join(" ").as_str(),
        "manual manual manual",
    )?;
    s.same(
        "the file",
        cluster::on_node(&home.node, &format!("cat {}/file", home.path))
            .await?
            .as_str(),
        "here",
    )
}

const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// What the scheduler waits for before it gives a pod its node.
const COMPLETE: &str = "pv.kubernetes.io/bind-completed";

async fn early_provisioning(s: &Scene) -> Result<()> {
    // The first of the two comes last, and once it acts the other does.
    let policies = manifest::deployed("components/early-provisioning/policy.yaml")?;
    for policy in policies.iter().rev() {
        s.apply(policy).await?;
    }
    let claims = s.objects::<PersistentVolumeClaim>();
    let would_be_made = async |claim: &Manifest| -> Result<PersistentVolumeClaim> {
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        Ok(claims
            .create(&dry_run, &serde_json::from_value(claim.value().clone())?)
            .await?)
    };
    let claim = manifest::claim("claim", "1Mi");
    until("the policy", SOON, async || {
        let made = would_be_made(&claim).await?;
        let provisioner = made.annotations().get(PROVISIONER);
        ensure!(
            provisioner.is_some_and(|name| name == "csi.berth.dev"),
            "not yet: {:?}",
            made.annotations()
        );
        Ok(())
    })
    .await?;
    let of_another = claim.set("/spec/storageClassName", "another");
    let made = would_be_made(&of_another).await?;
    ensure!(made.annotations().is_empty(), "another class: {:?}", made.annotations());

    let (halfway, wrong) = (Cell::new(0), RefCell::new(Vec::new()));
    // All the time: a claim is halfway for a twentieth of a second.
    let look = async || -> Result<()> {
        loop {
            for claim in claims.list(&ListParams::default()).await? {
                let named = claim.spec.as_ref().is_some_and(|spec| spec.volume_name.is_some());
                let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
                if bound != claim.annotations().contains_key(COMPLETE) {
                    wrong
                        .borrow_mut()
                        .push(format!("{} (bound: {bound})", claim.name_any()));
                }
                halfway.set(halfway.get() + usize::from(named && !bound));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let sets = [manifest::set("many", 16).set("/spec/podManagementPolicy", "Parallel")];
    let set = tokio::select! {
        set = s.start_set(&sets) => set?,
        failed = look() => return failed,
    };
    let wrong = wrong.take();
    ensure!(
        wrong.is_empty(),
        "bound or complete, and not both: {}",
        wrong.join(", ")
    );
    s.saw(format!(
        "claims seen with a volume and not bound yet: {}",
        halfway.get()
    ));
    for claim in claims.list(&ListParams::default()).await? {
        let complete = claim.annotations().get(COMPLETE).map(String::as_str);
        ensure!(
            complete == Some("yes"),
            "{}: {:?}",
            claim.name_any(),
            claim.annotations()
        );
    }
    s.same("pods", set.pods().len(), 16)
}
