//! `berth init`, killed at every moment, and with a fault in every system call.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use super::attempt::Attempt;
use super::common::command::{berth, held, let_go};
use super::common::disk::names;
use super::common::tracer::{Act, Calls, Plan, Tracer};
use super::common::{Agent, Node};
use super::faults::ERRORS;
use super::ground::soon;
use super::volume::sealed;

/// Kills `berth init` before and after its first system call, the second, and so on to the last, and
/// lets each fail. Returns how many moments there were.
pub async fn at_every_moment(node: &Node, calls: Calls) -> u64 {
    let mut moments = 0;
    let faults = ERRORS.map(|errno| (Calls::Changes, Act::Fail(errno)));
    for (calls, act) in [(calls, Act::KillBefore), (calls, Act::KillAfter)]
        .into_iter()
        .chain(faults)
    {
        for at in 1.. {
            let plan = Plan {
                calls,
                at,
                act: act.clone(),
            };
            moments += 1;
            let pool = node.pool().join(format!("pool-{moments}"));
            if !disturb(node, &pool, plan).await {
                break;
            }
        }
    }
    moments
}

/// Returns whether it came as far as the plan.
async fn disturb(node: &Node, pool: &Path, plan: Plan) -> bool {
    let attempt = Attempt::new("berth init", &plan);
    let with_init = plan.at.is_multiple_of(2);
    fs::create_dir(pool).unwrap();
    let arguments = ["init", "--pool", pool.to_str().unwrap()];
    let mut command = held();
    command
        .args(arguments)
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let tracer = Tracer::attach(child.id());
    tracer.arm_at_exec(plan);
    let_go(&mut child);
    soon("berth init ends", async || tracer.is_over()).await;
    let count = tracer.disarm();
    attempt.reached(&count);
    let succeeded = child.wait().unwrap().success();
    assert!(succeeded || count.reached.is_some(), "it failed by itself");

    let file = pool.join("berth.json");
    let made = file.exists().then(|| sealed(&file)["pool_uuid"].clone());
    assert!(made.is_some() || !succeeded, "it was acknowledged");
    // A person tries again, or an agent does that is to make the pool if there is none.
    if with_init {
        let again = berth(arguments);
        match made {
            None => drop(again.success()),
            Some(_) => assert!(again.failure().contains("is a pool"), "there is a pool"),
        }
    }
    let agent = Agent::start(node.home(), pool).await;
    assert!(agent.clients().await.ready().await);
    let uuid = sealed(&file)["pool_uuid"].clone();
    assert!(made.is_none_or(|made| made == uuid), "another pool");
    agent.clients().await.create("first").await.unwrap();
    assert!(names(&pool.join(".berth/staging")).is_empty());
    assert_eq!(
        names(pool),
        [".berth", "berth.json", "by-claim", "volumes"]
            .map(str::to_owned)
            .into()
    );
    agent.kill();
    fs::remove_dir_all(pool).unwrap();
    count.reached.is_some()
}
