//! `berth completions`: shells know the commands and their flags.

use std::process::Command;

use super::common::command::{berth, run};

const COMMANDS: [&str; 7] = ["agent", "init", "volumes", "doctor", "undelete", "demo", "completions"];

fn script(shell: &str) -> String {
    berth(["completions", shell]).success()
}

#[test]
fn every_shell_gets_every_command_and_flag() {
    for shell in ["bash", "zsh", "fish"] {
        let script = script(shell);
        for word in COMMANDS
            .into_iter()
            .chain(["no-usage", "csi-endpoint", "kubelet-dir", "pool"])
        {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("berth.bash");
    std::fs::write(&file, script("bash")).unwrap();
    let complete = |line: &str| {
        let program = r#"
            source "$1"
            read -ra COMP_WORDS <<<"$2"
            [[ $2 == *' ' ]] && COMP_WORDS+=('')
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _berth berth "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            printf '%s\n' "${COMPREPLY[@]}"
        "#;
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", program, "bash"]).arg(&file).arg(line);
        run(&mut bash).success()
    };
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(complete("berth vol")), ["volumes"]);
    assert_eq!(lines(complete("berth volumes --no")), ["--no-usage"]);
    assert_eq!(lines(complete("berth volumes --output ")), ["table", "json"]);
    assert!(
        COMMANDS
            .iter()
            .all(|command| complete("berth ").lines().any(|word| word == *command))
    );
}

/// Where the shells are installed they read their scripts without complaint.
#[test]
fn zsh_and_fish_can_read_their_scripts() {
    let home = tempfile::tempdir().unwrap();
    for (shell, flag) in [("zsh", "-n"), ("fish", "--no-execute")] {
        let file = home.path().join(shell);
        std::fs::write(&file, script(shell)).unwrap();
        match Command::new(shell).arg(flag).arg(&file).output() {
            Ok(output) => assert!(
                output.status.success(),
                "{shell}: {}",
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) => eprintln!("{shell} is not here, so it is not asked: {error}"),
        }
    }
}
