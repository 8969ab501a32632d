//! The capabilities of this process, and giving them up for good (capabilities(7)).

use std::io;

use nix::errno::Errno;
use nix::libc;

/// A set of capabilities, each the bit of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(pub u64);

/// `#define CAP_CHOWN 0`
pub const CHOWN: u32 = 0;
/// `#define CAP_DAC_OVERRIDE 1`
pub const DAC_OVERRIDE: u32 = 1;
/// `#define CAP_FOWNER 3`
pub const FOWNER: u32 = 3;
/// `#define CAP_FSETID 4`
pub const FSETID: u32 = 4;
/// `#define CAP_LINUX_IMMUTABLE 9`
pub const LINUX_IMMUTABLE: u32 = 9;
/// `#define CAP_SYS_ADMIN 21`
pub const SYS_ADMIN: u32 = 21;

/// `#define _LINUX_CAPABILITY_VERSION_3 0x20080522`
const VERSION_3: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct` (linux/capability.h)
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`, of which there are two: the lower and the upper 32 bits.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl Capabilities {
    /// The set of these capabilities.
    pub fn of(numbers: &[u32]) -> Self {
        Self(numbers.iter().fold(0, |set, number| set | 1 << number))
    }

    fn holds(self, number: u32) -> bool {
        self.0 >> number & 1 == 1
    }
}

/// Gives up every capability of this thread that is not in `kept`, in all five sets. What it does not
/// hold it does not get. To be called before the first thread starts: threads inherit it.
///
/// The bounding set shrinks only if the process may do that (CAP_SETPCAP); without that capability it
/// holds nothing that a further program could make use of against the will of whoever started it.
pub fn keep_only(kept: Capabilities) -> io::Result<()> {
    for number in (0..u64::BITS).filter(|number| !kept.holds(*number)) {
        match prctl(libc::PR_CAPBSET_DROP, number.into()) {
            // EINVAL: the kernel knows no capability of that number, nor one of a higher one.
            Err(Errno::EINVAL | Errno::EPERM) => break,
            other => other?,
        }
    }
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong)?;
    let mut sets = get()?;
    for (set, kept) in sets.iter_mut().zip([kept.0, kept.0 >> 32]) {
        set.permitted &= u32::try_from(kept & u64::from(u32::MAX)).unwrap_or_default();
        set.effective = set.permitted;
        set.inheritable = 0;
    }
    set(&sets)
}

fn prctl(operation: libc::c_int, argument: libc::c_ulong) -> nix::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: these operations take numbers only.
    #[expect(unsafe_code, reason = "these operations of prctl have no safe wrapper")]
    let result = unsafe { libc::prctl(operation, argument, zero, zero, zero) };
    Errno::result(result).map(drop)
}

const THIS_THREAD: Header = Header {
    version: VERSION_3,
    pid: 0,
};

#[expect(unsafe_code, reason = "capget has no safe wrapper")]
fn get() -> io::Result<[Data; 2]> {
    let (mut header, mut sets) = (THIS_THREAD, [Data::default(); 2]);
    // SAFETY: version 3 has two structures of data, which is as many as there are.
    super::check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    Ok(sets)
}

#[expect(unsafe_code, reason = "capset has no safe wrapper")]
fn set(sets: &[Data; 2]) -> io::Result<()> {
    let mut header = THIS_THREAD;
    // SAFETY: version 3 has two structures of data, which is as many as there are.
    super::check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) })?;
    Ok(())
}
