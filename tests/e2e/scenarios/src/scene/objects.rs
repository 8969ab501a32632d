//! Manifests go in, and everything goes away again.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{self, Scope};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{SOON, Scene, until};
use crate::manifest::Manifest;

impl Scene {
    pub async fn make_namespace(&self) -> Result<()> {
        let namespace = serde_json::from_value(json!({ "metadata": { "name": self.namespace } }))?;
        self.all::<Namespace>()
            .create(&PostParams::default(), &namespace)
            .await?;
        // Pods are refused until their namespace has its account.
        let accounts = self.objects::<k8s_openapi::api::core::v1::ServiceAccount>();
        until("the default service account", SOON, async || {
            Ok(accounts.get("default").await?)
        })
        .await?;
        Ok(())
    }

    /// As `kubectl apply` does; what has a namespace goes into the scene's.
    pub async fn apply(&self, manifest: &Manifest) -> Result<()> {
        let object = manifest.value();
        let text = |pointer| {
            object
                .pointer(pointer)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
        };
        let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = GroupVersionKind::gvk(group, version, kind);
        let (resource, capabilities) = discovery::pinned_kind(&self.client, &kind).await?;
        let api: Api<DynamicObject> = match capabilities.scope {
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), &self.namespace, &resource),
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
        };
        let applied = api
            .patch(name, &PatchParams::apply("scenarios").force(), &Patch::Apply(object))
            .await;
        applied.with_context(|| format!("applying {} {name}", kind.kind))?;
        if capabilities.scope == Scope::Cluster {
            self.elsewhere.borrow_mut().push((api, name.to_owned()));
        }
        Ok(())
    }

    /// Removes everything that the scene made, the data included, in the way that docs/deploying.md tells. What
    /// cannot be removed keeps nothing else from it.
    pub async fn clean_up(&self) -> Result<()> {
        let emptied = self.empty().await;
        let mut elsewhere = Ok(());
        for (api, name) in self.elsewhere.take() {
            let deleted = api.delete(&name, &DeleteParams::default()).await;
            elsewhere = elsewhere.and(deleted.map(drop));
        }
        let namespaces = self.all::<Namespace>();
        let namespace = namespaces.delete(&self.namespace, &DeleteParams::default()).await;
        emptied?;
        elsewhere?;
        namespace?;
        Ok(())
    }

    async fn empty(&self) -> Result<()> {
        let (all, soon) = (ListParams::default(), DeleteParams::default().grace_period(1));
        self.objects::<StatefulSet>().delete_collection(&soon, &all).await?;
        self.objects::<Pod>().delete_collection(&soon, &all).await?;
        // Asked again and again: one may be made meanwhile, or go.
        let doomed = async || -> Result<Vec<String>> {
            let volumes = self.volumes().await?;
            for volume in &volumes {
                self.reclaim(volume, "Delete").await?;
            }
            Ok(volumes.iter().map(ResourceExt::name_any).collect())
        };
        until("its volumes to be let go", SOON, &doomed).await?;
        self.objects::<PersistentVolumeClaim>()
            .delete_collection(&soon, &all)
            .await?;
        until("the end of its volumes", SOON, async || {
            let left = doomed().await?;
            ensure!(left.is_empty(), "there are still {}", left.join(", "));
            Ok(())
        })
        .await
    }

    /// The PVs of claims of this scene, also of claims that are gone.
    pub async fn volumes(&self) -> Result<Vec<PersistentVolume>> {
        let ours = |volume: &PersistentVolume| {
            let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
            claim.and_then(|claim| claim.namespace.as_deref()) == Some(self.namespace.as_str())
        };
        let all = self.all::<PersistentVolume>().list(&ListParams::default()).await?;
        Ok(all.items.into_iter().filter(ours).collect())
    }

    /// What is to become of a volume when its claim goes.
    pub async fn reclaim(&self, volume: &PersistentVolume, policy: &str) -> Result<()> {
        let patch = json!({ "spec": { "persistentVolumeReclaimPolicy": policy } });
        let volumes = self.all::<PersistentVolume>();
        volumes
            .patch(&volume.name_any(), &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }
}
