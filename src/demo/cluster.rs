//! The StatefulSet controller's part: pods in order, each with its claims, which stay when the pod goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use uuid::Uuid;

use crate::proto::csi::Volume;

use super::agent::Agent;
use super::claim::{Claim, Inspection, Pending};
use super::driver::Driver;
use super::kubelet::Kubelet;
use super::manifest::StatefulSet;
use super::scratch::Scratch;
use super::tree::Tree;
use super::verdict::Verdict;
use super::workload::Workload;

/// A pod's place: its namespace, its StatefulSet and its ordinal.
type Identity = (String, String, u64);

/// One node with its agent, and the StatefulSets that run on it.
pub struct Cluster<'a> {
    scratch: &'a Scratch,
    /// The agent, which the play kills at will.
    pub agent: Agent,
    /// The connection to the agent that runs now.
    pub driver: Driver,
    /// The kubelet of the node.
    pub kubelet: Kubelet,
    /// Each pod's claims, in the order of the templates.
    claims: BTreeMap<Identity, Vec<Claim>>,
    /// The UID of each pod that runs.
    pods: BTreeMap<Identity, String>,
    /// How long each CreateVolume took.
    create_times: Vec<Duration>,
}

impl<'a> Cluster<'a> {
    /// Starts the agent on an empty pool.
    pub async fn start(scratch: &'a Scratch) -> Result<Self> {
        let mut agent = Agent::new(scratch);
        let started = agent.start().await;
        let driver = started.with_context(|| format!("the agent's last words:\n{}", agent.last_words()))?;
        Ok(Self {
            scratch,
            agent,
            driver,
            kubelet: Kubelet::new(scratch.kubelet()),
            claims: BTreeMap::new(),
            pods: BTreeMap::new(),
            create_times: Vec::new(),
        })
    }

    /// Scales a StatefulSet: up from the lowest ordinal, down from the highest.
    pub async fn scale(&mut self, set: &StatefulSet, replicas: u64) -> Result<()> {
        for ordinal in 0..replicas {
            self.ensure_pod(set, ordinal).await?;
        }
        let running: Vec<_> = self.ordinals(set).filter(|ordinal| *ordinal >= replicas).collect();
        for ordinal in running.into_iter().rev() {
            self.delete_pod(set, ordinal).await?;
        }
        Ok(())
    }

    /// Starts a pod that doesn't run; its claims are made when it has none yet.
    pub async fn ensure_pod(&mut self, set: &StatefulSet, ordinal: u64) -> Result<()> {
        let identity = identity(set, ordinal);
        if self.pods.contains_key(&identity) {
            return Ok(());
        }
        self.ensure_claims(set, ordinal).await?;
        let uid = Uuid::new_v4().to_string();
        self.pods.insert(identity.clone(), uid.clone());
        for claim in self.claims.entry(identity).or_default() {
            let target = self.kubelet.mount(&self.driver, claim, &uid).await?;
            // A pod that comes back finds its files and leaves them as they are; were they gone, none would be new.
            if claim.before.tree == Tree::default() {
                workload(claim).fill(&target, &mut claim.before.tree)?;
            }
        }
        Ok(())
    }

    /// Deletes a pod and keeps its claims.
    pub async fn delete_pod(&mut self, set: &StatefulSet, ordinal: u64) -> Result<()> {
        let identity = identity(set, ordinal);
        let uid = self.pods.get(&identity).context("the pod runs")?;
        for claim in self.claims.get(&identity).into_iter().flatten() {
            self.kubelet.unmount(&self.driver, claim, uid).await?;
        }
        self.kubelet.forget(uid)?;
        self.pods.remove(&identity);
        Ok(())
    }

    /// The claim of the first template of a pod that runs, and the pod's UID.
    pub fn first_claim(&mut self, set: &StatefulSet, ordinal: u64) -> Result<(&mut Claim, String)> {
        let identity = identity(set, ordinal);
        let uid = self.pods.get(&identity).context("the pod runs")?.clone();
        let claims = self.claims.get_mut(&identity).into_iter().flatten();
        Ok((claims.into_iter().next().context("the pod has a claim")?, uid))
    }

