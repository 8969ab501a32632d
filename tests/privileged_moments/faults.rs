//! A system call that fails once: the answer tells, and the same request sent again converges
//! without a restart.

use nix::errno::Errno;

use super::attempt::Attempt;
use super::common::tracer::{Act, Calls, Plan};
use super::ground::{Ground, Operation};
use super::model::Record;

pub const ERRORS: [Errno; 3] = [Errno::EIO, Errno::ENOSPC, Errno::EINTR];

/// Lets the first system call of the operation fail, the second, and so on to the last, with each
/// error; and cuts each write short. Returns how many faults there were.
pub async fn at_every_call(ground: &mut Ground, operation: &Operation) -> u64 {
    let mut faults = 0;
    for errno in ERRORS {
        for at in 1.. {
            let plan = Plan {
                calls: Calls::Changes,
                at,
                act: Act::Fail(errno),
            };
            if !fail(ground, operation, plan).await {
                break;
            }
            faults += 1;
        }
    }
    for at in 1.. {
        let plan = Plan {
            calls: Calls::Writes,
            at,
            act: Act::Shorten,
        };
        if !fail(ground, operation, plan).await {
            break;
        }
        faults += 1;
    }
    faults
}

/// Returns whether the operation came as far as the plan.
async fn fail(ground: &mut Ground, operation: &Operation, plan: Plan) -> bool {
    let attempt = Attempt::new(operation.name, &plan);
    let mut volume = ground.prepare(operation).await;
    let after = volume.state.after(operation.step);
    let (answer, count) = ground.attempt(operation, &volume, plan).await;
    attempt.reached(&count);
    assert!(!ground.is_over(), "the agent is dead");
    let torn = volume.look();
    if let Some(wrong) = torn.wrong_between(&volume.state, &after) {
        panic!("{wrong}: {torn:?}, answered {answer:?}");
    }
    let settled = torn.settled(&volume.state, &after);
    if answer.is_ok() {
        assert_eq!(settled, after, "it was acknowledged");
    }
    volume.state = settled;
    // Links are for people, and a failed purge can wait: the next start sees to both.
    if torn.record == Record::Purging || torn.link != settled.link {
        ground.kill();
        ground.start().await;
    }
    ground.converge(operation, &mut volume).await;
    ground.end(operation, volume).await;
    count.reached.is_some()
}
