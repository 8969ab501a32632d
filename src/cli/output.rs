//! What commands say: results on standard output, and why they failed on standard error.

use std::borrow::Cow;
use std::io::{ErrorKind, Write};

use anyhow::Context;

/// Prints the result of a command. A reader that has seen enough, as `head` has, is no error.
///
/// Names of files and what is in them may be anything: no character of theirs commands the terminal.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(harmless(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the result"),
    }
}

/// The text with every control character but the end of a line escaped.
fn harmless(text: &str) -> Cow<'_, str> {
    let commands = |c: char| c.is_control() && c != '\n';
    if !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| match commands(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect::<String>().into()
}

/// An error with its causes. Those that an error names in its own message are not said twice.
pub fn sentence(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .map(|cause| harmless(&cause).into_owned())
        .fold(String::new(), |said, cause| {
            if said.is_empty() {
                cause
            } else if said.ends_with(&cause) {
                said
            } else {
                format!("{said}: {cause}")
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open a: {source}")]
    struct NamesItsCause {
        source: std::io::Error,
    }

    #[test]
    fn nothing_commands_the_terminal() {
        let said = harmless("a\u{1b}[2J\r\u{9b}31m\u{7f}\nb \u{e9}");
        assert_eq!(said, "a\\u{1b}[2J\\r\\u{9b}31m\\u{7f}\nb \u{e9}");
        assert!(matches!(harmless("plain\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn each_cause_is_said_once() {
        let source = std::io::Error::from(ErrorKind::NotFound);
        let error = anyhow::Error::new(NamesItsCause { source }).context("--pool");
        assert_eq!(sentence(&error), "--pool: cannot open a: entity not found");
    }
}
