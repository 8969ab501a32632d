//! The log: one line per event on standard error.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging. `filter` is in the form of `RUST_LOG`, for example `info` or `berth=debug`.
pub fn init(filter: &str, format: LogFormat) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| OneLine(io::stderr()));
    match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// Keeps each event on one line, whatever names and paths callers made up: a line is written by the
/// agent, and by nobody through it. Other control characters the formatter escapes by itself.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    /// Writes one event, which the formatter hands over whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        let mut line = Vec::with_capacity(event.len());
        for byte in text {
            match byte {
                b'\n' => line.extend(b"\\n"),
                b'\r' => line.extend(b"\\r"),
                _ => line.push(*byte),
            }
        }
        line.push(b'\n');
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let mut written = OneLine(Vec::new());
        written
            .write_all(b"WARN \"x\" is not a path: /a\n2026-01-01 INFO all is well\r\n")
            .unwrap();
        written.write_all(b"INFO plain\n").unwrap();
        let text = String::from_utf8(written.0).unwrap();
        let expected = [
            "WARN \"x\" is not a path: /a\\n2026-01-01 INFO all is well\\r",
            "INFO plain",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
