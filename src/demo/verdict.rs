//! Whether a volume is what it was.

use std::fmt;
use std::path::PathBuf;

use super::tree::Tree;

/// A volume at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Where its directory is on the node.
    pub host_path: PathBuf,
    /// What is in it.
    pub tree: Tree,
}

/// How a volume compares with what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The same path and the same bytes.
    Same,
    /// It is somewhere else.
    Moved(PathBuf),
    /// Something in it is different.
    Changed(String),
    /// It can't be looked at.
    Lost(String),
}

impl Verdict {
    /// Compares a volume with what it was; an `after` that couldn't be had says why.
    pub fn of(before: &State, after: &Result<State, String>) -> Self {
        let after = match after {
            Ok(after) => after,
            Err(reason) => return Self::Lost(reason.clone()),
        };
        if before.host_path != after.host_path {
            return Self::Moved(after.host_path.clone());
        }
        match before.tree.difference(&after.tree) {
            Some(difference) => Self::Changed(difference),
            None => Self::Same,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => formatter.write_str("same"),
            Self::Moved(path) => write!(formatter, "MOVED to {}", path.display()),
            Self::Changed(difference) => write!(formatter, "CHANGED: {difference}"),
            Self::Lost(reason) => write!(formatter, "LOST: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use anyhow::Result;

    use super::{State, Tree, Verdict};

    fn state(path: &Path) -> Result<State> {
        Ok(State {
            host_path: path.to_owned(),
            tree: Tree::read(path)?,
        })
    }

    #[test]
    fn one_byte_is_noticed() -> Result<()> {
        let volume = tempfile::tempdir()?;
        let file = volume.path().join("table");
        std::fs::write(&file, "berth")?;
        let before = state(volume.path())?;
        assert_eq!(Verdict::of(&before, &Ok(state(volume.path())?)), Verdict::Same);
        std::fs::write(&file, "birth")?;
        let verdict = Verdict::of(&before, &Ok(state(volume.path())?));
        assert_eq!(verdict.to_string(), "CHANGED: table has changed");
        Ok(())
    }

    #[test]
    fn another_path_is_noticed_though_the_bytes_are_the_same() -> Result<()> {
        let volume = tempfile::tempdir()?;
        let before = state(volume.path())?;
        let elsewhere = State {
            host_path: PathBuf::from("/elsewhere"),
            ..before.clone()
        };
        let verdict = Verdict::of(&before, &Ok(elsewhere));
        assert_eq!(verdict.to_string(), "MOVED to /elsewhere");
        Ok(())
    }

    #[test]
    fn a_volume_that_is_gone_is_noticed() -> Result<()> {
        let before = state(tempfile::tempdir()?.path())?;
        let verdict = Verdict::of(&before, &Err("no such directory".to_owned()));
        assert_eq!(verdict.to_string(), "LOST: no such directory");
        Ok(())
    }
}
