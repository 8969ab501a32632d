//! What is wrong, said so that a person can act on it.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::error::Error;
use super::pool::{Pool, Stray};
use super::{Engine, Problem};
use crate::store;
use crate::volume::Record;

/// Below this share of free bytes or inodes a pool is nearly full.
const NEARLY_FULL: f64 = 0.05;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, but not as it should.
    Degraded,
    /// It cannot be used.
    Inaccessible,
    /// Data is lost.
    DataLoss,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// How bad it is.
    pub severity: Severity,
    /// One word in CamelCase for machines.
    pub reason: &'static str,
    /// What is wrong, and where.
    pub message: String,
    /// What a person can do about it.
    pub advice: &'static str,
}

impl From<&store::Error> for Problem {
    fn from(error: &store::Error) -> Self {
        let reason = match error {
            store::Error::NotAPool { .. }
            | store::Error::NotEmpty { .. }
            | store::Error::WrongFilesystem { .. }
            | store::Error::AnotherPool { .. }
            | store::Error::Replaced { .. } => "PoolWrongDisk",
            store::Error::TooNew { .. } => "PoolTooNew",
            store::Error::Locked { .. } => "PoolLocked",
            store::Error::Damaged { .. } => "PoolDamaged",
            _ => "PoolUnreadable",
        };
        Self {
            reason,
            message: error.to_string(),
        }
    }
}

impl Problem {
    fn condition(&self) -> Condition {
        let advice = match self.reason {
            "PoolWrongDisk" => "Mount the pool's own disk at the pool directory; the agent goes on by itself.",
            "PoolTooNew" => "Run the newer Berth that wrote the pool.",
            "PoolLocked" => {
                "Stop the other agent, or give this one a pool of its own with --pool. To ask the other agent, name its \
                 socket with --csi-endpoint."
            }
            "PoolDamaged" => "Put berth.json back from a backup of the disk; the volumes themselves are untouched.",
            _ => "Look at the kernel's log and check the disk; the agent goes on by itself when it can be read.",
        };
        Condition {
            severity: Severity::Inaccessible,
            reason: self.reason,
            message: self.message.clone(),
            advice,
        }
    }
}

impl Engine {
    /// What is wrong with the pool as a whole; nothing when all is well.
    pub fn storage_health(&self) -> Vec<Condition> {
        match self.pool_or_problem() {
            Ok(pool) => pool.storage_health(),
            Err(problem) => vec![problem.condition()],
        }
    }

    /// What is wrong with the volume `id`. Without a pool nobody can tell which volumes there are,
    /// so every ID gets the pool's trouble for an answer.
    pub fn volume_health(&self, id: &str) -> Result<Vec<Condition>, Error> {
        let pool = match self.pool_or_problem() {
            Ok(pool) => pool,
            Err(problem) => return Ok(vec![problem.condition()]),
        };
        let own = match pool.quarantined().find(|(quarantined, _)| quarantined.as_str() == id) {
            Some((_, found)) => Some(record_quarantined(found)),
            None => pool.data_health(&*pool.find(id)?),
        };
        Ok(own.into_iter().chain(pool.storage_health()).collect())
    }

    /// The volumes with which something is wrong, by ID. Without a pool nobody can tell which
    /// volumes there are, and none at all would be the wrong answer.
    pub fn unhealthy_volumes(&self) -> Result<BTreeMap<String, Vec<Condition>>, Error> {
        let pool = self.pool()?;
        let shared = pool.storage_health();
        let records: Vec<_> = pool.registry().after(None).cloned().collect();
        let quarantined = pool
            .quarantined()
            .map(|(id, found)| (id.to_string(), Some(record_quarantined(found))));
        let active = records
            .iter()
            .filter(|record| record.deletion.is_none())
            .map(|record| (record.id.to_string(), pool.data_health(record)));
        Ok(quarantined
            .chain(active)
            .map(|(id, own)| (id, own.into_iter().chain(shared.iter().cloned()).collect::<Vec<_>>()))
            .filter(|(_, conditions)| !conditions.is_empty())
            .collect())
    }

    /// Everything that is wrong with the pool and its volumes, with what each is about.
    pub fn diagnose(&self) -> Vec<(String, Condition)> {
        let pool = match self.pool_or_problem() {
            Ok(pool) => pool,
            Err(problem) => return vec![(self.pool_path().display().to_string(), problem.condition())],
        };
        let path = pool.path().display().to_string();
        let mut found: Vec<_> = pool
            .storage_health()
            .into_iter()
            .map(|condition| (path.clone(), condition))
            .collect();
        for (id, quarantined) in pool.quarantined() {
            found.push((id.to_string(), record_quarantined(quarantined)));
        }
        for stray in pool.strays() {
            found.push(stray_condition(stray));
        }
        let records: Vec<_> = pool.registry().after(None).cloned().collect();
        for record in records.iter().filter(|record| record.deletion.is_none()) {
            if let Some(condition) = pool.data_health(record) {
                found.push((record.id.to_string(), condition));
            }
        }
        found
    }
}

