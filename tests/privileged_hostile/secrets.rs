//! What callers hand over in confidence, and what anybody may ask: nothing of the first is kept or told,
//! and nothing of the second says whose volumes there are.

use std::collections::HashMap;
use std::process::Command;

use super::common::http::get;
use super::common::requests::{create_with, publish, stage, staging_path, target_path};
use super::common::{Filesystem, on_filesystems};

const SECRET: &str = "hunter2-eyJhbGciOiJSUzI1NiJ9";

#[test]
fn privileged_secrets_are_neither_logged_nor_kept_nor_told() {
    let name = "secrets::privileged_secrets_are_neither_logged_nor_kept_nor_told";
    on_filesystems(name, &[Filesystem::Xfs], async |node| {
        let agent = node.agent_with(&["--init-pool", "--log=trace"]).await;
        let clients = agent.clients().await;
        let secrets = || HashMap::from([("password".to_owned(), SECRET.to_owned())]);
        // Where the kubelet puts the tokens of service accounts.
        let context = || HashMap::from([("csi.storage.k8s.io/serviceAccount.tokens".to_owned(), SECRET.to_owned())]);
        let mut request = create_with(
            "pod",
            1 << 20,
            &[("csi.storage.k8s.io/provisioner-secret-name", SECRET)],
        );
        request.secrets = secrets();
        let id = clients.create_from(request.clone()).await.unwrap();
        let (staging, target) = (staging_path(&agent, &id), target_path(&agent, "pod", &id));
        let mut staged = stage(&id, &staging);
        (staged.secrets, staged.volume_context, staged.publish_context) = (secrets(), context(), context());
        let mut published = publish(&id, &staging, &target);
        (published.secrets, published.volume_context, published.publish_context) = (secrets(), context(), context());
        for refuse in [false, true] {
            if refuse {
                request.mutable_parameters = secrets();
                (staged.volume_id, published.volume_id) = ("vol-none".to_owned(), "vol-none".to_owned());
            }
            let created = clients.create_from(request.clone()).await;
            let staged = clients.node.clone().node_stage_volume(staged.clone()).await;
            let published = clients.publish_from(published.clone()).await;
            for (served, told) in [
                (created.is_ok(), format!("{created:?}")),
                (staged.is_ok(), format!("{staged:?}")),
                (published.is_ok(), format!("{published:?}")),
            ] {
                assert_eq!(served, !refuse, "{told}");
                assert!(!told.contains(SECRET), "{told}");
            }
        }
        let log = agent.log();
        assert!(
            log.contains("TRACE") && log.contains("volume made"),
            "it does not log all it can"
        );
        assert!(!log.contains(SECRET), "in the log");
        assert!(!get(&agent.http_address(), "/metrics").body.contains(SECRET));
        let grep = Command::new("grep")
            .args(["--recursive", SECRET])
            .arg(node.pool())
            .output();
        assert!(grep.unwrap().stdout.is_empty(), "on the disk");
    });
}

#[test]
fn privileged_what_anybody_may_ask_tells_nothing_of_anybody() {
    let name = "secrets::privileged_what_anybody_may_ask_tells_nothing_of_anybody";
    on_filesystems(name, &[Filesystem::Xfs], async |node| {
        let agent = node.agent().await;
        let clients = agent.clients().await;
        let claim = [
            ("csi.storage.k8s.io/pvc/namespace", "bank"),
            ("csi.storage.k8s.io/pvc/name", "vault-0"),
        ];
        let volume = clients
            .publish_new_from(&agent, create_with("pvc-of-the-bank", 1 << 20, &claim))
            .await;
        clients.delete(&volume.id).await.unwrap_err();
        let pool = node.pool().display().to_string();
        for page in ["/metrics", "/healthz", "/readyz"] {
            let answer = get(&agent.http_address(), page);
            assert_eq!(answer.status, 200);
            for private in ["bank", "vault", "pvc-", "test-node", &volume.id, &pool] {
                assert!(
                    !answer.body.contains(private),
                    "{page} tells {private}: {}",
                    answer.body
                );
            }
        }
        for none in [
            "/",
            "/debug/pprof",
            "/debug/pprof/heap",
            "/configz",
            "/logs/",
            "/metrics/../",
            "/volumes",
        ] {
            assert_eq!(get(&agent.http_address(), none).status, 404, "{none}");
        }
        for method in ["POST", "PUT", "DELETE"] {
            let answer = super::common::http::request(&agent.http_address(), method, "/metrics");
            assert_eq!(answer.status, 405, "{method}");
        }
    });
}
