//! Serves clients that send the path of the socket as authority.
//!
//! On a unix socket the authority of a request (HTTP/2's `:authority`) means nothing, but grpc-go fills it in
//! from the target: the kubelet's plugin manager sends `%2Fvar%2Flib%2Fkubelet%2F…`, older clients the bare path.
//! h2 refuses either as malformed, with the stream reset. So such an authority becomes `localhost` before h2
//! sees it. See `hpack` for why this leaves the compression's state right, and `frames` for what is looked at.
//!
//! In the steady state this costs a look at each frame's header and at each header block: clients send the
//! authority as an index into the compression's table from the second request on, and octets that are not
//! replaced stay where the stream below wrote them.

mod frames;
mod hpack;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use self::frames::{Frames, Step};

/// How much room the buffers keep while they are empty.
const KEPT: usize = 4096;

/// A server's end of a unix socket on which a request's authority is `localhost` where the client sent a path.
///
/// What is no HTTP/2, or not well formed, passes unchanged, from there to the end of the connection.
#[derive(Debug)]
pub struct LocalAuthority<S> {
    stream: S,
    frames: Frames,
    /// Read, but not yet judged: the start of a frame's header or of a header block, or what came behind a
    /// header block that was replaced. At most that of one block and one read.
    held: Vec<u8>,
    /// Judged, and to be delivered from `delivered` on.
    ready: Vec<u8>,
    delivered: usize,
}

impl<S> LocalAuthority<S> {
    /// Wraps a stream of which nothing has been read yet.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            frames: Frames::new(),
            held: Vec::new(),
            ready: Vec::new(),
            delivered: 0,
        }
    }

    /// Moves what is ready to `target`, and says whether anything was.
    fn deliver(&mut self, target: &mut ReadBuf<'_>) -> bool {
        let ready = self.ready.get(self.delivered..).unwrap_or_default();
        if ready.is_empty() {
            return false;
        }
        let now = ready.get(..target.remaining()).unwrap_or(ready);
        target.put_slice(now);
        self.delivered += now.len();
        if self.delivered == self.ready.len() {
            self.delivered = 0;
            self.ready.clear();
            self.ready.shrink_to(KEPT);
        }
        true
    }

    /// Judges what was held, after more came.
    fn judge_held(&mut self) {
        let mut judged = 0;
        while let Some(rest) = self.held.get(judged..).filter(|rest| !rest.is_empty()) {
            match self.frames.step(rest, &mut self.ready) {
                Step::Pass(length) => {
                    self.ready.extend_from_slice(rest.get(..length).unwrap_or(rest));
                    judged += length;
                }
                Step::Replaced(length) => judged += length,
                Step::Wait => break,
            }
        }
        self.held.drain(..judged);
        if self.held.is_empty() {
            self.held.shrink_to(KEPT);
        }
    }

    /// Judges what was just read, while nothing is held. Says how many octets may stay where they are, and
    /// holds those behind, which are still to be judged.
    fn judge_in_place(&mut self, fresh: &[u8]) -> usize {
        let mut passed = 0;
        while let Some(rest) = fresh.get(passed..).filter(|rest| !rest.is_empty()) {
            let replaced = match self.frames.step(rest, &mut self.ready) {
                Step::Pass(length) => {
                    passed += length;
                    continue;
                }
                Step::Replaced(length) => length,
                Step::Wait => 0,
            };
            self.held.extend_from_slice(rest.get(replaced..).unwrap_or_default());
            break;
        }
        passed
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LocalAuthority<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if target.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.ready.is_empty() {
                this.judge_held();
            }
            if this.deliver(target) {
                return Poll::Ready(Ok(()));
            }
            let start = target.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, target))?;
            let fresh = target.filled().get(start..).unwrap_or_default();
            if fresh.is_empty() {
                // The end: what was held back is all there will be.
                std::mem::swap(&mut this.ready, &mut this.held);
                this.deliver(target);
                return Poll::Ready(Ok(()));
            }
            if this.held.is_empty() {
                let passed = this.judge_in_place(fresh);
                target.set_filled(start + passed);
                if passed > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                this.held.extend_from_slice(fresh);
                target.set_filled(start);
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LocalAuthority<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, octets)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl<S: Connected> Connected for LocalAuthority<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}
