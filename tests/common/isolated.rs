//! Namespaces of a test's own: its mounts and processes end with it, whatever happens.

use std::io::Write;
use std::process::Command;

use super::disk::run;
use super::{Filesystem, Node};

/// Set in the process that runs the body of the test.
const INSIDE: &str = "BERTH_TEST_ISOLATED";

/// What lines begin with that tell figures.
pub const FIGURE: &str = "figure: ";

/// Runs `body` in a process with mount and PID namespaces of its own; `name` is the full name of
/// the test that calls it. Temporary files of that process are in memory, so whatever it leaves,
/// mounts and loop devices included, goes with the namespaces.
pub fn isolated(name: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "mode=0700", "tmpfs"])
            .arg(std::env::temp_dir()));
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("runtime")
            .block_on(body);
        return;
    }
    assert!(
        nix::unistd::geteuid().is_root(),
        "{name} needs root; `make test` leaves it out for others"
    );
    let temporary = tempfile::tempdir().expect("temporary directory");
    let output = Command::new("unshare")
        .args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "private",
        ])
        .arg(std::env::current_exe().expect("test binary"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("TMPDIR", temporary.path())
        .output()
        .expect("unshare(1) of util-linux");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("1 passed"),
        "{name} failed in its namespaces\n{shown}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    show_figures(&String::from_utf8_lossy(&output.stderr));
}

/// Tells how much was tried; shown by tests that pass, too.
pub fn figure(text: &str) {
    match std::env::var_os(INSIDE) {
        Some(_) => eprintln!("{FIGURE}{text}"),
        None => show_figures(&format!("{FIGURE}{text}")),
    }
}

fn show_figures(told: &str) {
    for figure in told.lines().filter_map(|line| line.strip_prefix(FIGURE)) {
        // Not by a macro, whose output is held back.
        let _ = writeln!(std::io::stderr(), "  {figure}");
    }
}

/// Runs `body` isolated, once on each file system, each time on a new node.
pub fn on_every_filesystem(name: &str, body: impl AsyncFn(Node)) {
    on_filesystems(name, &Filesystem::ALL, body);
}

/// Like [`on_every_filesystem`], at the same time on each, for tests that mostly wait.
pub fn at_once_on_every_filesystem(name: &str, body: impl AsyncFn(Node)) {
    isolated(name, async {
        let [first, second, third] = Filesystem::ALL.map(|filesystem| body(Node::new(filesystem)));
        tokio::join!(first, second, third);
    });
}

/// Like [`on_every_filesystem`], for what only some of them can do.
pub fn on_filesystems(name: &str, filesystems: &[Filesystem], body: impl AsyncFn(Node)) {
    isolated(name, async {
        for filesystem in filesystems {
            eprintln!("on {filesystem:?}:");
            body(Node::new(*filesystem)).await;
        }
    });
}
