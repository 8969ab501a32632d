//! Reading all records at the start, with suspicion: what cannot be trusted is set aside.

use std::collections::HashSet;
use std::path::PathBuf;

use super::envelope::Problem;
use super::layout::Area;
use super::{Error, Store, name, record};
use crate::sys::beneath;
use crate::volume::{Deletion, Record, VolumeId};

/// How many threads read records at start: on a cold disk each of them waits most of the time.
const LOADERS: usize = 8;

/// What a pool remembers, as it was found at start.
#[derive(Debug, Default)]
pub struct Contents {
    /// Records that can be read.
    pub records: Vec<Record>,
    /// Files among the records that cannot: left as they are, for a person to look at.
    pub quarantined: Vec<Quarantined>,
}

/// A file among the records that cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The volume it is named for, if its name is that of a record.
    pub id: Option<VolumeId>,
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

impl Store {
    /// Reads every record.
    ///
    /// A record that cannot be read is reported in the contents; a record of a newer format is an
    /// error, because a program that does not understand a pool must not change it.
    pub fn load(&self) -> Result<Contents, Error> {
        let names = self.list(Area::Records)?;
        let share = names.len().div_ceil(LOADERS).max(1);
        let parts: Vec<Result<Contents, Error>> = std::thread::scope(|scope| {
            let loaders: Vec<_> = names
                .chunks(share)
                .map(|names| scope.spawn(|| self.load_part(names)))
                .collect();
            loaders
                .into_iter()
                .map(|loader| loader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        let mut contents = Contents::default();
        for part in parts {
            let part = part?;
            contents.records.extend(part.records);
            contents.quarantined.extend(part.quarantined);
        }
        self.set_duplicates_aside(&mut contents);
        Ok(contents)
    }

    /// One volume has one record. Should a second one turn up, the volume that is in use counts:
    /// nothing beside it must take its data away. A tombstone counts only by itself.
    fn set_duplicates_aside(&self, contents: &mut Contents) {
        let Contents { records, quarantined } = contents;
        records.sort_by_key(|record| record.deletion.is_some());
        for found in quarantined.iter_mut() {
            let served = |record: &Record| record.deletion.is_none() && found.id.as_ref() == Some(&record.id);
            if records.iter().any(served) {
                found.id = None;
            }
        }
        let mut taken: HashSet<_> = quarantined.iter().filter_map(|found| found.id.clone()).collect();
        records.retain(|record| {
            let first = taken.insert(record.id.clone());
            if !first {
                quarantined.push(Quarantined {
                    id: None,
                    path: self.path_of(Area::Records, &name::format(&record.id, record.deletion)),
                    problem: format!("volume {} has another record", record.id),
                });
            }
            first
        });
    }

    fn load_part(&self, names: &[String]) -> Result<Contents, Error> {
        let mut contents = Contents::default();
        for name in names {
            let path = || self.path_of(Area::Records, name);
            let (id, deletion) = name::parse(name).unzip();
            match self.read_record(name, id.as_ref(), deletion.flatten()) {
                Ok(record) => contents.records.push(record),
                Err(Problem::TooNew(format)) => {
                    return Err(Error::TooNew {
                        path: path(),
                        format,
                        known: record::FORMAT,
                    });
                }
                Err(Problem::Damaged(problem)) => contents.quarantined.push(Quarantined {
                    id,
                    path: path(),
                    problem,
                }),
            }
        }
        Ok(contents)
    }

    fn read_record(&self, name: &str, id: Option<&VolumeId>, deletion: Option<Deletion>) -> Result<Record, Problem> {
        let id = id.ok_or_else(|| Problem::Damaged("its name is not that of a record".to_owned()))?;
        let bytes = beneath::read_file(self.area(Area::Records), name)
            .map_err(|errno| Problem::Damaged(format!("it cannot be read: {}", errno.desc())))?;
        let record = record::decode(&bytes)?;
        if record.id != *id {
            return Err(Problem::Damaged(format!("it speaks of volume {}", record.id)));
        }
        Ok(Record { deletion, ..record })
    }
}
