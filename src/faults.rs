//! Failures on order, for the fakes of both ports.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use nix::errno::Errno;

/// Counts calls by operation, and lets those fail or wait that a test names.
#[derive(Default)]
pub struct Faults(Mutex<Plan>);

#[derive(Default)]
struct Plan {
    calls: BTreeMap<&'static str, usize>,
    faults: Vec<Fault>,
    gates: Vec<(&'static str, Arc<Gate>)>,
}

/// One call that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The method of the port.
    pub operation: &'static str,
    /// Which call of it, counted from 1.
    pub nth: usize,
    /// Whether the work is left undone or only its success is not told.
    pub when: When,
    /// What the caller is told.
    pub errno: Errno,
}

/// When a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before it did anything.
    Before,
    /// After it did everything.
    After,
}

/// Stops a call in its middle: both sides meet when it has begun, and again when it may go on.
#[derive(Default)]
pub struct Gate {
    arrived: Mutex<u32>,
    changed: Condvar,
}

impl Gate {
    /// Waits for the other side, which must come: a test that fails there ends here too.
    pub fn meet(&self) {
        let mut arrived = self.arrived.lock().unwrap();
        *arrived += 1;
        self.changed.notify_all();
        let both = arrived.next_multiple_of(2);
        let (_held, waited) = self
            .changed
            .wait_timeout_while(arrived, Duration::from_secs(20), |arrived| *arrived < both)
            .unwrap();
        assert!(!waited.timed_out(), "nobody came to the gate");
    }
}

impl Faults {
    /// Lets a call fail.
    pub fn order(&self, fault: Fault) {
        self.0.lock().unwrap().faults.push(fault);
    }

    /// Lets the next call of `operation` fail before it does anything.
    pub fn fail_next(&self, operation: &'static str, errno: Errno) {
        let nth = self.calls(operation) + 1;
        self.order(Fault {
            operation,
            nth,
            when: When::Before,
            errno,
        });
    }

    /// Stops the next call of `operation` at the gate.
    pub fn hold_next(&self, operation: &'static str) -> Arc<Gate> {
        let gate = Arc::<Gate>::default();
        self.0.lock().unwrap().gates.push((operation, gate.clone()));
        gate
    }

    /// How often `operation` was called.
    pub fn calls(&self, operation: &str) -> usize {
        self.0.lock().unwrap().calls.get(operation).copied().unwrap_or(0)
    }

    /// How often each operation was called.
    pub fn all_calls(&self) -> BTreeMap<&'static str, usize> {
        self.0.lock().unwrap().calls.clone()
    }

    /// Does the work of one call, unless it is to fail.
    pub fn run<T, E>(
        &self,
        operation: &'static str,
        error: impl Fn(Errno) -> E,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let (fault, gate) = self.enter(operation);
        if let Some(gate) = gate {
            gate.meet();
            gate.meet();
        }
        match fault {
            Some(fault) if fault.when == When::Before => Err(error(fault.errno)),
            Some(fault) => work().and_then(|_| Err(error(fault.errno))),
            None => work(),
        }
    }

    fn enter(&self, operation: &'static str) -> (Option<Fault>, Option<Arc<Gate>>) {
        let mut plan = self.0.lock().unwrap();
        let count = plan.calls.entry(operation).or_default();
        *count += 1;
        let nth = *count;
        let due = |fault: &&Fault| fault.operation == operation && fault.nth == nth;
        let fault = plan.faults.iter().find(due).copied();
        let gate = plan.gates.iter().position(|(held, _)| *held == operation);
        (fault, gate.map(|at| plan.gates.remove(at).1))
    }
}
