//! Whether what there is on the node is what the model says.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::reference::Model;
use super::world::World;

/// How long the reaper may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until the reaper is done. Then everything must be as one of the models says, which is
/// returned.
pub async fn settle(world: &World, mut models: Vec<Model>) -> Result<Model, String> {
    let waits = models.iter().any(|model| !model.purgeable().is_empty());
    let deadline = Instant::now() + if waits { PATIENCE } else { Duration::ZERO };
    for model in &mut models {
        model.purge_all();
    }
    loop {
        let late = Instant::now() > deadline;
        let found = world.lines();
        if let Some(at) = models.iter().position(|model| model.lines() == found) {
            let mut model = models.swap_remove(at);
            model.learn(&world.times());
            return Ok(model);
        }
        if late {
            let differences: BTreeSet<_> = models.iter().map(|model| difference(&model.lines(), &found)).collect();
            return Err(differences.into_iter().collect::<Vec<_>>().join("\nor\n"));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What is missing and what should not be there.
pub fn difference(expected: &BTreeSet<String>, found: &BTreeSet<String>) -> String {
    let missing = expected.difference(found).map(|line| format!("  missing: {line}"));
    let further = found.difference(expected).map(|line| format!("  too many: {line}"));
    missing.chain(further).collect::<Vec<_>>().join("\n")
}
