//! What a scenario is to the runner.

use std::pin::Pin;

use anyhow::Result;

use crate::scene::Scene;

/// How much of the cluster a scenario takes. What runs at the same time adds up to [`Share::Whole`] at most.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// A few pods that do next to nothing.
    Light = 1,
    /// A few servers.
    Servers = 2,
    /// A few Java virtual machines.
    Java = 3,
    /// It stops something that others need, or counts what they take.
    Whole = 4,
}

pub type Run = for<'a> fn(&'a Scene) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// A scenario, made by [`scenario!`].
pub struct Scenario {
    /// The module and the function.
    pub path: &'static str,
    pub share: Share,
    /// What it shows, in a sentence.
    pub shows: &'static str,
    pub run: Run,
}

impl Scenario {
    /// The function's name, as Kubernetes takes names.
    pub fn name(&self) -> String {
        self.path.rsplit("::").next().unwrap_or_default().replace('_', "-")
    }

    /// The name of the file that it is in.
    pub fn theme(&self) -> &'static str {
        self.path.rsplit("::").nth(1).unwrap_or_default()
    }
}

macro_rules! scenario {
    ($function:ident, $share:ident, $shows:literal) => {
        $crate::scenario::Scenario {
            path: concat!(module_path!(), "::", stringify!($function)),
            share: $crate::scenario::Share::$share,
            shows: $shows,
            run: |scene| Box::pin($function(scene)),
        }
    };
}
pub(crate) use scenario;
