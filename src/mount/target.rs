//! Paths at which the kubelet wants volumes: always beneath its own directory.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::Error;
use crate::sys::beneath;
use crate::volume::shorten;

/// The kubelet's directory (`--kubelet-dir`).
#[derive(Debug, Clone)]
pub struct KubeletDir(PathBuf);

impl KubeletDir {
    /// Accepts an absolute path without `.` and `..`.
    pub fn new(path: &Path) -> Result<Self, Error> {
        let text = path.to_string_lossy();
        match check(&text) {
            Ok(()) => Ok(Self(path.to_owned())),
            Err(problem) => Err(Error::Path {
                path: shorten(&text),
                problem: problem.to_owned(),
            }),
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Accepts a path of the kubelet's: absolute, beneath this directory, without `.`, `..` and
    /// empty components.
    pub fn target(&self, path: &str) -> Result<TargetPath, Error> {
        let refuse = |problem: String| Error::Path {
            path: shorten(path),
            problem,
        };
        check(path).map_err(|problem| refuse(problem.to_owned()))?;
        let relative = Path::new(path)
            .strip_prefix(&self.0)
            .ok()
            .filter(|relative| !relative.as_os_str().is_empty())
            .ok_or_else(|| {
                refuse(format!(
                    "is not beneath the kubelet's directory {} (see --kubelet-dir)",
                    self.0.display()
                ))
            })?;
        let (Some(parent), Some(name)) = (relative.parent(), relative.file_name()) else {
            return Err(refuse("names no directory".to_owned()));
        };
        Ok(TargetPath {
            absolute: self.0.join(relative),
            relative: relative.to_owned(),
            parent: parent.to_owned(),
            name: PathBuf::from(name),
        })
    }
}

fn check(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("is not absolute");
    }
    if path.len() >= 4096 {
        return Err("is longer than the system allows");
    }
    if path.contains('\0') {
        return Err("holds a NUL");
    }
    let normal = |component| matches!(component, Component::RootDir | Component::Normal(_));
    // Path::components hides `.` and double slashes; comparing the rebuilt path shows them.
    let rebuilt: PathBuf = Path::new(path).components().collect();
    if !Path::new(path).components().all(normal) || rebuilt.as_os_str() != path.trim_end_matches('/') && path != "/" {
        return Err("is not in plain form: it has an empty component, . or ..");
    }
    Ok(())
}

/// A path beneath the kubelet's directory, parsed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetPath {
    absolute: PathBuf,
    relative: PathBuf,
    parent: PathBuf,
    name: PathBuf,
}

impl TargetPath {
    /// The whole path.
    pub fn path(&self) -> &Path {
        &self.absolute
    }

    /// The path beneath the kubelet's directory.
    pub(super) fn relative(&self) -> &Path {
        &self.relative
    }

    /// The last component.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Opens the directory that the target is in, beneath `kubelet`, through no symbolic link.
    pub(super) fn open_parent(&self, kubelet: &OwnedFd) -> nix::Result<OwnedFd> {
        if self.parent.as_os_str().is_empty() {
            return kubelet.try_clone().map_err(|_| Errno::EMFILE);
        }
        beneath::open_across_mounts(kubelet, &self.parent, OFlag::O_PATH | OFlag::O_DIRECTORY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_beneath_the_kubelets_directory_are_targets() {
        let kubelet = KubeletDir::new(Path::new("/var/lib/kubelet")).expect("plain");
        let target = kubelet.target("/var/lib/kubelet/pods/1/mount").expect("beneath");
        assert_eq!(target.name(), Path::new("mount"));
        let trailing = kubelet.target("/var/lib/kubelet/mount/").expect("beneath");
        assert_eq!(trailing.path().as_os_str(), "/var/lib/kubelet/mount");
        for bad in [
            "",
            "pods/1",
            "/",
            "/var/lib/kubelet",
            "/var/lib/kubelet/",
            "/var/lib/kubelet2/x",
            "/var/lib/kubelet/../x",
            "/var/lib/kubelet/a/../../x",
            "/var/lib/kubelet/./x",
            "/var/lib/kubelet//x",
            "/var/lib/kubelet/x\0",
            "/etc/passwd",
            &format!("/var/lib/kubelet/{}", "x".repeat(4096)),
        ] {
            assert!(kubelet.target(bad).is_err(), "{bad:?}");
        }
        assert!(KubeletDir::new(Path::new("relative")).is_err());
    }
}
