//! `berth demo`: the main job proven on the reader's own machine, without a cluster and without root.
//!
//! A real agent serves a throwaway pool over a real unix socket. Around it, a small orchestrator plays what
//! Kubernetes plays on a node: the StatefulSet controller (`cluster`), external-provisioner (`claim`) and the
//! kubelet (`kubelet`). The `script` says what happens; after each act, every claim has to have the path and
//! the bytes that it had.
//!
//! The demo knows the driver by its socket alone, like any other client.

mod agent;
mod capability;
mod claim;
mod cluster;
mod crash;
mod driver;
mod kubelet;
mod manifest;
mod mounts;
mod namespace;
mod play;
mod report;
mod scratch;
mod script;
mod tether;
mod tree;
mod verdict;
mod workload;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use manifest::StatefulSet;
use report::Report;
use scratch::Scratch;

/// The driver's name, which is part of the kubelet's paths.
const DRIVER: &str = "csi.berth.dev";
/// The StatefulSet to play with if the person names none.
const DEFAULT_MANIFEST: &str = include_str!("../../deploy/examples/mysql.yaml");
/// The class that the demo serves, and the cluster's default as far as the demo goes.
const CLASS: &str = "manual";
/// More pods would show the same, and take longer.
const MOST_REPLICAS: u64 = 9;

/// Shows on a throwaway pool that the pods of StatefulSets keep their volumes, path and bytes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Manifests with StatefulSets [default: a built-in MySQL]
    #[arg(value_name = "MANIFEST")]
    pub manifests: Vec<PathBuf>,
    /// Runs this binary with other arguments, bound to the life of its parent: how the demo starts its agent
    #[arg(last = true, hide = true)]
    pub tethered: Vec<OsString>,
}

/// Plays the life of StatefulSets on a throwaway pool; an error if one byte or path of their volumes changes.
///
/// To be called before the process has a second thread: namespaces are entered by whole processes only.
pub fn run(options: Options) -> Result<()> {
    if !options.tethered.is_empty() {
        return tether::exec(&options.tethered);
    }
    let report = Report::new();
    let sets = cast(&options, report)?;
    namespace::enter()?;
    let scratch = Scratch::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(play::perform(&scratch, &sets, report))?;
    if options.manifests.is_empty() {
        println!("Another StatefulSet: berth demo deploy/examples/redis.yaml");
    }
    Ok(())
}

/// The StatefulSets to play with.
fn cast(options: &Options, report: Report) -> Result<Vec<StatefulSet>> {
    let mut sets: Vec<StatefulSet> = Vec::new();
    if options.manifests.is_empty() {
        sets = manifest::parse("built-in manifest", DEFAULT_MANIFEST)?;
    }
    for path in &options.manifests {
        sets.extend(manifest::load(path)?);
    }
    let mut cast: Vec<StatefulSet> = Vec::new();
    for mut set in sets {
        let twice = cast
            .iter()
            .any(|other| (&other.namespace, &other.name) == (&set.namespace, &set.name));
        ensure!(
            !twice,
            "StatefulSet {} is there twice in namespace {}",
            set.name,
            set.namespace
        );
        introduce(&set, report);
        set.replicas = set.replicas.min(MOST_REPLICAS);
        cast.push(set);
    }
    Ok(cast)
}

/// Tells what a StatefulSet asks for, and where the demo takes liberties.
fn introduce(set: &StatefulSet, report: Report) {
    println!("StatefulSet {}, {} replicas", set.name, set.replicas);
    if set.replicas > MOST_REPLICAS {
        report.note(&format!("{MOST_REPLICAS} pods are enough to show it"));
    }
    for template in &set.templates {
        let paths = match template.mount_paths.as_slice() {
            [] => "not mounted by a container".to_owned(),
            paths => format!("mounted at {}", paths.join(", ")),
        };
        report.note(&format!("{} of {}, {paths}", template.size, template.name));
        if let Some(class) = template.class.as_deref().filter(|class| *class != CLASS) {
            report.note(&format!(
                "its storageClassName is {class}: on a cluster, Berth's is {CLASS}"
            ));
        }
    }
}
