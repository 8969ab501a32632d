//! How many may be connected: a crowd of clients that say nothing, or of strangers, costs bounded memory
//! and keeps nobody else from being served.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tonic::transport::server::Connected;

/// Admits connections, so many at a time: one more ends the one that was heard from the longest ago.
#[derive(Debug)]
pub struct Crowd {
    most: usize,
    life: Option<Duration>,
    guests: Vec<Guest>,
    /// Counts what is heard, from anybody: a later word has a higher number.
    words: Arc<AtomicU64>,
}

/// What is known of a connection.
#[derive(Debug)]
struct Guest {
    leave: oneshot::Sender<()>,
    heard: Arc<AtomicU64>,
}

impl Crowd {
    /// At most `most` connections, of which none lasts longer than `life`, whatever is said on it.
    pub fn new(most: usize, life: Option<Duration>) -> Self {
        Self {
            most,
            life,
            guests: Vec::new(),
            words: Arc::default(),
        }
    }

    /// Admits a connection.
    pub fn admit<S>(&mut self, stream: S) -> Admitted<S> {
        self.guests.retain(|guest| !guest.leave.is_closed());
        if self.guests.len() >= self.most {
            let heard = |(_, guest): &(usize, &Guest)| guest.heard.load(Ordering::Relaxed);
            let silent = self.guests.iter().enumerate().min_by_key(heard).map(|(index, _)| index);
            if let Some(silent) = silent {
                // Its connection may have ended by now.
                let _ = self.guests.swap_remove(silent).leave.send(());
            }
        }
        let (leave, told) = oneshot::channel();
        let heard = Arc::new(AtomicU64::new(self.words.fetch_add(1, Ordering::Relaxed)));
        self.guests.push(Guest {
            leave,
            heard: heard.clone(),
        });
        let life = self.life;
        let end = async move {
            let told = async {
                // Connections outlive the crowd while the agent ends: then nobody needs their room.
                if told.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            match life {
                Some(life) => drop(tokio::time::timeout(life, told).await),
                None => told.await,
            }
        };
        Admitted {
            stream,
            end: Some(Box::pin(end)),
            heard,
            words: self.words.clone(),
        }
    }
}

/// A connection that fails once it has to make room.
pub struct Admitted<S> {
    stream: S,
    /// `None` once it has come.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    heard: Arc<AtomicU64>,
    words: Arc<AtomicU64>,
}

impl<S: Unpin> Admitted<S> {
    /// The stream, as long as it may be used.
    fn stream(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut S>> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(context).is_ready()
        {
            self.end = None;
        }
        match self.end {
            Some(_) => Ok(Pin::new(&mut self.stream)),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Admitted<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = this.stream(context)?.poll_read(context, into);
        if read.is_ready() {
            let word = this.words.fetch_add(1, Ordering::Relaxed);
            this.heard.store(word, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Admitted<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().stream(context)?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream(context)?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream(context)?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl<S: Connected> Connected for Admitted<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn enter(crowd: &mut Crowd) -> (DuplexStream, Admitted<DuplexStream>) {
        let (client, server) = duplex(64);
        (client, crowd.admit(server))
    }

    #[tokio::test]
    async fn who_was_silent_the_longest_makes_room() {
        let mut crowd = Crowd::new(2, None);
        let (mut first, mut first_here) = enter(&mut crowd);
        let (_second, mut second_here) = enter(&mut crowd);
        first.write_all(b"a").await.unwrap();
        assert_eq!(first_here.read_u8().await.unwrap(), b'a');
        let (mut third, mut third_here) = enter(&mut crowd);
        assert_eq!(second_here.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        for (client, here) in [(&mut first, &mut first_here), (&mut third, &mut third_here)] {
            client.write_all(b"b").await.unwrap();
            assert_eq!(here.read_u8().await.unwrap(), b'b');
        }
        // Who went by itself has made room already.
        drop(third_here);
        let (_fourth, _fourth_here) = enter(&mut crowd);
        first.write_all(b"c").await.unwrap();
        assert_eq!(first_here.read_u8().await.unwrap(), b'c');
    }

    #[tokio::test]
    async fn nobody_is_sent_away_because_no_more_are_admitted() {
        let mut crowd = Crowd::new(2, None);
        let (mut client, mut here) = enter(&mut crowd);
        drop(crowd);
        client.write_all(b"a").await.unwrap();
        assert_eq!(here.read_u8().await.unwrap(), b'a');
    }

    #[tokio::test]
    async fn nobody_stays_for_longer_than_the_life_of_a_connection() {
        let mut crowd = Crowd::new(2, Some(Duration::from_millis(50)));
        let (mut client, mut here) = enter(&mut crowd);
        let talk = async {
            loop {
                client.write_all(b"a").await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let listen = async { while here.read_u8().await.is_ok() {} };
        let _: io::Result<()> = tokio::select! {
            () = listen => Ok(()),
            end = talk => end,
        };
        let (_other, mut other_here) = enter(&mut crowd);
        assert!(other_here.read_u8().await.is_err(), "silent for ever");
    }
}
