//! Whether what several clients saw at once can be explained by some order of their calls: each takes
//! effect at one moment between its beginning and its end. The search is that of Wing and Gong, with
//! the memory of Lowe: no state of the model is looked at twice with the same calls done.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use super::reference::Model;
use super::step::{Answer, Step};

/// A call as its client saw it.
#[derive(Debug, Clone)]
pub struct Call {
    pub client: usize,
    pub step: Step,
    pub answer: Answer,
    pub begin: Instant,
    /// None if it was never answered: it may have taken effect at any time since, or not at all.
    pub end: Option<Instant>,
}

impl Call {
    fn is_before(&self, other: &Self) -> bool {
        self.end.is_some_and(|end| end < other.begin)
    }

    /// Whether both were under way at some moment.
    pub fn overlaps(&self, other: &Self) -> bool {
        !self.is_before(other) && !other.is_before(self)
    }
}

/// The states in which a legal order of the calls can end, from `model` on; none if there is no such
/// order. What was told ABORTED has done nothing, and must not be among the calls.
pub fn ends(model: &Model, calls: &[Call]) -> BTreeSet<Model> {
    assert!(calls.len() < 64, "calls are counted in the bits of a number");
    let mut search = Search {
        calls,
        seen: HashSet::new(),
        ends: BTreeSet::new(),
    };
    search.go_on(0, model.clone());
    search.ends
}

struct Search<'a> {
    calls: &'a [Call],
    seen: HashSet<(u64, Model)>,
    ends: BTreeSet<Model>,
}

impl Search<'_> {
    /// Goes on from a state in which the calls of `done` have taken effect.
    fn go_on(&mut self, done: u64, model: Model) {
        if !self.seen.insert((done, model.clone())) {
            return;
        }
        let is_left = |at: &usize| done & (1 << at) == 0;
        let left: Vec<_> = (0..self.calls.len()).filter(is_left).collect();
        if left.iter().all(|at| self.calls[*at].end.is_none()) {
            self.ends.insert(model.clone());
        }
        for at in &left {
            let call = &self.calls[*at];
            if left.iter().any(|other| self.calls[*other].is_before(call)) {
                continue;
            }
            for next in self.explain(call, &model) {
                self.go_on(done | 1 << at, next);
            }
        }
        for id in model.purgeable() {
            let mut purged = model.clone();
            purged.purge(&id);
            self.go_on(done, purged);
        }
    }

    /// The states that the call leaves if it takes effect now and answers what it did.
    fn explain(&self, call: &Call, model: &Model) -> BTreeSet<Model> {
        let mut states = BTreeSet::new();
        for elsewhere in self.promised_meanwhile(call, model) {
            let mut next = model.clone();
            next.elsewhere = elsewhere;
            let answer = next.take(&call.step);
            next.elsewhere = 0;
            if call.answer == Answer::Lost || call.answer == answer {
                states.insert(next);
            }
        }
        states
    }

    /// What may have been promised at the moment to volumes in whose making others were: a promise
    /// counts before its volume can be seen.
    fn promised_meanwhile(&self, call: &Call, model: &Model) -> BTreeSet<u64> {
        let mut sums = BTreeSet::from([0]);
        if !matches!(call.step, Step::Create(_) | Step::Undelete(_) | Step::Capacity { .. }) {
            return sums;
        }
        for other in self.calls.iter().filter(|other| other.overlaps(call)) {
            let size = match (&other.step, &other.answer) {
                (_, Answer::Refused(_)) => 0,
                (step, _) if *step == call.step && other.begin == call.begin => 0,
                (Step::Create(creation), _) => creation.size(),
                (Step::Undelete(which), _) => model.size(*which),
                _ => 0,
            };
            sums.extend(sums.clone().iter().map(|sum| sum + size));
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;

    use super::*;
    use crate::harness::step::{Access, Creation, Mode, Which, id_of};

    fn create(required: u64, name: usize) -> Step {
        Step::Create(Creation {
            name,
            required,
            limit: 0,
            accesses: vec![Access::new(Mode::SingleNodeWriter)],
            class: 0,
            claim: None,
            flaw: None,
        })
    }

    fn made(size: u64, name: usize) -> Answer {
        Answer::Made {
            id: id_of(name, 0),
            size,
        }
    }

    /// Calls with the moments of their beginnings and ends.
    fn legal(calls: &[(u64, u64, Step, Answer)]) -> bool {
        let start = Instant::now();
        let moment = |at: &u64| start + Duration::from_millis(*at);
        let call = |(begin, end, step, answer): &(u64, u64, Step, Answer)| Call {
            client: 0,
            step: step.clone(),
            answer: answer.clone(),
            begin: moment(begin),
            end: (*answer != Answer::Lost).then(|| moment(end)),
        };
        let calls: Vec<_> = calls.iter().map(call).collect();
        !ends(&Model::new(24), &calls).is_empty()
    }

    #[test]
    fn calls_at_once_may_have_happened_in_either_order_and_calls_in_a_row_in_theirs() {
        let delete = |begin, end| {
            let id = Which::Of { name: 0, attempt: 0 };
            (begin, end, Step::Delete(id), Answer::Done)
        };
        let listed = |begin, end, volumes: &[u64]| {
            let volumes = volumes.iter().map(|size| (id_of(0, 0), *size)).collect();
            (begin, end, Step::List(0), Answer::Volumes(volumes))
        };
        let creation = (0, 2, create(8, 0), made(8, 0));
        assert!(legal(&[creation.clone(), listed(1, 3, &[]), listed(4, 5, &[8])]));
        assert!(legal(&[creation.clone(), listed(1, 3, &[8])]));
        assert!(!legal(&[creation.clone(), listed(3, 4, &[])]));
        assert!(legal(&[creation.clone(), delete(1, 3), listed(4, 5, &[8])]));
        assert!(!legal(&[creation, delete(3, 4), listed(5, 6, &[8])]));
    }

    #[test]
    fn no_order_lets_two_have_what_is_enough_for_one() {
        let (first, second) = ((0, 9, create(16, 0), made(16, 0)), create(16, 1));
        let refused = Answer::Refused(Code::ResourceExhausted);
        assert!(!legal(&[first.clone(), (1, 8, second.clone(), made(16, 1))]));
        assert!(legal(&[first.clone(), (1, 8, second.clone(), refused.clone())]));
        // The promise counts before anybody sees the volume.
        let nothing = Answer::Volumes(vec![]);
        assert!(legal(&[
            first,
            (1, 2, second.clone(), refused.clone()),
            (3, 4, Step::List(0), nothing)
        ]));
        assert!(!legal(&[(1, 2, second, refused)]));
    }

    #[test]
    fn what_was_never_answered_may_have_happened_or_not() {
        let lost = (0, 0, create(8, 0), Answer::Lost);
        let seen = |volumes| (5, 6, Step::List(0), Answer::Volumes(volumes));
        assert!(legal(&[lost.clone(), seen(vec![])]));
        assert!(legal(&[lost.clone(), seen(vec![(id_of(0, 0), 8)])]));
        assert!(!legal(&[lost, seen(vec![(id_of(0, 0), 9)])]));
    }
}
