//! Publishing on real mounts.

mod common;

use common::requests::{MIB, create, publish, stage, staging_path, target_path};
use common::{Agent, Disk, Filesystem, isolated};

#[test]
fn privileged_a_thousand_duplicate_publishes_make_one_mount() {
    isolated("privileged_a_thousand_duplicate_publishes_make_one_mount", async {
        for filesystem in Filesystem::ALL {
            let home = tempfile::tempdir().unwrap();
            let pool = home.path().join("pool");
            Disk::make(home.path(), "disk", filesystem, filesystem.smallest_mib().max(64)).mount(&pool, "");
            let agent = Agent::start(home.path(), &pool).await;
            let clients = agent.clients().await;
            let created = clients
                .controller
                .clone()
                .create_volume(create("one", MIB))
                .await
                .unwrap();
            let id = created.into_inner().volume.unwrap().volume_id;
            let (staging, target) = (staging_path(&agent, &id), target_path(&agent, "pod", &id));
            clients
                .node
                .clone()
                .node_stage_volume(stage(&id, &staging))
                .await
                .unwrap();
            let mut calls = tokio::task::JoinSet::new();
            for _ in 0..1000 {
                let (mut node, request) = (clients.node.clone(), publish(&id, &staging, &target));
                calls.spawn(async move { node.node_publish_volume(request).await });
            }
            let mut served = 0;
            while let Some(answer) = calls.join_next().await {
                match answer.unwrap() {
                    Ok(_) => served += 1,
                    Err(status) => assert_eq!(status.code(), tonic::Code::Aborted, "{status}"),
                }
            }
            assert!(served >= 1, "{filesystem:?}: none of them was served");
            assert_eq!(common::disk::mount_depth(&target), 1, "{filesystem:?}");
        }
    });
}
