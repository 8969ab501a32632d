//! CreateVolume: the directory that it makes.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use super::Fixture;
use super::common::Agent;
use super::common::requests::{MIB, create_with};

#[tokio::test]
async fn the_directory_has_the_mode_of_the_class_whatever_umask_the_agent_was_started_with() {
    for umask in ["0777", "0000"] {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("pool")).unwrap();
        let plain = Agent::command(home.path(), &home.path().join("pool"), &["--init-pool", "--reserve=0"]);
        let mut command = Command::new("sh");
        command.args(["-c", "umask $0; exec 2>>$1; shift; exec \"$@\"", umask]);
        command
            .arg(home.path().join("agent.log"))
            .arg(plain.get_program())
            .args(plain.get_args());
        let agent = Agent::start_command(home.path(), &mut command).await;
        let clients = agent.clients().await;
        let mode_of = |path: PathBuf| std::fs::metadata(path).unwrap().mode() & 0o7777;
        for (name, parameters, expected) in [
            ("a", vec![], 0o770),
            ("b", vec![("berth.dev/mode", "3777")], 0o3777),
            ("c", vec![("berth.dev/mode", "400")], 0o400),
        ] {
            let request = create_with(name, MIB, &parameters);
            let created = clients.controller.clone().create_volume(request).await.unwrap();
            let id = created.into_inner().volume.unwrap().volume_id;
            let found = mode_of(home.path().join("pool/volumes").join(id));
            assert_eq!(found, expected, "{found:o} under umask {umask}");
        }
        // Nobody but the agent's user gets to what is inside.
        for private in ["pool/volumes", "pool/.berth"] {
            assert_eq!(mode_of(home.path().join(private)), 0o700);
        }
    }
}

#[tokio::test]
async fn privileged_the_directory_has_the_owner_of_the_class() {
    let fixture = Fixture::new().await;
    for (name, mode, uid, gid) in [("a", "2770", "999", "1000"), ("b", "0700", "4294967294", "0")] {
        let parameters = [("berth.dev/mode", mode), ("berth.dev/uid", uid), ("berth.dev/gid", gid)];
        let id = fixture.create_id(create_with(name, MIB, &parameters)).await;
        let found = std::fs::metadata(fixture.pool().join("volumes").join(id)).unwrap();
        assert_eq!(format!("{:04o}", found.mode() & 0o7777), mode);
        assert_eq!(
            (found.uid().to_string(), found.gid().to_string()),
            (uid.to_owned(), gid.to_owned())
        );
    }
}
