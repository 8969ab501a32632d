//! Connections of strangers: every pod of the cluster may reach this port, so none of them lasts long and
//! a crowd of them costs little.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};

use crate::server::{Admitted, Crowd};

/// Connections at the same time: probes and Prometheus need a few, for milliseconds each.
const MOST: usize = 64;
/// How long one lasts.
const LIFE: Duration = Duration::from_secs(10);

/// A TCP listener whose connections are bounded in number and time.
pub struct Bounded {
    listener: TcpListener,
    crowd: Crowd,
}

impl Bounded {
    /// Takes connections from `listener`.
    pub fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            crowd: Crowd::new(MOST, Some(LIFE)),
        }
    }
}

impl Listener for Bounded {
    type Io = Admitted<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Admitted<TcpStream>, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (self.crowd.admit(stream), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
