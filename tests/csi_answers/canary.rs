//! What means harm, and what it must not touch.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tonic::{Code, Status};

use super::common::requests::{MIB, create};
use super::{Fixture, tree};

/// IDs that no volume has, some of them longer than anything that may stand in an answer's headers.
pub fn ids() -> Vec<String> {
    let mut ids: Vec<String> = [
        ".",
        "..",
        "/",
        "//",
        "a/b",
        "./a",
        "../canary",
        "../../canary",
        "../../../canary/inner",
        "/etc/passwd",
        "a/..",
        "\0",
        "a\0",
        "\0a",
        "\n",
        "a\nb",
        "\r\n",
        " ",
        "\t",
        "-",
        "--help",
        "a-",
        "A",
        "é",
        "\u{202e}",
        "\u{feff}a",
        "%2e%2e",
        "%00",
        "${HOME}",
        "$(id)",
        "`id`",
        "'",
        "\"",
        "\\",
        "*",
        "?",
        "~",
        ".berth",
        "berth.json",
        "volumes",
        "vol-*",
        "x.json",
        "x.deleted.1",
        "null",
    ]
    .map(str::to_owned)
    .to_vec();
    for long in ["a", "é", "\0", "../"] {
        ids.push(long.repeat(4096 / long.len()));
        ids.push(long.repeat(100_000));
    }
    ids
}

pub struct Canary {
    pub fixture: Fixture,
    pub volume: String,
    pub before: String,
}

impl Canary {
    /// An agent with a volume, and next to its directories one that nothing may touch.
    pub async fn new() -> Self {
        let fixture = Fixture::new().await;
        let home = fixture.home.path();
        std::fs::create_dir_all(home.join("canary/inner")).unwrap();
        std::fs::create_dir_all(home.join("canary/empty")).unwrap();
        std::fs::write(home.join("canary/inner/file"), "precious").unwrap();
        std::fs::create_dir_all(fixture.agent.kubelet("pods/full/mount")).unwrap();
        std::fs::write(fixture.agent.kubelet("pods/full/mount/file"), "precious").unwrap();
        symlink(home.join("canary"), fixture.agent.kubelet("pods/link")).unwrap();
        symlink(home.join("canary/empty"), fixture.agent.kubelet("pods/empty")).unwrap();
        let volume = fixture.create_id(create("volume", MIB)).await;
        let mut canary = Self {
            fixture,
            volume,
            before: String::new(),
        };
        canary.before = canary.tree();
        canary
    }

    /// Everything but the log.
    pub fn tree(&self) -> String {
        let log = self.fixture.agent.log();
        let text = tree(self.fixture.home.path());
        assert!(!log.contains("panicked"), "{log}");
        let lines: Vec<_> = text.lines().filter(|line| !line.contains("agent.log")).collect();
        lines.join("\n")
    }

    pub fn kubelet(&self, path: &str) -> PathBuf {
        self.fixture.agent.kubelet(path)
    }

    /// Checks that nothing changed, and that the agent serves as before.
    pub async fn check(&self) {
        assert_eq!(self.tree(), self.before);
        assert_eq!(self.fixture.ids().await, [self.volume.as_str()]);
    }
}

/// Asserts what a call answers, and that it does so briefly.
#[track_caller]
pub fn expect<T: std::fmt::Debug>(call: &str, value: &str, answer: Result<T, Status>, expected: Code) {
    let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
    let shown: String = value.chars().take(40).collect();
    assert_eq!(code, expected, "{call} of {shown:?}: {answer:?}");
    if let Err(status) = answer {
        assert!(
            status.message().chars().count() <= 1001,
            "{call} of {shown:?} talks {} bytes",
            status.message().len()
        );
    }
}
