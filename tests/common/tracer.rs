//! Stops a process at its n-th system call, counted over all of its threads from a moment on, and
//! kills it there, makes the call fail, cuts a write short, or does something else meanwhile.
//!
//! The kernel takes ptrace(2) calls from one thread only, so each tracer has a thread for all of
//! them. Registers are those of x86-64; there is no tracer for other machines.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

pub use super::syscalls::{Call, Calls};

/// A process that is followed. It dies with this.
pub struct Tracer {
    process: Pid,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

/// What to do at which call.
#[derive(Debug)]
pub struct Plan {
    /// The calls that are counted.
    pub calls: Calls,
    /// The number of the call, from 1.
    pub at: u64,
    pub act: Act,
}

/// What happens at the call. Other threads run on.
#[derive(Clone)]
pub enum Act {
    /// SIGKILL before the call is made.
    KillBefore,
    /// SIGKILL when the call was made and its thread knows nothing of it yet.
    KillAfter,
    /// The call is not made, and fails.
    Fail(Errno),
    /// Only half of the bytes are written. For [`Calls::Writes`] alone.
    Shorten,
    /// Something is done when the call was made, and then its thread goes on.
    Do(Arc<dyn Fn() + Send + Sync>),
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Count {
    pub calls: u64,
    /// The call at which the plan was carried out.
    pub reached: Option<Call>,
}

#[derive(Default)]
struct Shared {
    plan: Option<Plan>,
    /// Whether the plan begins with the next execve(2).
    from_exec: bool,
    count: Count,
}

impl Tracer {
    /// Follows a running process that this one started, with all threads that it has and gets.
    ///
    /// From here on only killing it ends it: nobody else may wait for it before.
    pub fn attach(process: u32) -> Self {
        let process = Pid::from_raw(i32::try_from(process).expect("a process ID"));
        let shared = Arc::<Mutex<Shared>>::default();
        let (ready, followed) = channel();
        let follower = shared.clone();
        let thread = std::thread::Builder::new()
            .name("tracer".to_owned())
            .spawn(move || Follower::new(process, follower, ready).follow())
            .expect("a thread");
        followed.recv().expect("the process can be traced");
        Self {
            process,
            shared,
            thread: Some(thread),
        }
    }

    /// Counts from now on.
    pub fn arm(&self, plan: Plan) {
        *self.shared() = Shared {
            plan: Some(plan),
            ..Shared::default()
        };
    }

    /// Counts from the moment on in which the process becomes another program.
    pub fn arm_at_exec(&self, plan: Plan) {
        *self.shared() = Shared {
            plan: Some(plan),
            from_exec: true,
            ..Shared::default()
        };
    }

    /// Ends the counting.
    pub fn disarm(&self) -> Count {
        let mut shared = self.shared();
        shared.plan = None;
        shared.count.clone()
    }

    /// Whether the process is dead.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if !self.is_over() {
            let _ = kill(self.process, Signal::SIGKILL);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What is left to do when a call returns.
enum AtExit {
    Nothing,
    Kill,
    Return(Errno),
    Do(Arc<dyn Fn() + Send + Sync>),
}

struct Follower {
    process: Pid,
    shared: Arc<Mutex<Shared>>,
    /// Threads that have not stopped for the first time yet, and whom to tell when all have.
    coming: HashSet<Pid>,
    ready: Option<Sender<()>>,
    /// Threads inside a call.
    inside: HashMap<Pid, AtExit>,
}

impl Follower {
    fn new(process: Pid, shared: Arc<Mutex<Shared>>, ready: Sender<()>) -> Self {
        Self {
            process,
            shared,
            coming: seize_all(process),
            ready: Some(ready),
            inside: HashMap::new(),
        }
    }

