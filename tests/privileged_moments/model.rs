//! The reference: what every step makes of a volume, and what may be found when it was interrupted.

/// Everything about one volume that outlives the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    pub record: Record,
    /// What is in `volumes/`.
    pub home: Data,
    /// What is in the trash.
    pub trash: Data,
    /// Whether the claim's link is there.
    pub link: bool,
    /// Whether it is mounted at its staging path.
    pub staged: bool,
    pub target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Record {
    #[default]
    None,
    Live,
    /// Deleted, and the trash keeps it.
    Kept,
    Purging,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Data {
    /// There is no directory.
    #[default]
    None,
    Empty,
    /// Everything that was written, byte for byte.
    Whole,
    /// Some of it.
    Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    #[default]
    None,
    /// A directory at which nothing is mounted.
    Directory,
    Mounted,
}

/// What is done with a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Create,
    /// Somebody writes files into it.
    Fill,
    Stage,
    Publish,
    Unpublish,
    Unstage,
    /// The trash keeps nothing.
    Delete,
    /// The trash keeps the data.
    DeleteAndKeep,
    Undelete,
}

impl State {
    /// What the step makes of it.
    pub fn after(self, step: Step) -> Self {
        match step {
            Step::Create => Self {
                record: Record::Live,
                home: Data::Empty,
                link: true,
                ..self
            },
            Step::Fill => Self {
                home: Data::Whole,
                ..self
            },
            Step::Stage => Self { staged: true, ..self },
            Step::Publish => Self {
                target: Target::Mounted,
                ..self
            },
            Step::Unpublish => Self {
                target: Target::None,
                ..self
            },
            Step::Unstage => Self { staged: false, ..self },
            Step::Delete => Self {
                record: Record::None,
                home: Data::None,
                link: false,
                ..self
            },
            Step::DeleteAndKeep => Self {
                record: Record::Kept,
                home: Data::None,
                trash: self.home,
                link: false,
                ..self
            },
            Step::Undelete => Self {
                record: Record::Live,
                home: self.trash,
                trash: Data::None,
                link: true,
                ..self
            },
        }
    }

    pub fn after_all(self, steps: &[Step]) -> Self {
        steps.iter().fold(self, |state, step| state.after(*step))
    }

    /// What is wrong with finding this where a step was interrupted that leads from `before` to
    /// `after`. The record is that of the one or the other, or that of a deletion on its way; what it
    /// speaks of is there in full, in one place; everything else is as it was or as it is to be.
    pub fn wrong_between(&self, before: &Self, after: &Self) -> Option<&'static str> {
        let purges = before.record != Record::None && after.record == Record::None;
        let found = [before.record, after.record];
        let is_purging = purges && self.record == Record::Purging;
        if !is_purging && !found.contains(&self.record) {
            return Some("the record is that of a third state");
        }
        let data = if before.record == Record::None { after } else { before };
        let data = [data.home, data.trash].into_iter().find(|data| *data != Data::None);
        let places = [self.home, self.trash];
        let is_there = data.is_none_or(|data| places.contains(&data)) && places.contains(&Data::None);
        // A start may find that, and mends it.
        let was_lost = before.record == Record::Live && before.home == Data::None;
        match self.record {
            Record::Live if self.home == Data::None && !was_lost => return Some("a volume is without its directory"),
            Record::Live | Record::Kept if !is_there => return Some("what the record speaks of is not there"),
            Record::None if !matches!(self.home, Data::None | Data::Empty) => {
                return Some("there is data and no record");
            }
            Record::None if self.trash != Data::None && self.trash != before.trash => {
                return Some("the trash holds what no record explains");
            }
            Record::Purging if !places.contains(&Data::None) => return Some("the data is in two places"),
            _ => {}
        }
        let link = [before.link, after.link].contains(&self.link);
        let staged = [before.staged, after.staged].contains(&self.staged);
        // It is made before anything is mounted at it, and removed after.
        let target = [before.target, after.target].contains(&self.target)
            || before.target != after.target && self.target == Target::Directory;
        match (link, staged, target) {
            (false, ..) => Some("the claim's link is neither as it was nor as it is to be"),
            (_, false, _) => Some("the staging path is neither as it was nor as it is to be"),
            (.., false) => Some("the target is neither as it was nor as it is to be"),
            _ => None,
        }
    }

    /// What an agent has to make of it at its start when a step was interrupted here that leads from
    /// `before` to `after`: the one or the other, as the record says. Mounts stay as they are.
    pub fn settled(&self, before: &Self, after: &Self) -> Self {
        let settled = if self.record == before.record { before } else { after };
        Self {
            staged: self.staged,
            target: self.target,
            ..*settled
        }
    }
}
