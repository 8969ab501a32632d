//! What is in a directory tree, as one SHA-256.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// A SHA-256, shown by its first 12 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Checksum([u8; 32]);

impl Checksum {
    fn of(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(6) {
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The content of a tree: each path beneath its root and what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Directory,
    File {
        length: u64,
        content: Checksum,
    },
    /// Nothing that the demo's pods make, so its kind is all that counts.
    Other(String),
}

impl Tree {
    /// Reads the tree beneath a directory.
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        let mut pending = vec![PathBuf::new()];
        while let Some(directory) = pending.pop() {
            let path = root.join(&directory);
            let context = || format!("read {}", path.display());
            for item in std::fs::read_dir(&path).with_context(context)? {
                let item = item.with_context(context)?;
                let name = directory.join(item.file_name());
                let kind = item.file_type().with_context(context)?;
                let entry = if kind.is_dir() {
                    pending.push(name.clone());
                    Entry::Directory
                } else if kind.is_file() {
                    let path = item.path();
                    file(&std::fs::read(&path).with_context(|| format!("read {}", path.display()))?)
                } else {
                    Entry::Other(format!("{kind:?}"))
                };
                tree.entries.insert(name, entry);
            }
        }
        Ok(tree)
    }

    /// Adds a file and the directories above it, or replaces it.
    pub fn put(&mut self, path: &Path, content: &[u8]) {
        let above = path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
        self.entries
            .extend(above.map(|directory| (directory.to_owned(), Entry::Directory)));
        self.entries.insert(path.to_owned(), file(content));
    }

    /// One checksum over every path, kind, length and byte.
    pub fn checksum(&self) -> Checksum {
        let mut hasher = Sha256::new();
        for (path, entry) in &self.entries {
            // The lengths keep two different trees from being written down the same way.
            hasher.update((path.as_os_str().len() as u64).to_le_bytes());
            hasher.update(path.as_os_str().as_bytes());
            match entry {
                Entry::Directory => hasher.update(b"d"),
                Entry::File { length, content } => {
                    hasher.update(b"f");
                    hasher.update(length.to_le_bytes());
                    hasher.update(content.0);
                }
                Entry::Other(kind) => {
                    hasher.update(b"o");
                    hasher.update((kind.len() as u64).to_le_bytes());
                    hasher.update(kind);
                }
            }
        }
        Checksum::of(hasher)
    }

    /// The first path that `other` has differently, and how.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let paths: std::collections::BTreeSet<_> = self.entries.keys().chain(other.entries.keys()).collect();
        paths.into_iter().find_map(|path| {
            let what = match (self.entries.get(path), other.entries.get(path)) {
                (before, after) if before == after => return None,
                (Some(_), None) => "is gone",
                (None, Some(_)) => "is new",
                _ => "has changed",
            };
            Some(format!("{} {what}", path.display()))
        })
    }
}

fn file(content: &[u8]) -> Entry {
    Entry::File {
        length: content.len() as u64,
        content: Checksum::of(Sha256::new_with_prefix(content)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::Result;

    use super::Tree;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, content) in files {
            tree.put(Path::new(path), content.as_bytes());
        }
        tree
    }

    #[test]
    fn what_was_written_is_what_is_read() -> Result<()> {
        let root = tempfile::tempdir()?;
        std::fs::create_dir_all(root.path().join("a/b"))?;
        std::fs::write(root.path().join("a/b/file"), "content")?;
        std::fs::write(root.path().join("empty"), "")?;
        let expected = tree(&[("empty", ""), ("a/b/file", "content")]);
        let read = Tree::read(root.path())?;
        assert_eq!(read, expected);
        assert_eq!(read.checksum(), expected.checksum());
        assert_eq!(read.difference(&expected), None);
        Ok(())
    }

    #[test]
    fn every_change_changes_the_checksum_and_is_named() {
        let before = tree(&[("a/x", "1"), ("b", "22")]);
        let table = [
            (tree(&[("a/x", "1"), ("b", "23")]), "b has changed"),
            (tree(&[("a/x", "1"), ("b", "222")]), "b has changed"),
            (tree(&[("a/x", "1")]), "b is gone"),
            (tree(&[("a/x", "1"), ("b", "22"), ("c", "")]), "c is new"),
            (tree(&[("a/y", "1"), ("b", "22")]), "a/x is gone"),
            (tree(&[("a", "1"), ("b", "22")]), "a has changed"),
        ];
        for (after, difference) in table {
            assert_ne!(before.checksum(), after.checksum(), "{difference}");
            assert_eq!(before.difference(&after).as_deref(), Some(difference));
        }
    }

    #[test]
    fn a_symbolic_link_is_not_followed() -> Result<()> {
        let root = tempfile::tempdir()?;
        std::fs::write(root.path().join("file"), "content")?;
        let before = Tree::read(root.path())?;
        std::os::unix::fs::symlink("file", root.path().join("link"))?;
        let after = Tree::read(root.path())?;
        assert_eq!(before.difference(&after).as_deref(), Some("link is new"));
        Ok(())
    }
}
