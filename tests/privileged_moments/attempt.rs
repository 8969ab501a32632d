//! What was tried when something went wrong.

use std::cell::RefCell;

use super::common::tracer::{Count, Plan};

/// Tells what was tried if it ends with a panic.
pub struct Attempt {
    name: String,
    plan: String,
    reached: RefCell<String>,
}

impl Attempt {
    pub fn new(name: &str, plan: &Plan) -> Self {
        Self {
            name: name.to_owned(),
            plan: format!("{:?} number {} of {:?}", plan.act, plan.at, plan.calls),
            reached: RefCell::default(),
        }
    }

    pub fn reached(&self, count: &Count) {
        *self.reached.borrow_mut() = match count.reached {
            Some(call) => format!(", which is {call}"),
            None => format!(", and there were {}", count.calls),
        };
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it failed at {}: {}{}", self.name, self.plan, self.reached.borrow());
        }
    }
}
