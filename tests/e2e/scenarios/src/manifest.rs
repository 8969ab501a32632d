//! Manifests: files of this repository, and small ones made here.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cluster::repository;

/// Runs for ever, and ends when it is told to.
const STAY: &str = "trap 'exit 0' TERM; sleep infinity & wait";

#[derive(Clone)]
pub struct Manifest(Value);

impl Manifest {
    pub fn value(&self) -> &Value {
        &self.0
    }

    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap_or_default()
    }

    /// Sets what a JSON pointer leads to, and makes the way to it.
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let mut at = &mut self.0;
        for step in pointer.trim_start_matches('/').split('/') {
            at = match step.parse::<usize>() {
                Ok(index) => &mut at[index],
                Err(_) => &mut at[step],
            };
        }
        *at = value.into();
        self
    }

    /// Takes out what a JSON pointer leads to.
    pub fn without(mut self, pointer: &str) -> Self {
        if let Some((parent, key)) = pointer.rsplit_once('/')
            && let Some(Value::Object(parent)) = self.0.pointer_mut(parent)
        {
            parent.remove(key);
        }
        self
    }

    /// On this node, by choice of the scheduler.
    pub fn on(self, node: &str) -> Self {
        let at = if self.kind() == "Pod" {
            "/spec/nodeSelector"
        } else {
            "/spec/template/spec/nodeSelector"
        };
        self.set(at, json!({ "kubernetes.io/hostname": node }))
    }
}

/// `deploy/examples/NAME.yaml`, as it is but for one thing: no registry is asked for a newer image.
pub fn example(name: &str) -> Result<Vec<Manifest>> {
    let objects = deployed(&format!("examples/{name}.yaml"))?;
    let local = |manifest: Manifest| match manifest.kind() {
        "StatefulSet" => manifest.set("/spec/template/spec/containers/0/imagePullPolicy", "IfNotPresent"),
        _ => manifest,
    };
    Ok(objects.into_iter().map(local).collect())
}

/// `deploy/FILE`, as it is.
pub fn deployed(file: &str) -> Result<Vec<Manifest>> {
    let path = repository().join("deploy").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    Ok(objects.into_iter().map(Manifest).collect())
}

/// A claim of the class `manual`.
pub fn claim(name: &str, size: &str) -> Manifest {
    Manifest(json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": name },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "manual",
            "resources": { "requests": { "storage": size } },
        },
    }))
}

/// A class of Berth's: `manual` with another name, whose claims take their data along.
pub fn deleting_class(name: &str) -> Manifest {
    Manifest(json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": { "name": name },
        "provisioner": "csi.berth.dev",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }))
}

/// A pod that runs a script before it is ready and then does nothing; with these claims at `/CLAIM`.
pub fn pod(name: &str, claims: &[&str], script: &str) -> Manifest {
    let volume = |claim: &&str| json!({ "name": claim, "persistentVolumeClaim": { "claimName": claim } });
    let spec = idle(claims, script).set("/volumes", claims.iter().map(volume).collect::<Vec<_>>());
    Manifest(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec.0 }))
}

/// A pod that runs this program and nothing else.
pub fn program(name: &str, claims: &[&str], script: &str) -> Manifest {
    pod(name, claims, "true").set("/spec/containers/0/command", json!(["sh", "-c", script]))
}

/// `deploy/examples/redis.yaml` with busybox in Redis' place: each pod writes down each start, and once a file of its own.
pub fn set(name: &str, replicas: usize) -> Manifest {
    let script = "echo $HOSTNAME >>/data/starts; [ -e /data/bytes ] || head -c 4194304 /dev/urandom >/data/bytes; sync";
    let spec = idle(&["data"], script);
    let labels = json!({ "app": name });
    let template = claim("data", "1Gi").without("/apiVersion").without("/kind");
    Manifest(json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": { "name": name, "labels": labels },
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec.0 },
            "volumeClaimTemplates": [template.0],
        },
    }))
}

fn idle(mounts: &[&str], script: &str) -> Manifest {
    let mount = |name: &&str| json!({ "name": name, "mountPath": format!("/{name}") });
    Manifest(json!({
        "terminationGracePeriodSeconds": 5,
        "containers": [{
            "name": "main",
            "image": "busybox:1.35",
            "command": ["sh", "-c", STAY],
            // The pod is not ready before this is done, and no probe has to ask.
            "lifecycle": { "postStart": { "exec": { "command": ["sh", "-c", script] } } },
            "volumeMounts": mounts.iter().map(mount).collect::<Vec<_>>(),
        }],
    }))
}
