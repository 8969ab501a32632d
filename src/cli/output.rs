//! What commands say: results on standard output, and why they failed on standard error.

use std::io::{ErrorKind, Write};

use anyhow::Context;

/// Prints the result of a command. A reader that has seen enough, as `head` has, is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the result"),
    }
}

/// An error with its causes. Those that an error names in its own message are not said twice.
pub fn sentence(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
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
    fn each_cause_is_said_once() {
        let source = std::io::Error::from(ErrorKind::NotFound);
        let error = anyhow::Error::new(NamesItsCause { source }).context("--pool");
        assert_eq!(sentence(&error), "--pool: cannot open a: entity not found");
    }
}
