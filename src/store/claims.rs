//! `by-claim/<namespace>/<claim>`: links for people. Berth writes and never follows them.

use std::os::fd::OwnedFd;
use std::sync::PoisonError;

use nix::errno::Errno;
use nix::fcntl::{readlinkat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use super::layout::Area;
use super::{Error, Store};
use crate::sys::beneath;
use crate::volume::{Claim, VolumeId};

impl Store {
    /// Points the link of `claim` to the volume `id`, replacing one that points elsewhere.
    pub fn link_claim(&self, claim: &Claim, id: &VolumeId) -> Result<(), Error> {
        let path = || self.path_of(Area::ByClaim, &claim.to_string());
        let _held = self.claim_links.lock().unwrap_or_else(PoisonError::into_inner);
        let target = target(id);
        let directory = self
            .claim_namespace(claim)
            .map_err(|errno| Error::io("open the directory of", path(), errno))?;
        if readlinkat(&directory, &*claim.name).is_ok_and(|found| found == *target) {
            return Ok(());
        }
        let temporary = format!("link-{id}");
        let _ = unlinkat(self.area(Area::Staging), temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        symlinkat(target.as_str(), self.area(Area::Staging), temporary.as_str())
            .and_then(|()| renameat(self.area(Area::Staging), temporary.as_str(), &directory, &*claim.name))
            .map_err(|errno| {
                let _ = unlinkat(self.area(Area::Staging), temporary.as_str(), UnlinkatFlags::NoRemoveDir);
                Error::io("link", path(), errno)
            })
    }

    /// Removes the link of `claim` if it points to the volume `id`.
    pub fn unlink_claim(&self, claim: &Claim, id: &VolumeId) -> Result<(), Error> {
        let path = || self.path_of(Area::ByClaim, &claim.to_string());
        let _held = self.claim_links.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = match beneath::open_directory(self.area(Area::ByClaim), &*claim.namespace) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other.map_err(|errno| Error::io("open the directory of", path(), errno))?,
        };
        if readlinkat(&directory, &*claim.name).is_ok_and(|found| found == *target(id)) {
            unlinkat(&directory, &*claim.name, UnlinkatFlags::NoRemoveDir)
                .map_err(|errno| Error::io("unlink", path(), errno))?;
        }
        // It stays as long as other claims of the namespace have links in it. An interrupted call may
        // have left it without any.
        let _ = unlinkat(self.area(Area::ByClaim), &*claim.namespace, UnlinkatFlags::RemoveDir);
        Ok(())
    }

    fn claim_namespace(&self, claim: &Claim) -> nix::Result<OwnedFd> {
        let parent = self.area(Area::ByClaim);
        match beneath::open_directory(parent, &*claim.namespace) {
            Err(Errno::ENOENT) => {
                match mkdirat(parent, &*claim.namespace, Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
                beneath::open_directory(parent, &*claim.namespace)
            }
            other => other,
        }
    }
}

fn target(id: &VolumeId) -> String {
    format!("../../{}/{id}", Area::Volumes.path())
}
