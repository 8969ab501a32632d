//! How many calls run: the end waits for them, and not for clients that stay connected.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Counts the calls that run.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<watch::Sender<usize>>);

/// One call that runs until this is dropped.
#[derive(Debug)]
pub struct Call(Running);

impl Running {
    /// Counts a call that begins.
    pub fn begin(&self) -> Call {
        self.0.send_modify(|calls| *calls += 1);
        Call(self.clone())
    }

    /// Waits until no call has run for `time`.
    pub async fn quiet(&self, time: Duration) {
        let mut calls = self.0.subscribe();
        // Neither wait can fail: the sender is `self`.
        while calls.wait_for(|calls| *calls == 0).await.is_ok() {
            if tokio::time::timeout(time, calls.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.0.send_modify(|calls| *calls -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn it_is_quiet_once_the_last_call_has_ended() {
        let running = Running::default();
        running.quiet(SHORT).await;
        let (first, second) = (running.begin(), running.begin());
        drop(first);
        let quiet = running.quiet(SHORT);
        tokio::pin!(quiet);
        assert!(
            tokio::time::timeout(3 * SHORT, &mut quiet).await.is_err(),
            "a call runs"
        );
        drop(second);
        quiet.await;
    }
}
