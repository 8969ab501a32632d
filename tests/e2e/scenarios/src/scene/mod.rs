//! The words that scenarios are written in. Each has a scene: a namespace of its own and what was seen in it.

mod agents;
mod objects;
mod pods;
mod sets;
mod volumes;

use std::cell::RefCell;
use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::ClusterResourceScope;
use k8s_openapi::NamespaceResourceScope;
use kube::api::DynamicObject;
use kube::{Api, Client, Resource};

pub use agents::Answer;
pub use pods::restarts;
pub use sets::Set;
pub use volumes::Home;

/// How long to wait for what Kubernetes does in seconds when it has the machine for itself.
pub const SOON: Duration = Duration::from_secs(150);

pub struct Scene {
    pub namespace: String,
    client: Client,
    begun: Instant,
    evidence: RefCell<Vec<String>>,
    /// What it made outside its namespace.
    elsewhere: RefCell<Vec<(Api<DynamicObject>, String)>>,
}

impl Scene {
    pub fn new(client: Client, name: &str) -> Self {
        Self {
            namespace: name.to_owned(),
            client,
            begun: Instant::now(),
            evidence: RefCell::default(),
            elsewhere: RefCell::default(),
        }
    }

    /// Notes what was seen, for people to read.
    pub fn saw(&self, text: impl Display) {
        let text = text.to_string().replace('\n', "\n             ");
        let line = format!("    {:5.1} s  {text}", self.begun.elapsed().as_secs_f32());
        self.evidence.borrow_mut().push(line);
    }

    pub fn evidence(&self) -> String {
        self.evidence.borrow().join("\n")
    }

    /// Notes what was found if it is what was expected.
    pub fn same<T: PartialEq + Display>(&self, what: impl Display, found: T, expected: T) -> Result<()> {
        ensure!(found == expected, "{what}: {found}, and not {expected}");
        self.saw(format!("{what}: {found}"));
        Ok(())
    }

    /// Notes a text that has to say something.
    pub fn says(&self, what: impl Display, text: &str, expected: &str) -> Result<()> {
        ensure!(text.contains(expected), "{what} does not say {expected:?}: {text}");
        self.saw(format!("{what}: {text}"));
        Ok(())
    }

    /// Objects of this scene's namespace.
    pub fn objects<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Objects of no namespace.
    pub fn all<K>(&self) -> Api<K>
    where
        K: Resource<Scope = ClusterResourceScope>,
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }
}

/// Asks until the answer is a good one, and tells the last bad one if it is not in time.
pub async fn until<T>(what: impl Display, limit: Duration, mut ask: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("{what}: not within {} s", limit.as_secs()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// For what the API server's schema says is there.
pub fn given<T>(value: Option<T>, what: &str) -> Result<T> {
    value.ok_or_else(|| anyhow!("it has no {what}"))
}
