//! What the pods do: write files that can be foretold, the way a database does.

use std::fs::{File, create_dir_all, rename};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};

use super::tree::Tree;

/// How many files a busy pod goes round.
const JOURNALS: usize = 8;
/// What a busy pod waits between two files.
const PAUSE: Duration = Duration::from_millis(1);

/// A pod's view of its volume: where it writes, and what it has written.
#[derive(Debug, Clone)]
pub struct Workload {
    /// What the bytes depend on: each claim has its own.
    seed: String,
    /// The size that the files are measured in, so that small volumes aren't overrun.
    unit: usize,
}

impl Workload {
    /// The pod that owns the claim of this name, with a volume of this many bytes.
    pub fn new(claim: &str, capacity: i64) -> Self {
        Self {
            seed: claim.to_owned(),
            unit: usize::try_from((capacity / 64).clamp(512, 64 << 10)).unwrap_or(512),
        }
    }

    /// Writes the pod's first files beneath `directory`, and notes in `tree` what is there then.
    pub fn fill(&self, directory: &Path, tree: &mut Tree) -> Result<()> {
        let files = [
            ("data/table", 2 * self.unit + 7),
            ("data/index", self.unit),
            ("data/deep/er/blob", self.unit / 3),
            ("empty", 0),
        ];
        for (name, length) in files {
            self.write(directory, Path::new(name), 0, length, tree)?;
        }
        Ok(())
    }

    /// Replaces a file durably: all of the new bytes or all of the old ones are there, whatever happens.
    fn write(&self, directory: &Path, name: &Path, generation: usize, length: usize, tree: &mut Tree) -> Result<()> {
        let content = bytes(&format!("{}/{}/{generation}", self.seed, name.display()), length);
        let path = directory.join(name);
        replace(&path, &content).with_context(|| format!("write {}", path.display()))?;
        tree.put(name, &content);
        Ok(())
    }
}

fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().context("a file has a directory above it")?;
    create_dir_all(parent)?;
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    rename(&draft, path)?;
    Ok(File::open(parent)?.sync_all()?)
}

/// Pseudo-random bytes that depend on nothing but the seed (SplitMix64).
fn bytes(seed: &str, length: usize) -> Vec<u8> {
    let digest = Sha256::digest(seed);
    let mut state = digest
        .iter()
        .take(8)
        .fold(0, |state, byte| (state << 8) | u64::from(*byte));
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend((word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A pod that goes on writing while something else happens; it stops when dropped.
pub struct Busy {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Result<Tree>>>,
}

impl Busy {
    /// Starts writing beneath `directory`, which holds `tree` now.
    pub fn start(workload: Workload, directory: PathBuf, mut tree: Tree) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicUsize::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            let mut generation = 0;
            while !stopped.load(Ordering::Relaxed) {
                let name = PathBuf::from(format!("journal/{}", generation % JOURNALS));
                workload.write(&directory, &name, generation, workload.unit / 4, &mut tree)?;
                generation += 1;
                count.store(generation, Ordering::Relaxed);
                std::thread::sleep(PAUSE);
            }
            Ok(tree)
        });
        Self {
            stop,
            written,
            thread: Some(thread),
        }
    }

    /// How many files have been written durably up to now.
    pub fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until `more` files are written; an error that stopped the pod ends the wait.
    pub async fn write_on(&mut self, more: usize) -> Result<()> {
        let goal = self.written() + more;
        while self.written() < goal {
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                self.join()?;
                return Err(anyhow!("the pod stopped writing"));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Stops the pod and tells what it has written.
    pub fn stop(mut self) -> Result<Tree> {
        self.join()
    }

    fn join(&mut self) -> Result<Tree> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the pod has stopped before")?;
        thread.join().map_err(|_| anyhow!("the pod panicked"))?
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Whoever cared about the outcome has called `stop`.
        drop(self.join());
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::{Busy, Tree, Workload, bytes};

    #[test]
    fn bytes_depend_on_the_seed_alone() {
        assert_eq!(bytes("a", 1000), bytes("a", 1000));
        assert_ne!(bytes("a", 1000), bytes("b", 1000));
        assert_eq!(bytes("a", 13).len(), 13);
        assert!(bytes("a", 0).is_empty());
    }

    #[test]
    fn a_pod_notes_what_is_on_the_disk() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let mut tree = Tree::default();
        Workload::new("shop/data-db-0", 10 << 30).fill(directory.path(), &mut tree)?;
        assert_eq!(Tree::read(directory.path())?, tree);
        Ok(())
    }

    #[test]
    fn a_small_volume_has_room_for_all_that_a_pod_writes() {
        let capacity = 1 << 20;
        let unit = Workload::new("claim", capacity).unit;
        let most = 4 * unit + super::JOURNALS * unit / 4 + unit;
        assert!(most < usize::try_from(capacity / 4).unwrap_or(0));
    }

    #[tokio::test]
    async fn a_busy_pod_notes_what_is_on_the_disk_when_it_stops() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let workload = Workload::new("shop/data-db-0", 1 << 20);
        let mut busy = Busy::start(workload, directory.path().to_owned(), Tree::default());
        busy.write_on(super::JOURNALS + 1).await?;
        let tree = busy.stop()?;
        assert_eq!(Tree::read(directory.path())?, tree);
        Ok(())
    }
}
