//! StatefulSets: what they do in which order, and what their pods come back to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::pods::{is_ready, node_of};
use super::{Home, Scene, given};
use crate::manifest::Manifest;

/// A server that starts on a machine with much else to do takes its time.
const SETTLED: Duration = Duration::from_secs(300);

/// A StatefulSet, and the pods of it that were seen last.
pub struct Set<'a> {
    pub name: String,
    labels: ListParams,
    scene: &'a Scene,
    known: RefCell<BTreeMap<String, String>>,
}

impl Scene {
    /// Applies manifests, one of which is a StatefulSet, and waits until all its pods are ready.
    pub async fn start_set(&self, manifests: &[Manifest]) -> Result<Set<'_>> {
        let set = manifests
            .iter()
            .find(|manifest| manifest.kind() == "StatefulSet")
            .context("no StatefulSet")?;
        let set = Set {
            name: set.value()["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            labels: ListParams::default().labels(&selector(set)),
            scene: self,
            known: RefCell::default(),
        };
        for manifest in manifests {
            self.apply(manifest).await?;
        }
        let order = set.settled().await?;
        self.saw(format!("{} started: {order}", set.name));
        for pod in set.pods() {
            for home in set.homes(&pod).await? {
                self.saw(format!("{pod} has {home}"));
            }
        }
        Ok(set)
    }
}

impl Set<'_> {
    pub fn pods(&self) -> Vec<String> {
        self.known.borrow().keys().cloned().collect()
    }

    /// `kubectl scale`; returns what came and went, in order.
    pub async fn scale(&self, replicas: usize) -> Result<String> {
        self.change(json!({ "spec": { "replicas": replicas } })).await
    }

    /// Patches the set; returns what came and went, in order, until it is all as it should be.
    pub async fn change(&self, patch: Value) -> Result<String> {
        let sets = self.scene.objects::<StatefulSet>();
        sets.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        self.settled().await
    }

    /// Where the volumes of a pod are, in the order of the set's templates. They are on the pod's node.
    pub async fn homes(&self, pod: &str) -> Result<Vec<Home>> {
        let node = node_of(&self.scene.pod(pod).await?)?;
        let mut homes = Vec::new();
        for template in self.templates().await? {
            let home = self.scene.home(&format!("{template}-{pod}")).await?;
            ensure!(home.node == node, "{pod} is on {node}, and its volume at {home}");
            homes.push(home);
        }
        Ok(homes)
    }

    /// Deletes a pod: the set makes another of that name, and it has to find the same volumes on the same node.
    pub async fn comes_back(&self, pod: &str) -> Result<()> {
        let homes = self.homes(pod).await?;
        self.scene
            .objects::<Pod>()
            .delete(pod, &DeleteParams::default())
            .await?;
        let order = self.settled().await?;
        ensure!(
            order == format!("-{pod} +{pod}"),
            "{pod} was deleted, and what came of it was {order}"
        );
        ensure!(self.homes(pod).await? == homes, "{pod} came back to other volumes");
        for home in homes {
            self.scene.saw(format!("{pod} was deleted and is back at {home}"));
        }
        Ok(())
    }

    async fn templates(&self) -> Result<Vec<String>> {
        let spec = given(self.scene.objects::<StatefulSet>().get(&self.name).await?.spec, "spec")?;
        Ok(spec
            .volume_claim_templates
            .iter()
            .flatten()
            .map(ResourceExt::name_any)
            .collect())
    }

    /// Watches the set until it is all as it should be, and that it never works on two pods at the same time, unless it
    /// is told to. Returns what came (+) and went (-).
    pub async fn settled(&self) -> Result<String> {
        let mut seen = Vec::new();
        let deadline = tokio::time::Instant::now() + SETTLED;
        loop {
            let (settled, one_by_one) = self.state().await?;
            let pods = self.scene.objects::<Pod>().list(&self.labels).await?.items;
            self.compare(&pods, &mut seen);
            let busy: Vec<_> = pods
                .iter()
                .filter(|pod| !is_ready(pod))
                .map(ResourceExt::name_any)
                .collect();
            if one_by_one && busy.len() > 1 {
                bail!(
                    "{} are not ready at the same time; until then: {}",
                    busy.join(" and "),
                    seen.join(" ")
                );
            }
            if settled && busy.is_empty() {
                return Ok(seen.join(" "));
            }
            if tokio::time::Instant::now() > deadline {
                bail!(
                    "{} did not settle: waiting for {}; until then: {}",
                    self.name,
                    busy.join(", "),
                    seen.join(" ")
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether its controller has nothing to do, and whether it does one thing at a time.
    async fn state(&self) -> Result<(bool, bool)> {
        let set = self.scene.objects::<StatefulSet>().get(&self.name).await?;
        let (spec, status) = (given(set.spec, "spec")?, given(set.status, "status")?);
        let wanted = spec.replicas;
        let current =
            status.observed_generation == set.metadata.generation && status.current_revision == status.update_revision;
        let complete = Some(status.replicas) == wanted && status.ready_replicas == wanted;
        let one_by_one = spec.pod_management_policy.as_deref() != Some("Parallel");
        Ok((current && complete, one_by_one))
    }

    fn compare(&self, pods: &[Pod], seen: &mut Vec<String>) {
        let now: BTreeMap<_, _> = pods
            .iter()
            .map(|pod| (pod.name_any(), pod.uid().unwrap_or_default()))
            .collect();
        let mut known = self.known.borrow_mut();
        for (name, uid) in known.iter().rev() {
            if now.get(name) != Some(uid) {
                seen.push(format!("-{name}"));
            }
        }
        for (name, uid) in &now {
            if known.get(name) != Some(uid) {
                seen.push(format!("+{name}"));
            }
        }
        *known = now;
    }
}

fn selector(set: &Manifest) -> String {
    let labels = set.value()["spec"]["selector"]["matchLabels"].as_object();
    let text = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    labels.into_iter().flatten().map(text).collect::<Vec<_>>().join(",")
}
