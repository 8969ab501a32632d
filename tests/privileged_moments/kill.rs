//! SIGKILL at every moment of every call.

use super::attempt::Attempt;
use super::common::tracer::{Act, Calls, Plan};
use super::ground::{Ground, Operation};

/// Kills the agent before and after the first system call of the operation, the second, and so on
/// to the last. Returns how many moments there were.
pub async fn at_every_moment(ground: &mut Ground, operation: &Operation, calls: Calls) -> u64 {
    let mut moments = 0;
    for act in [Act::KillBefore, Act::KillAfter] {
        for at in 1.. {
            let plan = Plan {
                calls,
                at,
                act: act.clone(),
            };
            moments += 1;
            if !kill(ground, operation, plan).await {
                break;
            }
        }
    }
    moments
}

/// Returns whether the operation came as far as the plan. If it did not, the agent is killed after
/// the answer.
async fn kill(ground: &mut Ground, operation: &Operation, plan: Plan) -> bool {
    let attempt = Attempt::new(operation.name, &plan);
    let before_the_call = matches!(plan.act, Act::KillBefore);
    let mut volume = ground.prepare(operation).await;
    let after = volume.state.after(operation.step);
    let (answer, count) = ground.attempt(operation, &volume, plan).await;
    attempt.reached(&count);
    ground.kill();

    let torn = volume.look();
    if let Some(wrong) = torn.wrong_between(&volume.state, &after) {
        panic!("{wrong}: {torn:?}");
    }
    let settled = torn.settled(&volume.state, &after);
    match answer {
        Ok(()) => assert_eq!(settled, after, "it was acknowledged"),
        Err(status) => assert!(count.reached.is_some(), "{status:?}"),
    }
    ground.start().await;
    volume.state = settled;
    ground.check(&volume).await;
    // Its client sends the request again, or loses interest.
    if before_the_call {
        ground.converge(operation, &mut volume).await;
    }
    ground.end(operation, volume).await;
    count.reached.is_some()
}
