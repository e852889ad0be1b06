//! A connection's socket on its executor: what is read from it, what is sent, how it ends.
//!
//! **Reading.** All connections of an executor share one receive buffer: the bytes of a socket that is ready (`readiness`) are received into it
//! and given to the driver at once, so an idle connection costs no buffer. A connection gives one buffer a turn; the
//! next one comes before its second. What the driver does not want read stays in the kernel: the socket is not asked about.
//!
//! **Writing.** The driver offers output at the end of a turn by a plain non-blocking send, which nearly always takes all of it. Only
//! when the socket is full the set is asked about room in it.
//!
//! **Closing.** When the driver closes a connection there is often a last word on its way (why it was refused), and closing a socket
//! that holds unread input makes the kernel reset the connection, which destroys that word. So the sending side is shut
//! down, and what still comes in is thrown away for a moment, bounded in time and bytes.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_io::AsyncRead;
use glommio::net::TcpStream;
use glommio::timer::Timer;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use super::core::Core;
use super::readiness::{Interest, Readiness};
use super::seats::Seat;
use super::turn::yield_once;
use crate::limits;
use crate::ports::ConnectionId;

/// A connection on its way to a shard's executor.
#[derive(Debug)]
pub struct Arrival {
    /// The connected socket.
    pub socket: OwnedFd,
    /// Its place.
    pub seat: Seat,
    /// What another shard received on it already.
    pub received: Vec<u8>,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Socket {
    descriptor: OwnedFd,
    seat: RefCell<Option<Seat>>,
    interest: Cell<Interest>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What a receive came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing is there.
    Nothing,
    /// The client has closed, or the connection broke.
    End,
}

impl Socket {
    /// Takes a socket into an executor's set.
    pub(super) fn new(
        arrival: OwnedFd,
        seat: Seat,
        id: ConnectionId,
        set: &Readiness,
    ) -> io::Result<Socket> {
        let interest = Interest {
            read: true,
            write: false,
        };
        set.add(&arrival, id, interest)?;
        Ok(Socket {
            descriptor: arrival,
            seat: RefCell::new(Some(seat)),
            interest: Cell::new(interest),
        })
    }

    /// Receives what is there, at most a buffer full.
    #[inline]
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Received {
        loop {
            match rustix::net::recv(self, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Received::End,
                Ok((len, _)) => return Received::Bytes(len),
                Err(rustix::io::Errno::AGAIN) => return Received::Nothing,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Received::End,
            }
        }
    }

    /// Sends what the socket takes at once.
    #[inline]
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(self, bytes, flags) {
                Ok(sent) => return Ok(sent),
                Err(rustix::io::Errno::AGAIN) => return Ok(0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the set is asked about bytes.
    #[inline]
    pub(super) fn is_read(&self) -> bool {
        self.interest.get().read
    }

    /// Changes what the set is asked about; nothing happens if that is how it is.
    pub(super) fn ask(
        &self,
        set: &Readiness,
        id: ConnectionId,
        change: impl FnOnce(&mut Interest),
    ) {
        let mut interest = self.interest.get();
        change(&mut interest);
        if interest != self.interest.replace(interest)
            && let Err(error) = set.change(self, id, interest)
        {
            tracing::error!(%error, "can't change what a connection waits for");
        }
    }

    /// The connection is served elsewhere from now on: its socket and its place.
    pub(super) fn hand_over(&self, set: &Readiness) -> io::Result<(OwnedFd, Seat)> {
        set.remove(self)?;
        let socket = self.descriptor.try_clone()?;
        let seat = self.seat.take().expect("a connection is handed over once");
        Ok((socket, seat))
    }
}

/// Ends a connection that the driver has closed: shuts the sending side down and throws away what comes in until the client
/// closes, too much has come, or the time is over.
pub(super) async fn linger(core: Rc<Core>, socket: Rc<Socket>) {
    // A spawned task runs at once, and the driver is in the middle of the turn that spawned this one.
    yield_once().await;
    // It fails if the client has reset the connection, which is as good.
    let _ = rustix::net::shutdown(&*socket, Shutdown::Write);
    let Ok(duplicate) = socket.descriptor.try_clone() else {
        return;
    };
    #[expect(
        unsafe_code,
        reason = "the only way to make glommio's stream of a socket"
    )]
    // SAFETY: the descriptor is a connected stream socket, and its ownership goes over to the stream.
    let mut stream = unsafe { TcpStream::from_raw_fd(duplicate.into_raw_fd()) };
    let mut timer = pin!(Timer::new(Duration::from_nanos(limits::LINGER_NS)));
    let mut thrown_away = 0;
    poll_fn(|context| {
        if timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = core.scratch.borrow_mut();
        loop {
            match Pin::new(&mut stream)
                .poll_read(context, &mut scratch[..limits::RECEIVE_SLICE_BYTES])
            {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(len)) if len > 0 && thrown_away < limits::LINGER_BYTES => {
                    thrown_away += len;
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    })
    .await;
}
