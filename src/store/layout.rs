//! The names of everything in a pool, in one place.

/// The pool file.
pub const POOL_FILE: &str = "berth.json";
/// Berth's own directory.
pub const PRIVATE: &str = ".berth";
/// Held with flock(2) while a process owns the pool.
pub const LOCK: &str = ".berth/lock";
/// Space set aside so that a deletion can be recorded on a full disk.
pub const BALLAST: &str = ".berth/ballast";
/// Bytes of the ballast.
pub const BALLAST_BYTES: i64 = 1 << 20;
/// What mkfs leaves in a new file system; not counted as content.
pub const LOST_AND_FOUND: &str = "lost+found";

/// A directory of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// One record per volume: the truth.
    Records,
    /// Half-made things, emptied at start.
    Staging,
    /// Deleted things that wait for the reaper.
    Trash,
    /// One directory per volume.
    Volumes,
    /// Symbolic links for people.
    ByClaim,
}

impl Area {
    /// Every area, in the order in which a new pool gets them.
    pub const ALL: [Self; 5] = [Self::Records, Self::Staging, Self::Trash, Self::Volumes, Self::ByClaim];

    /// The path beneath the pool's root.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Records => ".berth/records",
            Self::Staging => ".berth/staging",
            Self::Trash => ".berth/trash",
            Self::Volumes => "volumes",
            Self::ByClaim => "by-claim",
        }
    }

    /// The permission bits of the directory: data is for root alone to walk into.
    pub const fn mode(self) -> u32 {
        match self {
            Self::ByClaim => 0o755,
            _ => 0o700,
        }
    }
}
