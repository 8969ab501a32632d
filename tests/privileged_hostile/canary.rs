//! A directory that nothing may touch, beside the pool and the kubelet's directory.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::common::disk::{mounts_beneath, tree};

pub struct Canary {
    path: PathBuf,
    before: String,
}

impl Canary {
    /// Makes it at `path`, with all that could tempt: a volume's directories, files, links.
    pub fn new(path: PathBuf) -> Self {
        std::fs::create_dir_all(path.join("empty")).unwrap();
        std::fs::create_dir_all(path.join("inner/deep")).unwrap();
        std::fs::write(path.join("inner/file"), "sings").unwrap();
        std::fs::write(path.join("inner/deep/set-user-id"), "sings").unwrap();
        std::fs::set_permissions(path.join("inner/deep/set-user-id"), PermissionsExt::from_mode(0o6755)).unwrap();
        symlink("/etc", path.join("inner/link")).unwrap();
        let mut canary = Self {
            path,
            before: String::new(),
        };
        canary.sings();
        canary
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is there now is how it has to stay.
    pub fn sings(&mut self) {
        self.before = tree(&self.path);
    }

    /// Fails if anything about it changed since, or something is mounted on it.
    #[track_caller]
    pub fn check(&self, after: impl std::fmt::Debug) {
        let mounts = mounts_beneath(&self.path);
        assert!(mounts.is_empty(), "mounted on after {after:?}: {mounts:?}");
        assert_eq!(tree(&self.path), self.before, "touched after {after:?}");
    }
}
