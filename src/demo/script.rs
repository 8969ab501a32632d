//! What happens to a StatefulSet, in which order.

use anyhow::Result;

use super::cluster::Cluster;
use super::crash;
use super::manifest::StatefulSet;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The StatefulSet is scaled to this many replicas.
    Scale(u64),
    /// The pod of this ordinal is deleted.
    Delete(u64),
    /// The pod of this ordinal comes back under a new UID.
    Return(u64),
    /// The agent is killed and restarted while the pod of this ordinal writes.
    KillWhileWriting(u64),
    /// The agent is killed and restarted while it makes the first volume of the pod of this ordinal.
    KillWhileCreating(u64),
}

impl Act {
    /// What to call it.
    pub fn title(self, set: &StatefulSet) -> String {
        let name = &set.name;
        match self {
            Self::Scale(replicas) => format!("{name} scaled to {replicas}"),
            Self::Delete(ordinal) => format!("pod {name}-{ordinal} deleted"),
            Self::Return(ordinal) => format!("pod {name}-{ordinal} back under a new UID"),
            Self::KillWhileWriting(ordinal) => format!("agent killed while {name}-{ordinal} wrote"),
            Self::KillWhileCreating(ordinal) => {
                format!("agent killed while it made a volume for {name}-{ordinal}")
            }
        }
    }

    /// Lets it happen; tells what is worth telling about it.
    pub async fn perform(self, cluster: &mut Cluster<'_>, set: &StatefulSet) -> Result<Option<String>> {
        match self {
            Self::Scale(replicas) => cluster.scale(set, replicas).await.map(|()| None),
            Self::Delete(ordinal) => cluster.delete_pod(set, ordinal).await.map(|()| None),
            Self::Return(ordinal) => cluster.ensure_pod(set, ordinal).await.map(|()| None),
            Self::KillWhileWriting(ordinal) => crash::while_writing(cluster, set, ordinal).await.map(Some),
            Self::KillWhileCreating(ordinal) => crash::while_creating(cluster, set, ordinal).await.map(Some),
        }
    }
}

/// The life of a StatefulSet with this many replicas, at least one.
pub fn life(replicas: u64) -> [Act; 10] {
    [
        Act::Scale(replicas),
        Act::Delete(0),
        Act::Return(0),
        Act::Scale(replicas - 1),
        Act::Scale(replicas),
        Act::KillWhileWriting(0),
        Act::KillWhileCreating(replicas),
        Act::Scale(replicas + 1),
        // The StatefulSet is taken away, and comes back to the claims that it left.
        Act::Scale(0),
        Act::Scale(replicas + 1),
    ]
}
