//! What the agent knows about its volumes: the records, in memory, with sums kept current.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::capacity::Promises;
use crate::volume::{Record, VolumeId, VolumeName};

/// All volumes of a pool, deleted ones in the trash included.
#[derive(Debug, Default)]
pub struct Registry {
    volumes: BTreeMap<VolumeId, Entry>,
    /// Volumes whose ID is not the first that their name gives.
    renamed: HashMap<Box<str>, VolumeId>,
    /// Deleted volumes by the time at which the trash gives them up.
    trash: BTreeSet<(u64, VolumeId)>,
    sums: Sums,
}

#[derive(Debug)]
struct Entry {
    record: Arc<Record>,
    /// Bytes that the volume was last seen to use; `None` until it is measured.
    used: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    volumes: usize,
    /// Sizes of volumes, and of those being made.
    committed: u128,
    /// Sizes of volumes that were never measured.
    unmeasured: u128,
    /// Bytes used by volumes that were.
    measured_use: u128,
    /// Promised to measured volumes and not used by them.
    measured_unwritten: u128,
}

impl Registry {
    /// The volume `id`, deleted or not.
    pub fn get(&self, id: &str) -> Option<Arc<Record>> {
        self.volumes.get(id).map(|entry| entry.record.clone())
    }

    /// The volume `id` unless it is deleted.
    pub fn active(&self, id: &str) -> Option<Arc<Record>> {
        self.get(id).filter(|record| record.deletion.is_none())
    }

    /// The volume that was made under `name`, unless it is deleted.
    pub fn by_name(&self, name: &VolumeName) -> Option<Arc<Record>> {
        let first = VolumeId::for_name(name, 0);
        let id = self.renamed.get(name.as_str()).unwrap_or(&first);
        self.active(id.as_str()).filter(|record| record.spec.name == *name)
    }

    /// An ID for a new volume `name` that no volume has, not even a deleted one.
    pub fn free_id(&self, name: &VolumeName) -> VolumeId {
        (0..)
            .map(|attempt| VolumeId::for_name(name, attempt))
            .find(|id| !self.volumes.contains_key(id))
            .unwrap_or_else(|| VolumeId::for_name(name, u32::MAX))
    }

    /// Adds a volume or puts a new record in the place of an old one. What it uses stays as it was
    /// known unless `used` says it.
    pub fn put(&mut self, record: Arc<Record>, used: Option<u64>) {
        let before = self.take(&record.id);
        let used = used.or(before.and_then(|entry| entry.used));
        if let Some(deletion) = &record.deletion {
            self.trash.insert((deletion.purge_at(), record.id.clone()));
        } else if VolumeId::for_name(&record.spec.name, 0) != record.id {
            self.renamed.insert(record.spec.name.as_str().into(), record.id.clone());
        }
        let entry = Entry { record, used };
        self.sums.add(&entry);
        self.volumes.insert(entry.record.id.clone(), entry);
    }

    /// Forgets a volume.
    pub fn remove(&mut self, id: &VolumeId) {
        self.take(id);
    }

    fn take(&mut self, id: &VolumeId) -> Option<Entry> {
        let entry = self.volumes.remove(id)?;
        self.sums.subtract(&entry);
        match &entry.record.deletion {
            Some(deletion) => {
                self.trash.remove(&(deletion.purge_at(), id.clone()));
            }
            None => {
                if self.renamed.get(entry.record.spec.name.as_str()) == Some(id) {
                    self.renamed.remove(entry.record.spec.name.as_str());
                }
            }
        }
        Some(entry)
    }

    /// Notes what a volume was seen to use.
    pub fn measured(&mut self, id: &VolumeId, used: u64) {
        if let Some(entry) = self.volumes.get_mut(id) {
            self.sums.subtract(entry);
            entry.used = Some(used);
            self.sums.add(entry);
        }
    }

    /// Counts `bytes` as promised before the volume exists.
    pub fn reserve(&mut self, bytes: u64) {
        self.sums.committed += u128::from(bytes);
        self.sums.measured_unwritten += u128::from(bytes);
    }

    /// Takes back what [`Registry::reserve`] counted.
    pub fn release(&mut self, bytes: u64) {
        self.sums.committed -= u128::from(bytes);
        self.sums.measured_unwritten -= u128::from(bytes);
    }

    /// What has been promised, on a file system of which `used_bytes` are in use.
    ///
    /// Volumes that were never measured, all of them since the start of the agent, count as
    /// holding what nobody else is known to hold.
    pub fn promises(&self, used_bytes: u64) -> Promises {
        let held = u128::from(used_bytes).saturating_sub(self.sums.measured_use);
        Promises {
            committed: bytes(self.sums.committed),
            unwritten: bytes(self.sums.measured_unwritten + self.sums.unmeasured.saturating_sub(held)),
        }
    }

