//! What every health call has to say at once.

use tonic::Code;

use super::{Clients, refused};

/// Every call tells `reason` about the pool, and those about volumes tell it about `known`.
pub async fn pool_ails(clients: &Clients, known: &str, reason: &str) {
    assert_eq!(clients.storage_reasons().await, [reason]);
    // A disk that fails makes the volume's own directory unreadable too.
    assert_eq!(clients.controller_reasons(known).await.unwrap().last().unwrap(), reason);
    assert_eq!(clients.node_reasons(known).await.unwrap().last().unwrap(), reason);
    let findings = clients.diagnose().await;
    assert!(findings.iter().any(|finding| finding.reason == reason), "{findings:?}");
}

/// Nobody knows which volumes there are: an empty list of ailing ones would be a wrong answer.
pub async fn pool_is_lost(clients: &Clients, known: &str, reason: &str) {
    pool_ails(clients, known, reason).await;
    refused(
        clients.ailing(0).await,
        Code::FailedPrecondition,
        "the pool cannot be used",
    );
    refused(clients.create("new").await, Code::FailedPrecondition, "");
    assert!(!clients.ready().await);
}

pub async fn all_is_well(clients: &Clients, id: &str) {
    assert!(clients.ready().await);
    assert!(clients.storage_reasons().await.is_empty());
    assert!(clients.ailing(0).await.unwrap().is_empty());
    assert!(clients.controller_reasons(id).await.unwrap().is_empty());
    assert!(clients.node_reasons(id).await.unwrap().is_empty());
    let findings = clients.diagnose().await;
    assert!(findings.is_empty(), "{findings:?}");
}

/// The last digit becomes another one: nothing but the checksum tells.
pub fn flip_a_bit(bytes: &mut [u8]) {
    let digit = bytes.iter_mut().rev().find(|byte| byte.is_ascii_digit());
    *digit.unwrap() ^= 1;
}
