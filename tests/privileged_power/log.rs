//! The log that dm-log-writes keeps of a disk (`Documentation/admin-guide/device-mapper/log-writes.rst`).
//!
//! A write is in it when a flush came after it, or at once if it was a write that had to be durable
//! (FUA). So a prefix that ends at either is what a disk with a volatile cache holds for sure when the
//! power goes at that moment: what was not flushed is not in it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = 0x6a73_6677_7368_72;
const VERSION: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// Bytes of the numbers before an entry's data.
const HEADER: usize = 32;

/// What was done to the disk, in order.
pub struct Log {
    file: File,
    sector_size: u64,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
pub enum Entry {
    Write(Extent),
    /// A write that was durable before it was told to be done.
    DurableWrite(Extent),
    Discard(Extent),
    /// Everything before it is durable.
    Flush,
    Mark(String),
}

/// Sectors of the disk, and where in the log their content is.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    sector: u64,
    pub sectors: u64,
    at: u64,
}

impl Extent {
    /// The first sectors of it.
    pub fn first(self, sectors: u64) -> Self {
        Self { sectors, ..self }
    }
}

impl Log {
    pub fn read(path: &Path) -> Self {
        let file = File::open(path).expect("the log");
        let superblock = numbers(&file, 0);
        let [magic, version, count, sector_size] = superblock;
        assert_eq!((magic, version), (MAGIC, VERSION), "{} is no log", path.display());
        // A number of 32 bits, with nothing said of what comes after it.
        let sector_size = sector_size & u64::from(u32::MAX);
        let mut log = Self {
            file,
            sector_size,
            entries: Vec::new(),
        };
        let mut at = sector_size;
        for _ in 0..count {
            let (entry, next) = log.entry(at);
            log.entries.push(entry);
            at = next;
        }
        log
    }

    /// The entry at a byte of the log, and where the next one begins.
    fn entry(&self, at: u64) -> (Entry, u64) {
        let [sector, sectors, flags, length] = numbers(&self.file, at);
        let after = at + self.sector_size;
        let extent = Extent {
            sector,
            sectors,
            at: after,
        };
        let entry = if flags & MARK != 0 {
            let mut text = vec![0; length as usize];
            self.file.read_exact_at(&mut text, at + HEADER as u64).expect("a mark");
            Entry::Mark(String::from_utf8(text).expect("a mark of ours"))
        } else if flags & DISCARD != 0 {
            return (Entry::Discard(extent), after);
        } else if sectors == 0 {
            Entry::Flush
        } else if flags & FUA != 0 {
            Entry::DurableWrite(extent)
        } else {
            Entry::Write(extent)
        };
        (entry, after + sectors * self.sector_size)
    }

    /// Does to `disk` what was done then.
    pub fn apply(&self, entry: &Entry, disk: &File) {
        match entry {
            Entry::Write(extent) | Entry::DurableWrite(extent) => self.write(*extent, disk),
            Entry::Discard(extent) => {
                let zeros = vec![0; (extent.sectors * self.sector_size) as usize];
                disk.write_all_at(&zeros, extent.sector * self.sector_size)
                    .expect("write");
            }
            Entry::Flush | Entry::Mark(_) => {}
        }
    }

    pub fn write(&self, extent: Extent, disk: &File) {
        let mut bytes = vec![0; (extent.sectors * self.sector_size) as usize];
        self.file.read_exact_at(&mut bytes, extent.at).expect("the log goes on");
        disk.write_all_at(&bytes, extent.sector * self.sector_size)
            .expect("write");
    }
}

/// Four little-endian numbers.
fn numbers(file: &File, at: u64) -> [u64; 4] {
    let mut bytes = [0; HEADER];
    file.read_exact_at(&mut bytes, at).expect("the log goes on");
    let mut numbers = bytes
        .chunks_exact(8)
        .map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()));
    std::array::from_fn(|_| numbers.next().unwrap())
}
