//! What clients asked for and what they were told. From it follows what a disk may hold.

use std::collections::BTreeMap;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A pool.
    Init,
    Create,
    /// What a database does before it says "committed". The agent has no part in it.
    Write,
    Delete,
    Undelete,
}

impl Call {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Init, "init"),
        (Self::Create, "create"),
        (Self::Write, "write"),
        (Self::Delete, "delete"),
        (Self::Undelete, "undelete"),
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Absent,
    Live { written: bool },
    Deleted { written: bool },
}

impl State {
    fn after(self, call: Call) -> Self {
        match (call, self) {
            (Call::Init, state) => state,
            (Call::Create, _) => Self::Live { written: false },
            (Call::Write, _) => Self::Live { written: true },
            (Call::Delete, Self::Live { written }) => Self::Deleted { written },
            (Call::Undelete, Self::Deleted { written }) => Self::Live { written },
            (call, state) => panic!("{call:?} of a volume that is {state:?}"),
        }
    }
}

/// A volume of which every answered call is known.
#[derive(Debug, Clone, Copy)]
pub struct Volume {
    pub state: State,
    /// A call that was not answered: it may have been done or not.
    pub running: Option<Call>,
}

impl Volume {
    /// What the volume may be.
    pub fn possible(&self) -> Vec<State> {
        let after = self.running.map(|call| self.state.after(call));
        std::iter::once(self.state).chain(after).collect()
    }
}

/// Everything that is known, volume by volume.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Whether a pool was made.
    pub made: bool,
    pub volumes: BTreeMap<u32, Volume>,
}

impl Ledger {
    pub fn begin(&mut self, call: Call, number: u32) {
        if call == Call::Init {
            return;
        }
        let absent = Volume {
            state: State::Absent,
            running: None,
        };
        self.volumes.entry(number).or_insert(absent).running = Some(call);
    }

    pub fn done(&mut self, call: Call, number: u32) {
        match (call, self.volumes.get_mut(&number)) {
            (Call::Init, _) => self.made = true,
            (_, Some(volume)) => {
                volume.state = volume.state.after(call);
                volume.running = None;
            }
            _ => panic!("{call:?} of volume {number} is done and was never begun"),
        }
    }

    /// Whether any call was not answered.
    pub fn is_waiting(&self) -> bool {
        self.volumes.values().any(|volume| volume.running.is_some())
    }

    /// Takes in what [`mark`] wrote.
    pub fn read(&mut self, mark: &str) {
        let parts: Vec<_> = mark.split(':').collect();
        let [when, name, number] = parts.as_slice() else {
            panic!("{mark} is no mark of a call");
        };
        let call = Call::ALL.iter().find(|(_, known)| known == name).expect("a call").0;
        let number = number.parse().expect("the number of a volume");
        match *when {
            "begin" => self.begin(call, number),
            "done" => self.done(call, number),
            _ => panic!("{mark} is no mark of a call"),
        }
    }
}

/// One word for a moment in the life of a call: it begins, or is done.
pub fn mark(when: &str, call: Call, number: u32) -> String {
    let name = Call::ALL.iter().find(|(known, _)| *known == call).expect("a call").1;
    format!("{when}:{name}:{number}")
}
