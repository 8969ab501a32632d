//! What pods may ask of a volume.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::cluster;
use crate::manifest;
use crate::scenario::{Scenario, scenario};
use crate::scene::{SOON, Scene, until};

pub const ALL: &[Scenario] = &[
    scenario!(
        fs_group,
        Light,
        "fsGroup: an ordinary user of that group can write, and files belong to the group"
    ),
    scenario!(
        run_as_user,
        Light,
        "runAsUser: a class whose volumes belong to that user lets it in, others do not"
    ),
    scenario!(
        sub_path,
        Light,
        "subPath: two containers have a folder each of one volume"
    ),
    scenario!(
        read_only,
        Light,
        "readOnly: what is there can be read, and nothing can be written"
    ),
    scenario!(ephemeral, Light, "generic ephemeral volumes come and go with their pod"),
    scenario!(ten_claims, Light, "a pod mounts ten claims"),
];

async fn fs_group(s: &Scene) -> Result<()> {
    s.apply(&manifest::claim("data", "1Gi")).await?;
    let user = manifest::pod("user", &["data"], "echo mine >/data/file").set(
        "/spec/securityContext",
        json!({ "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000 }),
    );
    s.start(&user).await?;
    s.same(
        "who it is",
        s.sh("user", "id -u; id -G").await?.as_str(),
        "1000\n1000 2000",
    )?;
    s.same(
        "group and mode of the volume",
        s.sh("user", "stat -c '%g %a' /data").await?.as_str(),
        "2000 2770",
    )?;
    s.same(
        "owner and group of its file",
        s.sh("user", "stat -c '%u %g' /data/file").await?.as_str(),
        "1000 2000",
    )
}

async fn run_as_user(s: &Scene) -> Result<()> {
    let class = format!("{}-class", s.namespace);
    let owner = json!({ "berth.dev/uid": "1000", "berth.dev/gid": "1000", "berth.dev/mode": "0700" });
    s.apply(&manifest::deleting_class(&class).set("/parameters", owner))
        .await?;
    s.apply(&manifest::claim("own", "1Gi").set("/spec/storageClassName", class.as_str()))
        .await?;
    s.apply(&manifest::claim("roots", "1Gi")).await?;
    let user = manifest::pod("user", &["own", "roots"], "true").set(
        "/spec/securityContext",
        json!({ "runAsUser": 1000, "runAsGroup": 1000 }),
    );
    s.start(&user).await?;
    s.same(
        "owner and mode of its own",
        s.sh("user", "stat -c '%u %g %a' /own").await?.as_str(),
        "1000 1000 700",
    )?;
    s.same(
        "it can write",
        s.sh("user", "echo mine >/own/file && cat /own/file").await?.as_str(),
        "mine",
    )?;
    s.same(
        "owner and mode of manual's",
        s.sh("user", "stat -c '%u %g %a' /roots").await?.as_str(),
        "0 0 770",
    )?;
    let refused = s.ask("user", "echo mine >/roots/file").await?.if_failed()?;
    s.says("writing there", &refused, "Permission denied")
}

async fn sub_path(s: &Scene) -> Result<()> {
    s.apply(&manifest::claim("data", "1Gi")).await?;
    let one = manifest::pod("both", &["data"], "echo one >/data/file");
    let mut two = one.value()["spec"]["containers"][0].clone();
    two["name"] = "second".into();
    two["lifecycle"]["postStart"]["exec"]["command"][2] = "echo two >/data/file".into();
    two["volumeMounts"][0]["subPath"] = "b".into();
    let containers = json!([
        one.clone()
            .set("/spec/containers/0/volumeMounts/0/subPath", "a")
            .value()["spec"]["containers"][0],
        two
    ]);
    s.start(&one.set("/spec/containers", containers)).await?;
    let home = s.home("data").await?;
    s.saw(&home);
    let found = cluster::on_node(&home.node, &format!("cd {} && grep -r . | sort", home.path)).await?;
    s.same("the files in it", found.as_str(), "a/file:one\nb/file:two")
}

async fn read_only(s: &Scene) -> Result<()> {
    s.apply(&manifest::claim("data", "1Gi")).await?;
    let writer = s
        .start(&manifest::pod("writer", &["data"], "echo here >/data/file"))
        .await?;
    // Of the mount in the container, and of the volume in the pod.
    for (pod, pointer) in [
        ("mount", "/spec/containers/0/volumeMounts/0/readOnly"),
        ("volume", "/spec/volumes/0/persistentVolumeClaim/readOnly"),
    ] {
        let reader = s
            .start(&manifest::pod(pod, &["data"], "true").set(pointer, true))
            .await?;
        s.same(format!("readOnly of the {pod}: the pod is on"), &reader, &writer)?;
        s.same("it reads", s.sh(pod, "cat /data/file").await?.as_str(), "here")?;
        let refused = s.ask(pod, "echo more >>/data/file").await?.if_failed()?;
        s.says("writing", &refused, "Read-only file system")?;
    }
    s.sh("writer", "echo more >>/data/file").await?;
    s.same(
        "the writer still can",
        s.sh("volume", "cat /data/file").await?.as_str(),
        "here\nmore",
    )
}

async fn ephemeral(s: &Scene) -> Result<()> {
    let class = format!("{}-class", s.namespace);
    s.apply(&manifest::deleting_class(&class)).await?;
    let mut template = manifest::claim("scratch", "1Gi")
        .set("/spec/storageClassName", class)
        .value()
        .clone();
    let volume =
        json!({ "name": "scratch", "ephemeral": { "volumeClaimTemplate": { "spec": template["spec"].take() } } });
    let user = manifest::pod("user", &["scratch"], "echo here >/scratch/file").set("/spec/volumes/0", volume);
    s.start(&user).await?;
    let home = s.home("user-scratch").await?;
    s.saw(format!("the pod's own claim user-scratch is at {home}"));
    s.same(
        "its file",
        cluster::on_node(&home.node, &format!("cat {}/file", home.path))
            .await?
            .as_str(),
        "here",
    )?;
    s.delete_pod("user").await?;
    s.volume_phase(&home.volume, None).await?;
    s.same("claims when the pod is gone", s.claims().await?.len(), 0)?;
    until("the end of the data", SOON, async || {
        let found = cluster::on_node(&home.node, &format!("find /mnt/data -name '{}*'", home.volume)).await?;
        ensure!(found.is_empty(), "there is {found}");
        Ok(())
    })
    .await?;
    s.saw("nothing of it is left in the pool");
    Ok(())
}

async fn ten_claims(s: &Scene) -> Result<()> {
    let names: Vec<_> = (0..10).map(|number| format!("data-{number}")).collect();
    for name in &names {
        s.apply(&manifest::claim(name, "1Gi")).await?;
    }
    let claims: Vec<_> = names.iter().map(String::as_str).collect();
    let node = s
        .start(&manifest::pod(
            "user",
            &claims,
            "for n in /data-*; do echo $n >$n/name; done",
        ))
        .await?;
    for name in &names {
        let home = s.home(name).await?;
        ensure!(home.node == node, "the pod is on {node}, and its volume at {home}");
        let written = cluster::on_node(&node, &format!("cat {}/name", home.path)).await?;
        s.same(format!("what is at {home}"), written, format!("/{name}"))?;
    }
    Ok(())
}
