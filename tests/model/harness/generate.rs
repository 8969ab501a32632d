//! Random steps, of which most mean something and some do not.

use super::step::{Access, CLAIMS, CLASSES, Creation, FLAGS, Flaw, Mode, NAMES, Site, Step, Which};
use crate::common::random::Random;

const MODES: [Mode; 6] = [
    Mode::SingleNodeWriter,
    Mode::SingleNodeWriter,
    Mode::SingleNodeWriter,
    Mode::SingleNodeMultiWriter,
    Mode::SingleNodeSingleWriter,
    Mode::SingleNodeReaderOnly,
];
const UNSERVED: [Mode; 3] = [Mode::Unknown, Mode::MultiNodeReaderOnly, Mode::MultiNodeMultiWriter];

/// Makes steps.
pub struct Generator {
    pub random: Random,
    /// Whether volumes can be mounted.
    pub mounts: bool,
    /// How many names are used.
    pub names: usize,
    /// How often a volume has been written to.
    content: u32,
    /// The volume that the last step was about: the next one is often about it too.
    last: Which,
}

impl Generator {
    pub fn new(seed: u64, mounts: bool) -> Self {
        Self {
            random: Random::new(seed),
            mounts,
            names: NAMES.len(),
            content: 0,
            last: Which::Of { name: 0, attempt: 0 },
        }
    }

    fn one_of<T: Clone>(&mut self, things: &[T]) -> T {
        things[self.below(things.len())].clone()
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.within(0..end as u64) as usize
    }

    pub fn step(&mut self) -> Step {
        let kinds = if self.mounts { 30 } else { 17 };
        match self.below(kinds) {
            0..5 => Step::Create(self.creation()),
            5..8 => Step::Delete(self.which()),
            8..10 => Step::Undelete(self.which()),
            10 => Step::Get(self.which()),
            11 => Step::List(self.one_of(&[0, 0, 1, 2])),
            12 => match self.random.once_in(4) {
                true => Step::BadToken,
                false => Step::List(0),
            },
            13 => {
                let here = !self.random.once_in(5);
                Step::Capacity { here }
            }
            14 => Step::Validate {
                id: self.which(),
                accesses: self.accesses(),
                class: self.random.once_in(2).then(|| self.below(CLASSES.len())),
            },
            15..17 => {
                self.content += 1;
                let (id, content) = (self.which(), self.content);
                Step::Write { id, content }
            }
            17..29 => self.mount_step(),
            _ => Step::Obstruct(self.which()),
        }
    }

    fn mount_step(&mut self) -> Step {
        let id = self.which();
        let (staging, target, access) = (self.staging(id), self.target(), self.access());
        match self.below(12) {
            0..3 => Step::Stage { id, staging, access },
            3..7 => Step::Publish {
                id,
                staging,
                target,
                access,
                read_only: self.random.once_in(4),
            },
            7..9 => Step::Unpublish { id, target },
            9..11 => Step::Unstage { id, staging },
            _ => Step::Stats {
                id,
                path: if self.random.once_in(2) { target } else { staging },
            },
        }
    }

    /// A call that changes something if nothing is wrong with it.
    pub fn change(&mut self) -> Step {
        loop {
            let step = self.step();
            let changes = matches!(
                step,
                Step::Create(_)
                    | Step::Delete(_)
                    | Step::Undelete(_)
                    | Step::Stage { .. }
                    | Step::Publish { .. }
                    | Step::Unpublish { .. }
                    | Step::Unstage { .. }
            );
            if changes {
                return step;
            }
        }
    }

    pub fn which(&mut self) -> Which {
        match self.below(24) {
            0 => return Which::Unknown,
            1 => return self.one_of(&[Which::Malformed, Which::Empty]),
            2..13 => {}
            at => {
                self.last = Which::Of {
                    name: self.below(self.names),
                    attempt: u32::from(at < 16),
                }
            }
        }
        self.last
    }

    fn name(&mut self) -> usize {
        let name = self.below(self.names);
        self.last = Which::Of { name, attempt: 0 };
        name
    }

    pub fn creation(&mut self) -> Creation {
        let flaw = self.random.once_in(12).then(|| self.one_of(&Flaw::ALL));
        let accesses = match self.random.once_in(3) && flaw.is_none() {
            true => self.accesses(),
            false => vec![Access::new(Mode::SingleNodeWriter)],
        };
        let (required, limit) = match self.below(12) {
            0 if flaw.is_none() => (8, 4),
            0..2 => (0, 8),
            2 => (0, 0),
            3..5 => (16, 0),
            5..7 => (4, 12),
            _ => (8, 0),
        };
        Creation {
            name: self.name(),
            required,
            limit,
            accesses,
            class: self.one_of(&[0, 0, 1, 2, 2, 3, 4]),
            claim: (!self.random.once_in(3)).then(|| self.below(CLAIMS.len())),
            flaw,
        }
    }

    fn accesses(&mut self) -> Vec<Access> {
        let most = self.random.within(1..4);
        (0..most - u64::from(self.random.once_in(20)))
            .map(|_| self.access())
            .collect()
    }

    fn access(&mut self) -> Access {
        let unserved = self.random.once_in(24);
        Access {
            mode: if unserved {
                self.one_of(&UNSERVED)
            } else {
                self.one_of(&MODES)
            },
            flags: match self.random.once_in(3) {
                true => self.below(FLAGS.len()),
                false => 0,
            },
            block: self.random.once_in(40),
        }
    }

    /// Mostly the path that the volume has to itself and one other.
    fn staging(&mut self, id: Which) -> Site {
        match (self.below(12), id) {
            (0, _) => self.odd_site(),
            (1..10, Which::Of { name, .. }) => Site::Staging(name as u8 % 2),
            _ => Site::Staging(self.below(2) as u8),
        }
    }

    fn target(&mut self) -> Site {
        match self.below(12) {
            0 => self.odd_site(),
            at => Site::Target(at as u8 % 3),
        }
    }

    fn odd_site(&mut self) -> Site {
        self.one_of(&[
            Site::Staging(0),
            Site::Target(0),
            Site::File,
            Site::Link,
            Site::Full,
            Site::Parentless,
            Site::Outside,
            Site::Empty,
        ])
    }
}
