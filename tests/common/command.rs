//! The `berth` command as a person runs it.

use std::ffi::OsStr;
use std::process::Command;

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
    run(Command::new(env!("CARGO_BIN_EXE_berth")).args(arguments).env_clear())
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
