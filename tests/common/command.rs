//! The `berth` command as a person runs it.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// What a command answered.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Outcome {
    /// Its standard output, if it succeeded.
    pub fn success(self) -> String {
        assert_eq!(self.code, 0, "it failed: {self:?}");
        assert_eq!(self.err, "", "it succeeded and complains");
        self.out
    }

    /// Its one line on standard error, if it failed as commands fail: with status 1, nothing on
    /// standard output, and a reason.
    pub fn failure(self) -> String {
        assert_eq!(self.code, 1, "it did not fail as commands do: {self:?}");
        assert_eq!(self.out, "", "it failed and prints results");
        assert!(
            self.err.starts_with("berth: ") && self.err.trim_end().lines().count() == 1,
            "{self:?}"
        );
        self.err
    }
}

/// Runs `berth` with `arguments` and an empty environment to its end.
pub fn berth<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    run(Command::new(program()).args(arguments).env_clear())
}

/// The binary that is tested: `BERTH_BIN`, or the one that was built with the tests.
pub fn program() -> OsString {
    std::env::var_os("BERTH_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_berth").into())
}

/// The beginning of a command line of `berth` that waits before its first instruction until
/// [`let_go`].
pub fn held() -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"read -r _ && exec "$0" "$@""#]).arg(program());
    command.stdin(Stdio::piped());
    command
}

/// Lets a command begin that was [`held`].
pub fn let_go(child: &mut Child) {
    let mut stdin = child.stdin.take().expect("it was held");
    stdin.write_all(b"\n").expect("it waits for a line");
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Outcome {
    let output = command.output().expect("the command starts");
    Outcome {
        code: output.status.code().expect("it ended by itself"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}
