//! What was done, for the line that a test prints at its end.

use std::fmt;

use super::step::Answer;

#[derive(Debug, Default)]
pub struct Tally {
    pub histories: u64,
    pub calls: u64,
    pub refused: u64,
    /// Calls in which something was made to fail.
    pub faults: u64,
    /// Calls in which the agent was killed.
    pub kills: u64,
    /// Starts in which something failed, or the agent was killed.
    pub stumbles: u64,
    pub restarts: u64,
    /// Requests that were sent again after they had failed.
    pub again: u64,
}

impl Tally {
    pub fn count(&mut self, answer: &Answer) {
        self.calls += 1;
        self.refused += u64::from(matches!(answer, Answer::Refused(_)));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            histories,
            calls,
            refused,
            faults,
            kills,
            stumbles,
            restarts,
            again,
        } = self;
        write!(
            f,
            "{histories} histories, {calls} calls, {refused} of them refused, {faults} with faults, {kills} with SIGKILL, \
             {again} sent again, {restarts} restarts, {stumbles} starts with faults"
        )
    }
}
