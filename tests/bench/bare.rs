//! The floor: the system calls that a durable create, or a whole lifecycle, cannot do without, and nothing else.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::Context;
use nix::{
    fcntl::{OFlag, openat, renameat},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::{
        stat::{Mode, mkdirat},
        statvfs::statvfs,
    },
    unistd::{UnlinkatFlags, fsync, mkdir, unlinkat},
};

use crate::{client::volume_name, figures::Sample, lifecycle::Berth};

/// About what a volume's record takes.
const RECORD: [u8; 400] = [b'.'; 400];

/// Two directories side by side, as in a pool: one of volumes, one of their records.
pub struct BarePool {
    path: PathBuf,
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
            path: path.to_owned(),
            volumes: open("volumes")?,
            records: open("records")?,
        })
    }

    /// Creates `operations` volumes, by as many threads as are to be in flight.
    pub fn creates(&self, in_flight: usize, operations: usize) -> anyhow::Result<Sample> {
        let names: Vec<String> = (0..operations).map(|_| volume_name()).collect();
        in_threads(in_flight, names, |name| {
            self.create(&name).with_context(|| format!("create {name}"))
        })
    }

    /// Creates, mounts twice, looks at, unmounts and deletes a volume for each of `berths`.
    pub fn lifecycles(&self, in_flight: usize, berths: Vec<Berth>) -> anyhow::Result<Sample> {
        in_threads(in_flight, berths, |berth| {
            self.live(&berth).with_context(|| format!("live {}", berth.name))
        })
    }

    fn live(&self, berth: &Berth) -> anyhow::Result<()> {
        let Berth {
            name, staging, target, ..
        } = berth;
        self.create(name)?;
        self.stage(name, staging)?;
        self.publish(name, target)?;
        self.stats(target)?;
        self.unpublish(target)?;
        self.unstage(staging)?;
        self.delete(name)
    }

    pub fn stage(&self, name: &str, staging: &Path) -> anyhow::Result<()> {
        self.bind(name, staging)
    }

    fn bind(&self, name: &str, target: &Path) -> anyhow::Result<()> {
        let source = self.path.join("volumes").join(name);
        Ok(mount(
            Some(&source),
            target,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?)
    }

    pub fn publish(&self, name: &str, target: &Path) -> anyhow::Result<()> {
        mkdir(target, Mode::S_IRWXU)?;
        self.bind(name, target)
    }

    pub fn stats(&self, target: &Path) -> anyhow::Result<()> {
        statvfs(target)?;
        Ok(())
    }

    pub fn unpublish(&self, target: &Path) -> anyhow::Result<()> {
        umount2(target, MntFlags::UMOUNT_NOFOLLOW)?;
        Ok(fs::remove_dir(target)?)
    }

    pub fn unstage(&self, staging: &Path) -> anyhow::Result<()> {
        Ok(umount2(staging, MntFlags::UMOUNT_NOFOLLOW)?)
    }

    pub fn delete(&self, name: &str) -> anyhow::Result<()> {
        let (record, gone) = (format!("{name}.json"), format!("{name}.gone"));
        renameat(&self.records, record.as_str(), &self.records, gone.as_str())?;
        fsync(&self.records)?;
        unlinkat(&self.volumes, name, UnlinkatFlags::RemoveDir)?;
        unlinkat(&self.records, gone.as_str(), UnlinkatFlags::NoRemoveDir)?;
        Ok(())
    }

    pub fn create(&self, name: &str) -> anyhow::Result<()> {
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

/// Does `work` on each item, by so many threads.
fn in_threads<I: Send>(
    threads: usize,
    items: Vec<I>,
    work: impl Fn(I) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Sample> {
    let operations = items.len();
    let queue = Mutex::new(items.into_iter());
    let one_thread = || {
        let mut latencies = Vec::new();
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(item) = next() {
            let started = Instant::now();
            work(item)?;
            latencies.push(started.elapsed());
        }
        anyhow::Ok(latencies)
    };
    let started = Instant::now();
    let latencies = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one_thread)).collect();
        let mut latencies = Vec::with_capacity(operations);
        for thread in threads {
            let outcome = thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
            latencies.extend(outcome?);
        }
        anyhow::Ok(latencies)
    })?;
    Ok(Sample::new(latencies, started.elapsed()))
}
