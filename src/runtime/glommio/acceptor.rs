//! The thread that accepts connections and deals them to the shards.
//!
//! A plain thread with a blocking socket: an idle one costs nothing, accepting is rare beside serving, and one place that sees every
//! connection can spread them evenly and count them. The listener doesn't set SO_REUSEPORT: with it, a second server on the same
//! port would start without an error and take half of the connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use corduroy_proto_wire::{Body, CONNECTION_REQUEST_ID, Response, Status};
use flume::Sender;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use thiserror::Error;

use super::connection::Arrival;
use super::seats::Seats;
use super::watchdog::Pulse;
use crate::limits;

/// How long a client may be silent before the kernel asks whether it is still there, and how long between questions.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Without a free descriptor there is nothing to do but to wait until a connection ends.
const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(50);
/// Lines about refused connections come no closer than this.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Why the node can't listen.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error(
        "another process listens on {address} already. Stop it, or give this node another address with --listen"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address is not this machine's.
    #[error(
        "{address} is not an address of this machine. Give one that is with --listen, or 0.0.0.0 for all of them"
    )]
    NotLocal {
        /// The address.
        address: SocketAddr,
    },
    /// Low ports are for privileged processes.
    #[error("this process may not listen on port {}: take one above 1023 with --listen", .address.port())]
    Privileged {
        /// The address.
        address: SocketAddr,
    },
    /// Something else.
    #[error("can't listen on {address}: {source}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
}

impl ListenError {
    fn new(address: SocketAddr, source: io::Error) -> ListenError {
        match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { address },
            io::ErrorKind::AddrNotAvailable => ListenError::NotLocal { address },
            io::ErrorKind::PermissionDenied => ListenError::Privileged { address },
            _ => ListenError::Other { address, source },
        }
    }
}

/// A bound listener, and once started its thread.
#[derive(Debug)]
pub struct Acceptor {
    listener: Arc<Socket>,
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Takes the port. Nobody can connect before [`Acceptor::start`].
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind(address: SocketAddr) -> Result<Acceptor, ListenError> {
        let bound = || -> io::Result<(Socket, SocketAddr)> {
            let socket = Socket::new(
                Domain::for_address(address),
                Type::STREAM,
                Some(Protocol::TCP),
            )?;
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            let bound = socket.local_addr()?.as_socket().unwrap_or(address);
            Ok((socket, bound))
        };
        let (socket, bound) = bound().map_err(|source| ListenError::new(address, source))?;
        Ok(Acceptor {
            listener: Arc::new(socket),
            address: bound,
            stopping: Arc::default(),
            thread: None,
        })
    }

    /// Where it listens: the port that was chosen, if none was given.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients in: each goes to the shard with the fewest.
    ///
    /// # Errors
    /// [`ListenError`] when another process has taken the port since, or there can be no thread.
    pub fn start(
        &mut self,
        seats: Arc<Seats>,
        shards: Vec<Sender<Arrival>>,
        pulses: Vec<Arc<Pulse>>,
    ) -> Result<(), ListenError> {
        let failed = |source| ListenError::new(self.address, source);
        self.listener
            .listen(limits::ACCEPT_BACKLOG)
            .map_err(failed)?;
        let dealer = Dealer {
            listener: Arc::clone(&self.listener),
            stopping: Arc::clone(&self.stopping),
            seats,
            shards,
            pulses,
            refused: 0,
            logged: None,
        };
        let thread = thread::Builder::new()
            .name("acceptor".to_owned())
            .spawn(move || dealer.run())
            .map_err(failed)?;
        self.thread = Some(thread);
        Ok(())
    }

    /// Takes no more connections. When it returns, every connection that was accepted has been given to its shard.
    pub fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // It wakes the thread; if the listener never listened there is none.
        let _ = self.listener.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the acceptor had ended before it was stopped");
        }
    }
}

/// What the acceptor's thread works with.
struct Dealer {
    listener: Arc<Socket>,
    stopping: Arc<AtomicBool>,
    seats: Arc<Seats>,
    shards: Vec<Sender<Arrival>>,
    pulses: Vec<Arc<Pulse>>,
    /// Connections refused since the last line about it.
    refused: u64,
    logged: Option<Instant>,
}

impl Dealer {
    fn run(mut self) {
        while !self.stopping.load(Ordering::Acquire) {
            match self.listener.accept() {
                Ok((socket, _)) => self.deal(socket),
                Err(error) => self.survive(&error),
            }
        }
    }

    fn deal(&mut self, socket: Socket) {
        let Some(seat) = self.seats.take() else {
            let max = self.seats.max();
            refuse(&socket, max);
            self.refused += 1;
            if self.may_log() {
                let refused = std::mem::take(&mut self.refused);
                tracing::warn!(
                    refused,
                    connections_max = max,
                    "connections refused: the node is full"
                );
            }
            return;
        };
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_TIME)
            .with_interval(KEEPALIVE_INTERVAL);
        // Both fail only for a connection that is gone already, as its shard will find.
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_keepalive(&keepalive);
        let shard = seat.shard().index();
        let arrival = Arrival {
            socket: OwnedFd::from(socket),
            seat,
            received: Vec::new(),
        };
        // A shard that takes no arrivals is one whose process is about to end.
        let _ = self.shards[shard].send(arrival);
        self.pulses[shard].sent_to();
    }

    /// The node goes on accepting, whatever the error: it is the network's, or passes.
    fn survive(&mut self, error: &io::Error) {
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        match error.raw_os_error() {
            // The client was gone before it was accepted.
            Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => {}
            _ => {
                if self.may_log() {
                    tracing::warn!(%error, "can't accept connections for the moment");
                }
                thread::sleep(PAUSE_WITHOUT_DESCRIPTORS);
            }
        }
    }

    fn may_log(&mut self) -> bool {
        let now = Instant::now();
        let may = self
            .logged
            .is_none_or(|logged| now.duration_since(logged) >= LOG_INTERVAL);
        if may {
            self.logged = Some(now);
        }
        may
    }
}

/// Tells a client that there is no place for it. It is told once and not waited for.
fn refuse(socket: &Socket, connections_max: usize) {
    let reason = format!("the node has all the connections that it may have, {connections_max}");
    let mut frame = Vec::new();
    let refusal = Response {
        status: Status::LimitExceeded,
        version: 0,
        timestamp_ms: 0,
        body: Body::Error(&reason),
    };
    refusal.encode(CONNECTION_REQUEST_ID, &mut frame);
    // What can't be told is not worth waiting for either: the connection's end says it, too.
    let _ = socket.set_nonblocking(true);
    let _ = socket.send(&frame);
    let _ = socket.shutdown(std::net::Shutdown::Write);
}
