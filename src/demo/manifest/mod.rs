//! StatefulSets out of YAML manifests, as far as their storage goes.
//!
//! The rest of a manifest is the API server's business and isn't looked at.

mod field;
mod quantity;

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use field::Field;

/// A StatefulSet's storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatefulSet {
    /// The namespace, `default` if the manifest names none.
    pub namespace: String,
    /// The name, the first part of each pod's name.
    pub name: String,
    /// How many pods it asks for.
    pub replicas: u64,
    /// What each pod gets a volume for.
    pub templates: Vec<ClaimTemplate>,
}

/// One of a StatefulSet's `volumeClaimTemplates`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimTemplate {
    /// The name, the first part of each claim's name.
    pub name: String,
    /// The size as the manifest writes it.
    pub size: String,
    /// The size in bytes.
    pub bytes: i64,
    /// The access modes, in the manifest's order; at least one.
    pub access_modes: Vec<AccessMode>,
    /// The StorageClass, if the manifest names one.
    pub class: Option<String>,
    /// Where the pod's containers see the volume.
    pub mount_paths: Vec<String>,
}

/// A claim's access mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "Kubernetes' names")]
pub enum AccessMode {
    /// Read and written on one node.
    ReadWriteOnce,
    /// Read and written by one pod.
    ReadWriteOncePod,
    /// Read on many nodes.
    ReadOnlyMany,
    /// Read and written on many nodes.
    ReadWriteMany,
}

/// Reads the StatefulSets of a manifest file.
pub fn load(path: &Path) -> Result<Vec<StatefulSet>> {
    let file = path.display().to_string();
    let yaml = std::fs::read_to_string(path).with_context(|| format!("read {file}"))?;
    parse(&file, &yaml)
}

/// Reads the StatefulSets of a manifest, at least one; `file` is what errors call it.
pub fn parse(file: &str, yaml: &str) -> Result<Vec<StatefulSet>> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).with_context(|| format!("{file} isn't valid YAML"))?;
    let mut sets = Vec::new();
    for document in &documents {
        collect(&Field::root(file, document), &mut sets)?;
    }
    if sets.is_empty() {
        bail!("{file}: no document of kind StatefulSet in it");
    }
    Ok(sets)
}

/// Adds the StatefulSets of one document, which may be the `List` that `kubectl get -o yaml` prints.
fn collect(document: &Field, sets: &mut Vec<StatefulSet>) -> Result<()> {
    let Some(kind) = document.optional("kind") else {
        return Ok(());
    };
    match kind.text()? {
        "StatefulSet" => sets.push(stateful_set(document)?),
        "List" => {
            for item in document.list("items")? {
                collect(&item, sets)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn stateful_set(document: &Field) -> Result<StatefulSet> {
    let metadata = document.required("metadata")?;
    let spec = document.required("spec")?;
    let templates = spec.list("volumeClaimTemplates")?;
    if templates.is_empty() {
        return Err(spec.complain("has no volumeClaimTemplates, so no pod of it asks for a volume to keep"));
    }
    let mounts = Mounts::read(&spec)?;
    let set = StatefulSet {
        namespace: match metadata.optional("namespace") {
            Some(namespace) => namespace.name()?,
            None => "default".to_owned(),
        },
        name: metadata.required("name")?.name()?,
        // What the API server fills in.
        replicas: spec.optional("replicas").map_or(Ok(1), |field| field.count())?,
        templates: templates
            .iter()
            .map(|template| claim_template(template, &mounts))
            .collect::<Result<_>>()?,
    };
    if set.replicas == 0 {
        return Err(spec.complain("has 0 replicas, so there is no pod to play with"));
    }
    mounts.check(&spec, &set.templates)?;
    Ok(set)
}

fn claim_template(template: &Field, mounts: &Mounts) -> Result<ClaimTemplate> {
    let name = template.required("metadata")?.required("name")?.name()?;
    let spec = template.required("spec")?;
    let storage = spec.required("resources")?.required("requests")?.required("storage")?;
    let size = storage.text_or_number()?;
    let access_modes = spec
        .required("accessModes")?
        .items()?
        .iter()
        .map(access_mode)
        .collect::<Result<Vec<_>>>()?;
    if access_modes.is_empty() {
        return Err(spec.complain("has no accessModes"));
    }
    if let Some(mode) = spec.optional("volumeMode")
        && mode.text()? != "Filesystem"
    {
        return Err(mode.complain("has to be Filesystem: Berth's volumes are directories"));
    }
    Ok(ClaimTemplate {
        bytes: storage.locate(quantity::parse_bytes(&size))?,
        size,
        access_modes,
        class: class(&spec)?,
        mount_paths: mounts.paths_of(&name),
        name,
    })
}

/// The class, where an empty name is Kubernetes' word for "never provision this claim".
fn class(spec: &Field) -> Result<Option<String>> {
    spec.optional("storageClassName")
        .map(|class| class.text().map(str::to_owned))
        .transpose()
}

fn access_mode(field: &Field) -> Result<AccessMode> {
    match field.text()? {
        "ReadWriteOnce" => Ok(AccessMode::ReadWriteOnce),
        "ReadWriteOncePod" => Ok(AccessMode::ReadWriteOncePod),
        "ReadOnlyMany" => Ok(AccessMode::ReadOnlyMany),
        "ReadWriteMany" => Ok(AccessMode::ReadWriteMany),
        other => Err(field.complain(&format!("is {other:?}, which isn't an access mode"))),
    }
}

/// What the pod's containers mount, and what else they may mount besides claims.
struct Mounts {
    /// The volume's name and the path in the container.
    mounted: Vec<(String, String)>,
    /// The names in `spec.template.spec.volumes`.
    volumes: Vec<String>,
}

impl Mounts {
    fn read(spec: &Field) -> Result<Self> {
        let pod = spec.required("template")?.required("spec")?;
        let mut mounted = Vec::new();
        for container in pod.list("initContainers")?.iter().chain(&pod.list("containers")?) {
            for mount in container.list("volumeMounts")? {
                let name = mount.required("name")?.text()?.to_owned();
                mounted.push((name, mount.required("mountPath")?.text()?.to_owned()));
            }
        }
        let volumes = pod
            .list("volumes")?
            .iter()
            .map(|volume| Ok(volume.required("name")?.text()?.to_owned()))
            .collect::<Result<_>>()?;
        Ok(Self { mounted, volumes })
    }

    fn paths_of(&self, volume: &str) -> Vec<String> {
        let mut paths: Vec<_> = self
            .mounted
            .iter()
            .filter(|(name, _)| name == volume)
            .map(|(_, path)| path.clone())
            .collect();
        paths.dedup();
        paths
    }

    /// Refuses what the API server refuses too: a mount of a volume that the pod doesn't have.
    fn check(&self, spec: &Field, templates: &[ClaimTemplate]) -> Result<()> {
        for (name, path) in &self.mounted {
            let known = self.volumes.contains(name) || templates.iter().any(|template| template.name == *name);
            if !known {
                return Err(spec.complain(&format!(
                    "mounts {name:?} at {path}, but has neither a claim template nor a volume of that name"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
