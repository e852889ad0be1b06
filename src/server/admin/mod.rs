//! The admin HTTP: is the process alive, may clients be sent to it, what does it say of itself.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 from the moment when the port is taken, while the node recovers too |
//! | `/readyz` | 200 while every request is served; else 503 and a sentence: how far recovery is, or why a shard refuses writes |
//! | `/status` | the JSON of the native request *status*; 503 until clients are let in |
//!
//! It runs on one thread of its own, which is not pinned: an orchestrator that asks every second costs no shard anything, and a shard that is busy, or a
//! disk that hangs, can't keep `/livez` from answering. Whoever connects is bounded in number, in bytes and in time; if there are too many, the one that
//! came first goes, so that half a request sent a hundred times doesn't keep a probe out (`http`). It only reads: nothing can be changed over it.
//!
//! [`Admin::bind`], [`Admin::start`], and [`Health`] is told how far the node is; [`Admin::stop`] at the end.

mod health;
mod http;
mod status;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use thiserror::Error;
use tokio::sync::oneshot;

pub use health::{Health, ShardProgress};

/// Why there is no admin HTTP. The node doesn't start then.
#[derive(Debug, Error)]
pub enum AdminError {
    /// Somebody else listens there.
    #[error(
        "another process listens on {address} already, which was to be this node's admin address. Of several nodes on one machine each wants its own: give \
         this one another with --admin, such as --admin {host}:{next}, or none with --admin off",
        host = .address.ip(), next = .address.port().saturating_add(10)
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// Something else.
    #[error(
        "can't listen on {address} for the admin HTTP: {source}. Give another address with --admin, or --admin off"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// The kernel gives no thread, or no events.
    #[error("can't start the admin HTTP's thread: {0}")]
    Thread(io::Error),
}

/// The admin HTTP's port, and once started its thread.
#[derive(Debug)]
pub struct Admin {
    listener: Option<TcpListener>,
    address: SocketAddr,
    health: Arc<Health>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Admin {
    /// Takes the port.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn bind(address: SocketAddr, health: Arc<Health>) -> Result<Admin, AdminError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => AdminError::InUse { address },
            _ => AdminError::Listen { address, source },
        };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Admin {
            listener: Some(listener),
            address,
            health,
            running: None,
        })
    }

    /// Where it listens: the port that was chosen, if none was given.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers from now on.
    ///
    /// # Errors
    /// [`AdminError::Thread`].
    pub fn start(&mut self) -> Result<(), AdminError> {
        let Some(listener) = self.listener.take() else {
            return Ok(());
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(AdminError::Thread)?;
        let health = Arc::clone(&self.health);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(http::serve(listener, health, stopped)) {
                    tracing::error!(%error, "the admin HTTP has ended; the node serves on");
                }
            })
            .map_err(AdminError::Thread)?;
        self.running = Some((stop, thread));
        Ok(())
    }

    /// Closes the port and what is connected to it.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            // If it has ended, nobody listens.
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}
