//! What happens without a call, and what all of it looks like on the disk.

use std::collections::{BTreeMap, BTreeSet};

use nix::unistd::{getegid, geteuid};

use super::{Deletion, Model, Place, Volume};
use crate::harness::step::{Meaning, NAMES, Site, Which, owner};

impl Model {
    /// Deleted volumes that nothing can bring back, and that nothing keeps from going.
    pub fn purgeable(&self) -> Vec<String> {
        let going =
            |volume: &Volume| volume.deletion == Some(Deletion::Purging) && !volume.obstructed && !volume.quarantined;
        self.volumes
            .iter()
            .filter(|(_, volume)| going(volume))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// The reaper is done with a volume.
    pub fn purge(&mut self, id: &str) {
        self.volumes.remove(id);
    }

    /// The reaper is done with all that it can be done with.
    pub fn purge_all(&mut self) {
        for id in self.purgeable() {
            self.purge(&id);
        }
    }

    /// The agent ends and starts again; meanwhile whatever obstructs volumes is taken away. Of several
    /// volumes of one claim the latest is what the claim's link leads to.
    pub fn restart(&mut self) {
        let mut ids: Vec<_> = self
            .volumes
            .iter()
            .map(|(id, volume)| (volume.made, id.clone()))
            .collect();
        ids.sort();
        for (_, id) in ids {
            let volume = self.volumes.get_mut(&id).expect("it is there");
            volume.obstructed = false;
            match (volume.quarantined, volume.deletion, volume.claim) {
                (false, None, Some(claim)) => {
                    self.links.insert(claim, id);
                }
                (false, Some(_), _) => self.unlink(&id),
                _ => {}
            }
        }
    }

    /// Sets when volumes were made, as their records tell.
    pub fn learn(&mut self, made: &BTreeMap<String, u64>) {
        for (id, volume) in &mut self.volumes {
            volume.made = made.get(id).copied().unwrap_or(volume.made);
        }
    }

    /// A record is damaged, or made good again. Returns whether there is one to be damaged.
    pub fn damage(&mut self, which: Which, damaged: bool) -> bool {
        let volume = self.volumes.get_mut(&which.id());
        volume.is_some_and(|volume| std::mem::replace(&mut volume.quarantined, damaged) != damaged)
    }

    /// Whether something keeps a volume from being purged.
    pub fn is_obstructed(&self) -> bool {
        self.volumes.values().any(|volume| volume.obstructed)
    }

    /// A path at which a call failed half-way: an empty directory is all that may be there.
    pub fn with_directory_at(&self, site: Site) -> Self {
        let mut half = self.clone();
        if matches!(self.sites.get(&site), Some(Place::Nothing | Place::Mount { .. })) {
            half.sites.insert(site, Place::Directory);
        }
        half
    }

    /// What a look at the pool and at the paths of the kubelet must show, line by line.
    pub fn lines(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for (id, volume) in &self.volumes {
            lines.extend(volume.lines(id));
        }
        for (claim, id) in &self.links {
            let namespace = claim.split('/').next().unwrap_or_default();
            lines.insert(format!("by-claim/{namespace}"));
            lines.insert(format!("by-claim/{claim} -> ../../volumes/{id}"));
        }
        for (site, place) in &self.sites {
            lines.insert(format!("{site:?}: {}", place.line()));
        }
        lines
    }
}

impl Volume {
    fn lines(&self, id: &str) -> Vec<String> {
        let state = match self.deletion {
            None => "json",
            Some(Deletion::Kept) => "deleted",
            Some(Deletion::Purging) => "purging",
        };
        if self.deletion == Some(Deletion::Purging) {
            return vec![format!("record {id} {state}"), format!("trash/{id}")];
        }
        let record = match self.quarantined {
            true => format!("record {id} {state} damaged"),
            false => format!("record {id} {state} {:?} of {} MiB", NAMES[self.name], self.size),
        };
        let area = if self.deletion.is_none() { "volumes" } else { "trash" };
        let Meaning { mode, owned, .. } = self.meaning;
        let own = (geteuid().as_raw(), getegid().as_raw());
        let (user, group) = if owned { owner() } else { own };
        let content = self.content.map(|content| content.to_string()).unwrap_or_default();
        vec![record, format!("{area}/{id} {mode:04o} {user}:{group} {content:?}")]
    }
}

impl Place {
    fn line(&self) -> String {
        match self {
            Self::Nothing | Self::Parentless => "nothing".to_owned(),
            Self::Directory => "directory".to_owned(),
            Self::Full => "full".to_owned(),
            Self::Foreign => "foreign".to_owned(),
            Self::Mount { id, options } => format!("mount of {id} {options:?}"),
        }
    }
}
