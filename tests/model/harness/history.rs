//! A history: calls one after the other, and what happens to the agent and its node meanwhile.

use nix::errno::Errno;

use super::generate::Generator;
use super::step::{Step, Which};
use crate::common::tracer::Act;

/// What happens next.
#[derive(Debug, Clone)]
pub enum Event {
    /// A call, on a sound node.
    Call(Step),
    /// A call on a disk that is read-only, or full.
    OnBadDisk(BadDisk, Step),
    /// A call in which a system call fails, and what the caller does then.
    Fault {
        step: Step,
        at: u64,
        fault: Fault,
        then: Then,
    },
    /// A call in which the agent is killed, and maybe its successors when they start.
    Crash {
        step: Step,
        at: u64,
        after: bool,
        stumbles: Vec<Stumble>,
    },
    /// The agent ends and starts again.
    Restart { how: End, stumbles: Vec<Stumble> },
    /// The disk is away for the time of a call.
    DiskAway(Step),
    /// The agent starts on a damaged record, or on a mended one.
    Damage(Which, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadDisk {
    ReadOnly,
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Fails(Errno),
    Shortened,
}

/// What a caller does when a call has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It calls again.
    Again,
    /// The agent is killed before anybody calls again.
    Kill,
}

/// A start of the agent that does not go well: a system call fails, or the agent is killed at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stumble {
    pub at: u64,
    /// SIGKILL without one.
    pub errno: Option<Errno>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Kill,
    Terminate,
    /// The disk is taken away and put back in between.
    Remount,
}

const ERRNOS: [Errno; 4] = [Errno::EIO, Errno::ENOSPC, Errno::EROFS, Errno::EINTR];
/// The calls of a step that change something are hardly more.
const CALLS: u64 = 16;
/// The calls of a start are hardly more.
const START_CALLS: u64 = 40;

impl Fault {
    pub fn act(self) -> Act {
        match self {
            Self::Fails(errno) => Act::Fail(errno),
            Self::Shortened => Act::Shorten,
        }
    }
}

impl Stumble {
    pub fn act(self) -> Act {
        self.errno.map_or(Act::KillBefore, Act::Fail)
    }
}

/// A history of so many events.
pub fn history(generator: &mut Generator, length: usize) -> Vec<Event> {
    (0..length).map(|_| event(generator)).collect()
}

fn event(generator: &mut Generator) -> Event {
    let mounts = generator.mounts;
    match generator.random.within(0..40) {
        0..4 => Event::Fault {
            step: generator.change(),
            at: generator.random.within(1..CALLS),
            fault: match generator.random.within(0..5) {
                4 => Fault::Shortened,
                at => Fault::Fails(ERRNOS[at as usize]),
            },
            then: if generator.random.once_in(3) {
                Then::Kill
            } else {
                Then::Again
            },
        },
        4..7 => Event::Crash {
            step: generator.change(),
            at: generator.random.within(1..CALLS),
            after: generator.random.once_in(2),
            stumbles: stumbles(generator),
        },
        7 => Event::Restart {
            how: match generator.random.within(0..4) {
                0 => End::Terminate,
                1 | 2 if mounts => End::Remount,
                _ => End::Kill,
            },
            stumbles: stumbles(generator),
        },
        8 if generator.random.once_in(2) => {
            let damaged = !generator.random.once_in(3);
            Event::Damage(generator.which(), damaged)
        }
        9 | 10 if mounts => {
            let disk = if generator.random.once_in(2) {
                BadDisk::ReadOnly
            } else {
                BadDisk::Full
            };
            Event::OnBadDisk(disk, volume_change(generator))
        }
        11 if mounts && generator.random.once_in(3) => Event::DiskAway(volume_change(generator)),
        _ => Event::Call(generator.step()),
    }
}

fn volume_change(generator: &mut Generator) -> Step {
    loop {
        let step = generator.change();
        if matches!(step, Step::Create(_) | Step::Delete(_) | Step::Undelete(_)) {
            return step;
        }
    }
}

fn stumbles(generator: &mut Generator) -> Vec<Stumble> {
    let random = &mut generator.random;
    let mut stumbles = Vec::new();
    while random.once_in(3) {
        let errno = random.once_in(2).then(|| ERRNOS[random.within(0..4) as usize]);
        stumbles.push(Stumble {
            at: random.within(1..START_CALLS),
            errno,
        });
    }
    stumbles
}