    /// How many volumes there are, deleted ones not counted.
    pub fn count(&self) -> usize {
        self.sums.volumes
    }

    /// How many deleted volumes are in the trash.
    pub fn count_deleted(&self) -> usize {
        self.trash.len()
    }

    /// The deleted volumes and when the trash gives them up, soonest first.
    pub fn purges(&self) -> impl Iterator<Item = &(u64, VolumeId)> {
        self.trash.iter()
    }

    /// Every volume after `id` in the order of IDs, deleted ones included.
    pub fn after(&self, id: Option<&VolumeId>) -> impl Iterator<Item = &Arc<Record>> {
        let start = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.volumes
            .range::<VolumeId, _>((start, Bound::Unbounded))
            .map(|(_, entry)| &entry.record)
    }
}

impl Sums {
    /// A deleted volume promises nothing any more: what it still holds is not free, and that counts.
    fn add(&mut self, entry: &Entry) {
        if entry.record.deletion.is_some() {
            return;
        }
        let size = u128::from(entry.record.capacity.bytes());
        self.volumes += 1;
        self.committed += size;
        match entry.used.map(u128::from) {
            None => self.unmeasured += size,
            Some(used) => {
                self.measured_use += used;
                self.measured_unwritten += size.saturating_sub(used);
            }
        }
    }

    /// Undoes [`Sums::add`] for the same entry.
    fn subtract(&mut self, entry: &Entry) {
        if entry.record.deletion.is_some() {
            return;
        }
        let size = u128::from(entry.record.capacity.bytes());
        self.volumes -= 1;
        self.committed -= size;
        match entry.used.map(u128::from) {
            None => self.unmeasured -= size,
            Some(used) => {
                self.measured_use -= used;
                self.measured_unwritten -= size.saturating_sub(used);
            }
        }
    }
}

/// A sum as bytes: what no disk can hold is as good as the largest number.
fn bytes(sum: u128) -> u64 {
    u64::try_from(sum).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::{AccessMode, Attributes, Capability, Capacity, Deletion, VolumeSpec};

    fn record(name: &str, attempt: u32, size: u64) -> Record {
        let name = VolumeName::parse(name).expect("legal");
        Record {
            id: VolumeId::for_name(&name, attempt),
            spec: VolumeSpec {
                name,
                capabilities: vec![Capability {
                    mode: AccessMode::SingleNodeWriter,
                    options: vec![],
                }],
                attributes: Attributes::default(),
                claim: None,
            },
            capacity: Capacity::new(size).expect("legal"),
            created_at: 0,
            deletion: None,
        }
    }

    fn deleted(mut record: Record, until: u64) -> Record {
        record.deletion = Some(Deletion::Kept { until });
        record
    }

    #[test]
    fn sums_follow_every_change_back_to_zero() {
        let mut registry = Registry::default();
        registry.put(Arc::new(record("a", 0, 100)), Some(0));
        registry.put(Arc::new(record("b", 0, 50)), None);
        registry.reserve(7);
        assert_eq!(registry.promises(0).committed, 157);
        assert_eq!(registry.promises(0).unwritten, 157);
        // What is in use and not known to be another's is taken for the unmeasured volume's.
        assert_eq!(registry.promises(30).unwritten, 127);
        let a = record("a", 0, 100);
        registry.measured(&a.id, 60);
        assert_eq!(registry.promises(60).unwritten, 40 + 50 + 7);
        registry.release(7);
        registry.put(Arc::new(deleted(a.clone(), 9)), None);
        assert_eq!(registry.promises(0).committed, 50);
        assert_eq!(registry.purges().next(), Some(&(9, a.id.clone())));
        registry.remove(&a.id);
        registry.remove(&record("b", 0, 50).id);
        assert_eq!(registry.promises(0), Promises::default());
        assert_eq!(registry.count() + registry.count_deleted(), 0);
    }

    #[test]
    fn a_name_finds_its_volume_also_when_the_trash_holds_its_first_id() {
        let mut registry = Registry::default();
        let first = record("a", 0, 1);
        let name = first.spec.name.clone();
        registry.put(Arc::new(deleted(first.clone(), 5)), None);
        assert!(registry.by_name(&name).is_none());
        assert_eq!(registry.free_id(&name), VolumeId::for_name(&name, 1));
        registry.put(Arc::new(record("a", 1, 1)), None);
        registry.remove(&first.id);
        let found = registry.by_name(&name).expect("found under its second ID");
        assert_eq!(found.id, VolumeId::for_name(&name, 1));
        assert_eq!(registry.free_id(&name), VolumeId::for_name(&name, 0));
    }
}