    /// Follows the process to its end, which is left for whoever started it to see.
    fn follow(mut self) {
        // Only what this very thread traces.
        let own = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let any = own | WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
        loop {
            let seen = match waitid(Id::All, any) {
                Ok(seen) => seen,
                Err(Errno::EINTR) => continue,
                // Somebody has seen its end already.
                Err(_) => return,
            };
            let Some(thread) = seen.pid() else { continue };
            if thread == self.process && matches!(seen, WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {
                return;
            }
            if let Ok(status) = waitpid(thread, Some(own | WaitPidFlag::WNOHANG)) {
                self.see(thread, status);
            }
        }
    }

    fn see(&mut self, thread: Pid, status: WaitStatus) {
        self.coming.remove(&thread);
        if self.coming.is_empty()
            && let Some(ready) = self.ready.take()
        {
            let _ = ready.send(());
        }
        let signal = match status {
            WaitStatus::PtraceSyscall(_) => {
                self.at_call(thread);
                None
            }
            WaitStatus::PtraceEvent(_, _, event) => {
                if event == libc::PTRACE_EVENT_EXEC {
                    lock(&self.shared).from_exec = false;
                }
                None
            }
            WaitStatus::Stopped(_, signal) => Some(signal),
            _ => {
                self.inside.remove(&thread);
                return;
            }
        };
        // A thread that was killed meanwhile cannot go on.
        let _ = ptrace::syscall(thread, signal);
    }

    fn at_call(&mut self, thread: Pid) {
        let Ok(registers) = ptrace::getregs(thread) else {
            return;
        };
        match self.inside.remove(&thread) {
            None => {
                let then = self.enter(thread, registers);
                self.inside.insert(thread, then);
            }
            Some(AtExit::Nothing) => {}
            Some(AtExit::Kill) => self.kill(),
            Some(AtExit::Return(errno)) => {
                let rax = i64::from(-(errno as i32)) as u64;
                let _ = ptrace::setregs(thread, user_regs_struct { rax, ..registers });
            }
            Some(AtExit::Do(action)) => action(),
        }
    }

    /// Counts the call if it counts, and begins what the plan says about it.
    fn enter(&self, thread: Pid, registers: user_regs_struct) -> AtExit {
        let mut shared = lock(&self.shared);
        let Shared { plan, from_exec, count } = &mut *shared;
        let call = Call(registers.orig_rax as i64);
        let counts = |plan: &Plan| !*from_exec && plan.calls.count(call, self.process, &registers);
        let Some(at) = plan.as_ref().filter(|plan| counts(plan)).map(|plan| plan.at) else {
            return AtExit::Nothing;
        };
        count.calls += 1;
        if count.calls != at {
            return AtExit::Nothing;
        }
        count.reached = Some(call);
        // From here on calls are only counted.
        let never = Plan {
            calls: plan.as_ref().map_or(Calls::All, |plan| plan.calls),
            at: 0,
            act: Act::KillBefore,
        };
        match plan.replace(never).map(|plan| plan.act) {
            None => AtExit::Nothing,
            Some(Act::KillBefore) => {
                self.kill();
                AtExit::Nothing
            }
            Some(Act::KillAfter) => AtExit::Kill,
            Some(Act::Do(action)) => AtExit::Do(action),
            Some(Act::Fail(errno)) => {
                // A number that no call has.
                let orig_rax = u64::MAX;
                let _ = ptrace::setregs(thread, user_regs_struct { orig_rax, ..registers });
                AtExit::Return(errno)
            }
            Some(Act::Shorten) => {
                // The third argument.
                let rdx = registers.rdx.div_ceil(2);
                let _ = ptrace::setregs(thread, user_regs_struct { rdx, ..registers });
                AtExit::Nothing
            }
        }
    }

    fn kill(&self) {
        let _ = kill(self.process, Signal::SIGKILL);
    }
}

/// Makes all threads of the process stop, now and whenever they call the kernel.
fn seize_all(process: Pid) -> HashSet<Pid> {
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    let mut seized = HashSet::new();
    loop {
        let before = seized.len();
        for thread in threads(process) {
            // One that is not there any more, or was seized with the thread that made it.
            if !seized.contains(&thread) && ptrace::seize(thread, options).is_ok() {
                seized.insert(thread);
                ptrace::interrupt(thread).expect("a thread that is traced can be interrupted");
            }
        }
        if seized.len() == before {
            assert!(!seized.is_empty(), "process {process} cannot be traced");
            return seized;
        }
    }
}

fn threads(process: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir(format!("/proc/{process}/task")).expect("threads");
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse().ok());
    entries.flatten().filter_map(number).map(Pid::from_raw).collect()
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillBefore => f.write_str("SIGKILL before"),
            Self::KillAfter => f.write_str("SIGKILL after"),
            Self::Fail(errno) => write!(f, "{errno:?} from"),
            Self::Shorten => f.write_str("half of"),
            Self::Do(_) => f.write_str("something after"),
        }
    }
}