    /// The next claim that a pod lacks, for its first template without one.
    pub fn next_claim(&self, set: &StatefulSet, ordinal: u64) -> Option<Pending> {
        let made = self.claims.get(&identity(set, ordinal)).map_or(0, Vec::len);
        set.templates
            .get(made)
            .map(|template| Pending::new(set, template, ordinal))
    }

    /// Binds a claim to its volume.
    pub fn bind(&mut self, set: &StatefulSet, ordinal: u64, claim: Pending, volume: Volume) -> Result<()> {
        let claim = claim.bind(volume, &self.scratch.pool())?;
        self.claims.entry(identity(set, ordinal)).or_default().push(claim);
        Ok(())
    }

    async fn ensure_claims(&mut self, set: &StatefulSet, ordinal: u64) -> Result<()> {
        while let Some(claim) = self.next_claim(set, ordinal) {
            let started = Instant::now();
            let volume = self.driver.create(&claim.request(&self.driver)).await?;
            self.create_times.push(started.elapsed());
            self.bind(set, ordinal, claim, volume)?;
        }
        Ok(())
    }

    /// How long a CreateVolume takes here, as the median of those made so far.
    pub fn usual_create_time(&self) -> Duration {
        let mut times = self.create_times.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    /// Compares every claim with what it was.
    pub fn inspect(&self) -> Vec<Inspection> {
        let pool = self.scratch.pool();
        self.claims
            .values()
            .flatten()
            .map(|claim| claim.inspect(&pool))
            .collect()
    }

    /// Fails unless every claim is what it was and the pool holds their volumes and no other.
    pub async fn verify(&self) -> Result<usize> {
        let inspections = self.inspect();
        if let Some(bad) = inspections
            .iter()
            .find(|inspection| inspection.verdict != Verdict::Same)
        {
            anyhow::bail!("{}: {}", bad.claim, bad.verdict);
        }
        let expected: BTreeSet<_> = self.volume_ids().collect();
        let listed: BTreeSet<_> = self.driver.list().await?.into_iter().collect();
        ensure!(
            listed == expected,
            "ListVolumes tells {listed:?}, the claims have {expected:?}"
        );
        let volumes = self.scratch.pool().join("volumes");
        let found = std::fs::read_dir(&volumes)
            .and_then(|items| {
                items
                    .map(|item| Ok(item?.file_name().to_string_lossy().into_owned()))
                    .collect()
            })
            .with_context(|| format!("read {}", volumes.display()))?;
        let found: BTreeSet<String> = found;
        ensure!(
            found == expected,
            "{} holds {found:?}, the claims have {expected:?}",
            volumes.display()
        );
        Ok(inspections.len())
    }

    /// Deletes every pod, then every volume, and ends the agent.
    ///
    /// Removing the directory alone would leave the volumes' limits behind in the file system's quota tables.
    pub async fn clean_up(&mut self, sets: &[StatefulSet]) -> Result<()> {
        for set in sets {
            self.scale(set, 0).await?;
        }
        for volume_id in self.volume_ids() {
            self.driver.delete(&volume_id).await?;
        }
        self.claims.clear();
        self.verify().await?;
        self.agent.stop().await
    }

    fn volume_ids(&self) -> impl Iterator<Item = String> {
        self.claims
            .values()
            .flatten()
            .map(|claim| claim.volume.volume_id.clone())
    }

    fn ordinals(&self, set: &StatefulSet) -> impl Iterator<Item = u64> {
        let all = identity(set, 0)..=identity(set, u64::MAX);
        self.pods.range(all).map(|((_, _, ordinal), _)| *ordinal)
    }
}

/// What the pod does with the volume of this claim.
pub fn workload(claim: &Claim) -> Workload {
    Workload::new(&claim.title(), claim.volume.capacity_bytes)
}

fn identity(set: &StatefulSet, ordinal: u64) -> Identity {
    (set.namespace.clone(), set.name.clone(), ordinal)
}
