//! Command lines that are wrong: status 2, what is wrong, and what would be right.

use std::process::Command;

use super::common::command::{berth, run};

#[test]
fn a_wrong_command_line_ends_with_status_2_and_says_what_is_expected() {
    let rows: [(&[&str], &str); 19] = [
        (&[], "Usage: berth <COMMAND>"),
        (&["volume"], "a similar subcommand exists: 'volumes'"),
        (&["volumes", "extra"], "unexpected argument 'extra'"),
        (&["volumes", "-o", "yaml"], "possible values: table, json"),
        (
            &["volumes", "--csi-endpoint=tcp://1.2.3.4:5"],
            "expected unix:///absolute/path",
        ),
        (&["volumes", "--csi-endpoint="], "expected unix:///absolute/path"),
        (&["undelete"], "<VOLUME_ID>"),
        (&["undelete", "a", "b"], "unexpected argument 'b'"),
        (&["init", "--force"], "unexpected argument '--force'"),
        (&["doctor", "--pool"], "a value is required"),
        (&["completions"], "<SHELL>"),
        (&["completions", "tcsh"], "possible values: bash"),
        (&["agent"], "--node-name <NODE_NAME>"),
        (&["agent", "--node-name=UPPER"], "expected a Kubernetes node name"),
        (&["agent", "--node-name=n", "--reserve=200%"], "a share like 5%"),
        (&["agent", "--node-name=n", "--overcommit=0"], "a ratio above 0"),
        (
            &["agent", "--node-name=n", "--http-addr=localhost"],
            "invalid socket address",
        ),
        (&["agent", "--node-name=n", "--kubelet-dir=kubelet"], "is not absolute"),
        (&["agent", "--node-name=n", "--drain-timeout=soon"], "--drain-timeout"),
    ];
    for (arguments, words) in rows {
        let outcome = berth(arguments);
        assert_eq!(
            (outcome.code, outcome.out.as_str()),
            (2, ""),
            "{arguments:?}: {outcome:?}"
        );
        assert!(
            outcome.err.contains(words),
            "{arguments:?} says nothing of {words:?}: {}",
            outcome.err
        );
    }
}

#[test]
fn a_wrong_environment_is_a_wrong_command_line() {
    for (variable, value, words) in [
        ("BERTH_NODE_NAME", "UPPER", "expected a Kubernetes node name"),
        ("BERTH_RESERVE", "much", "expected bytes, a size like 10Gi"),
        ("BERTH_OVERCOMMIT", "NaN", "a ratio above 0"),
        ("BERTH_HTTP_ADDR", ":9808", "invalid socket address"),
        ("BERTH_CSI_ENDPOINT", "csi.sock", "expected unix:///absolute/path"),
        ("BERTH_LOG_FORMAT", "xml", "possible values: text, json"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
        command
            .env_clear()
            .arg("agent")
            .env("BERTH_NODE_NAME", "n")
            .env(variable, value);
        let outcome = run(&mut command);
        assert_eq!(outcome.code, 2, "{variable}: {outcome:?}");
        assert!(
            outcome.err.contains(words),
            "{variable} says nothing of {words:?}: {}",
            outcome.err
        );
    }
}

#[test]
fn a_log_filter_and_a_kubelet_directory_that_are_none_are_told_by_their_flags() {
    let home = tempfile::tempdir().unwrap();
    let flags = |filter: &str, kubelet: &str| {
        berth([
            "agent".to_owned(),
            "--node-name=n".to_owned(),
            "--http-addr=127.0.0.1:0".to_owned(),
            format!("--log={filter}"),
            format!("--pool={}", home.path().join("none").display()),
            format!("--kubelet-dir={kubelet}"),
            format!("--csi-endpoint={}", home.path().join("s/csi.sock").display()),
        ])
        .failure()
    };
    let said = flags("=!", home.path().to_str().unwrap());
    assert!(said.contains("--log is not a filter"), "{said}");
    let mistyped = home.path().join("kubeleet");
    let said = flags("off", mistyped.to_str().unwrap());
    assert!(
        said.contains(&format!(
            "--kubelet-dir: cannot open {}: No such file",
            mistyped.display()
        )),
        "{said}"
    );
    assert!(!mistyped.exists(), "it was made");
}

#[test]
fn help_and_version_are_no_errors() {
    assert_eq!(
        berth(["--version"]).success(),
        format!("berth {}\n", env!("CARGO_PKG_VERSION"))
    );
    for command in ["agent", "init", "volumes", "doctor", "undelete", "demo", "completions"] {
        let help = berth([command, "--help"]).success();
        assert!(help.contains(&format!("Usage: berth {command}")), "{help}");
    }
    let help = berth(["agent", "--help"]).success();
    for variable in [
        "BERTH_POOL",
        "BERTH_NODE_NAME",
        "BERTH_KUBELET_DIR",
        "BERTH_DRAIN_TIMEOUT",
    ] {
        assert!(help.contains(variable), "{variable} is not in the help");
    }
}
