//! Namespaces of a test's own: its mounts and processes end with it, whatever happens.

use std::process::Command;

/// Set in the process that runs the body of the test.
const INSIDE: &str = "BERTH_TEST_ISOLATED";

/// Runs `body` in a process with mount and PID namespaces of its own; `name` is the full name of
/// the test that calls it. Loop devices made by `mount -o loop` go with the namespace too.
pub fn isolated(name: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
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
    let status = Command::new("unshare")
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
        .status()
        .expect("unshare(1) of util-linux");
    assert!(status.success(), "{name} failed in its namespaces");
}
