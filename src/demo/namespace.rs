//! A mount namespace of the demo's own, so that its mounts touch nothing and die with it.

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

const ADVICE: &str = "the demo mounts its volumes in a namespace of its own, and this machine doesn't allow that. \
Run it as root (sudo berth demo), or let users have namespaces: \
sysctl user.max_user_namespaces=10000, on Debian also kernel.unprivileged_userns_clone=1, \
on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0. In a container: --privileged";

/// Moves the process into a mount namespace of its own, and an ordinary user into a user namespace where it is root.
///
/// To be called before the first thread starts: the kernel refuses a process with threads (user_namespaces(7)).
pub fn enter() -> Result<()> {
    // Root in a container may lack CAP_SYS_ADMIN, and is an ordinary user then.
    if unshare(CloneFlags::CLONE_NEWNS).is_err() {
        become_root().context(ADVICE)?;
    }
    // Else a mount in here would show up outside too, wherever / is shared.
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .context("make / private")
        .context(ADVICE)
}

fn become_root() -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).context("unshare")?;
    // Without this, the kernel takes no group map from an ordinary user.
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", &format!("0 {gid} 1"))
}

fn write(path: &str, content: &str) -> Result<()> {
    std::fs::write(path, content).with_context(|| format!("write {content:?} to {path}"))
}
