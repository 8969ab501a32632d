//! The floor: the system calls that a durable create cannot do without, and nothing else.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
    vec,
};

use anyhow::Context;
use nix::{
    fcntl::{OFlag, openat, renameat},
    sys::stat::{Mode, mkdirat},
    unistd::fsync,
};

use crate::{client::volume_name, figures::Sample};

/// About what a volume's record takes.
const RECORD: [u8; 400] = [b'.'; 400];

/// Two directories side by side, as in a pool: one of volumes, one of their records.
pub struct BarePool {
    volumes: File,
    records: File,
}

impl BarePool {
    /// Makes the two directories in a new directory `path`.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        let open = |name: &str| {
            let directory = path.join(name);
            fs::create_dir_all(&directory)
                .and_then(|()| File::open(&directory))
                .with_context(|| format!("make {}", directory.display()))
        };
        Ok(Self {
            volumes: open("volumes")?,
            records: open("records")?,
        })
    }

    /// Creates `operations` volumes, by as many threads as are to be in flight.
    pub fn measure(&self, in_flight: usize, operations: usize) -> anyhow::Result<Sample> {
        let names: Vec<String> = (0..operations).map(|_| volume_name()).collect();
        let queue = Mutex::new(names.into_iter());
        let started = Instant::now();
        let latencies = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..in_flight).map(|_| scope.spawn(|| self.work(&queue))).collect();
            let mut latencies = Vec::with_capacity(operations);
            for thread in threads {
                let outcome = thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
                latencies.extend(outcome?);
            }
            anyhow::Ok(latencies)
        })?;
        Ok(Sample::new(latencies, started.elapsed()))
    }

    fn work(&self, queue: &Mutex<vec::IntoIter<String>>) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(name) = next() {
            let started = Instant::now();
            self.create(&name).with_context(|| format!("create {name}"))?;
            latencies.push(started.elapsed());
        }
        Ok(latencies)
    }

    fn create(&self, name: &str) -> anyhow::Result<()> {
        let temporary = format!("{name}.tmp");
        mkdirat(&self.volumes, name, Mode::S_IRWXU)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut record = File::from(openat(&self.records, temporary.as_str(), flags, mode)?);
        record.write_all(&RECORD)?;
        fsync(&record)?;
        renameat(
            &self.records,
            temporary.as_str(),
            &self.records,
            format!("{name}.json").as_str(),
        )?;
        fsync(&self.records)?;
        Ok(())
    }
}