impl Pool {
    fn storage_health(&self) -> Vec<Condition> {
        if let Err(error) = self.store.verify() {
            return vec![Problem::from(&error).condition()];
        }
        // What is asked below could wait for the disk too.
        if let Some(message) = self.hang() {
            return vec![Condition {
                severity: Severity::Degraded,
                reason: "PoolHangs",
                message,
                advice: "Look at the kernel's log and check the disk; the calls go on by themselves when it answers.",
            }];
        }
        let path = self.store.path().display();
        let space = match self.space() {
            Ok(space) => space,
            Err(error) => {
                let problem = Problem {
                    reason: "PoolUnreadable",
                    message: error.to_string(),
                };
                return vec![problem.condition()];
            }
        };
        let read_only = match self.store.check_writable() {
            Err(error) if error.errno() == Some(Errno::EROFS as i32) => true,
            Err(error) => return vec![Problem::from(&error).condition()],
            Ok(()) => space.read_only,
        };
        let mut found = Vec::new();
        if read_only {
            found.push(Condition {
                severity: Severity::Degraded,
                reason: "PoolReadOnly",
                message: format!("the file system of {path} is read-only"),
                advice: "Look at the kernel's log for disk errors, then mount it read-write again.",
            });
        } else if let Some(message) = self.refusal() {
            found.push(Condition {
                severity: Severity::Degraded,
                reason: "PoolRefusesChanges",
                message: format!("the last change was refused: {message}"),
                advice: "Look at the kernel's log and check the disk. The next change that it takes ends this.",
            });
        }
        let low = |what: &str, available: u64, total: u64| {
            is_low(available, total).then(|| Condition {
                severity: Severity::Degraded,
                reason: "PoolNearlyFull",
                message: format!("{path} has {available} of {total} {what} left"),
                advice: "Delete what is no longer needed, or give the pool a larger disk.",
            })
        };
        // One entry per reason is all that the specification allows.
        found.extend(
            low("bytes", space.available_bytes, space.total_bytes)
                .or_else(|| low("inodes", space.available_inodes, space.total_inodes)),
        );
        found
    }

    fn data_health(&self, record: &Record) -> Option<Condition> {
        if self.hang().is_some() {
            return None;
        }
        let error = match self.data(record) {
            Ok(_) => return None,
            Err(Error::Backend(error)) if self.is_current(record) => error,
            Err(_) => return None,
        };
        let path = self.volume_path(&record.id);
        let path = path.display();
        Some(match error.errno().map(Errno::from_raw) {
            Some(Errno::ENOENT) => Condition {
                severity: Severity::DataLoss,
                reason: "DirectoryMissing",
                message: format!("{path} is gone"),
                advice: "Restore the directory from a backup, or delete the claim.",
            },
            Some(Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV) => Condition {
                severity: Severity::Inaccessible,
                reason: "DirectoryReplaced",
                message: format!("{path} is a symbolic link, a file or a mount in place of the volume's directory"),
                advice: "Put the volume's own directory back in its place.",
            },
            _ => Condition {
                severity: Severity::Inaccessible,
                reason: "DirectoryUnreadable",
                message: error.to_string(),
                advice: "Look at the kernel's log and check the disk.",
            },
        })
    }
}

fn record_quarantined(found: &store::Quarantined) -> Condition {
    Condition {
        severity: Severity::Inaccessible,
        reason: "RecordQuarantined",
        message: format!("{}: {}", found.path.display(), found.problem),
        advice: "The data is untouched. Put the record back from a backup of the disk and restart the agent.",
    }
}

fn stray_condition(stray: &Stray) -> (String, Condition) {
    match stray {
        Stray::Record(found) => (found.path.display().to_string(), record_quarantined(found)),
        Stray::Orphan(path) => (
            path.display().to_string(),
            Condition {
                severity: Severity::Degraded,
                reason: "OrphanedData",
                message: format!("{} holds data that no record explains", path.display()),
                advice: "Berth leaves it alone. Move what is still needed elsewhere and remove the directory.",
            },
        ),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no exact bytes")]
fn is_low(available: u64, total: u64) -> bool {
    total > 0 && (available as f64) < NEARLY_FULL * total as f64
}
