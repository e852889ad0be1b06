//! A connection's socket on its executor: one task that reads, and one that writes while the socket is full.
//!
//! **Reading.** All connections of an executor share one receive buffer: a reader fills it and gives it to the driver within one
//! poll, so nothing of it outlives the poll, and an idle connection costs no buffer. A reader takes one buffer a turn; the next
//! connection comes before its second one. Nobody else ever polls the stream's reading side: glommio counts a waker for each poll.
//!
//! **Writing.** The driver offers output at the end of a turn by a plain non-blocking send, which nearly always takes all of it. Only
//! when the socket is full a writer task is spawned; it sends the next slice when there is room, tells the driver, and ends.
//!
//! **Closing.** When the driver closes a connection there is often a last word on its way (why it was refused), and closing a socket
//! that holds unread input makes the kernel reset the connection, which destroys that word. So the sending side is shut
//! down, and what still comes in is thrown away for a moment, bounded in time and bytes.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use glommio::timer::Timer;
use rustix::net::{SendFlags, Shutdown};

use super::core::Core;
use super::seats::Seat;
use super::turn::{Signal, yield_once};
use crate::limits;
use crate::ports::ConnectionId;
use crate::runtime::driver::Flow;

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
    stream: RefCell<TcpStream>,
    /// Wakes the reader when it may go on, or has to end.
    reader: Signal,
    state: Cell<State>,
    seat: RefCell<Option<Seat>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// The driver takes nothing more for now.
    Paused,
    /// The driver has closed the connection.
    Closing,
    /// It is another shard's, or its client has closed it.
    Gone,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let descriptor = self.stream.borrow().as_raw_fd();
        #[expect(unsafe_code, reason = "glommio's stream does not implement AsFd")]
        // SAFETY: the stream owns the descriptor, is owned by `self`, and never gives it up before it is dropped.
        unsafe {
            BorrowedFd::borrow_raw(descriptor)
        }
    }
}

impl Socket {
    pub(super) fn new(socket: OwnedFd, seat: Seat) -> Socket {
        #[expect(
            unsafe_code,
            reason = "the only way to make glommio's stream of a socket"
        )]
        // SAFETY: the descriptor is a connected stream socket, and its ownership goes over to the stream.
        let stream = unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) };
        Socket {
            stream: RefCell::new(stream),
            reader: Signal::default(),
            state: Cell::new(State::Reading),
            seat: RefCell::new(Some(seat)),
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

    /// Goes on reading.
    pub(super) fn resume(&self) {
        if self.state.get() == State::Paused {
            self.state.set(State::Reading);
            self.reader.give();
        }
    }

    /// Ends the connection; its reader does the rest.
    pub(super) fn close(&self) {
        self.state.set(State::Closing);
        // It fails if the client has reset the connection, which is as good.
        let _ = rustix::net::shutdown(self, Shutdown::Write);
        self.reader.give();
    }

    /// The connection is served elsewhere from now on: its socket once more, and its place.
    pub(super) fn hand_over(&self) -> io::Result<(OwnedFd, Seat)> {
        let socket = self.as_fd().try_clone_to_owned()?;
        self.state.set(State::Gone);
        self.reader.give();
        let seat = self.seat.take().expect("a connection is handed over once");
        Ok((socket, seat))
    }

    fn poll_read(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_read(context, buffer)
    }

    fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_write(context, bytes)
    }
}

/// Reads from a connection until it ends. `first` is what the driver said of bytes that had come before.
pub(super) async fn read(core: Rc<Core>, id: ConnectionId, socket: Rc<Socket>, first: Flow) {
    socket.followed(first);
    poll_fn(|context| socket.poll_reading(context, &core, id)).await;
    if socket.state.get() == State::Closing {
        socket.linger(&core).await;
    }
}

impl Socket {
    fn followed(&self, flow: Flow) {
        match flow {
            Flow::Continue => {}
            Flow::Pause => {
                // It may have been closed or handed over while the driver worked.
                if self.state.get() == State::Reading {
                    self.state.set(State::Paused);
                }
            }
            Flow::Gone => {
                if self.state.get() != State::Closing {
                    self.state.set(State::Gone);
                }
            }
        }
    }

    fn poll_reading(&self, context: &mut Context<'_>, core: &Core, id: ConnectionId) -> Poll<()> {
        while self.reader.poll_taken(context).is_ready() {}
        let mut taken = 0;
        loop {
            match self.state.get() {
                State::Reading => {}
                State::Paused => return Poll::Pending,
                State::Closing | State::Gone => return Poll::Ready(()),
            }
            let mut scratch = core.scratch.borrow_mut();
            if taken >= scratch.len() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.poll_read(context, &mut scratch) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(len)) if len > 0 => {
                    taken += len;
                    let flow = core.received(id, &scratch[..len]);
                    self.followed(flow);
                }
                Poll::Ready(_) => {
                    core.closed(id);
                    self.state.set(State::Gone);
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Throws away what comes in until the client closes, too much has come, or the time is over.
    async fn linger(&self, core: &Core) {
        let mut timer = pin!(Timer::new(Duration::from_nanos(limits::LINGER_NS)));
        let mut thrown_away = 0;
        poll_fn(|context| {
            if timer.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let mut scratch = core.scratch.borrow_mut();
            loop {
                match self.poll_read(context, &mut scratch) {
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
}

/// Waits until a full socket has room, sends the next slice of the connection's output, and tells the driver.
pub(super) async fn write(core: Rc<Core>, id: ConnectionId, socket: Rc<Socket>) {
    // A spawned task runs at once, and the driver is in the middle of the turn that spawned this one.
    yield_once().await;
    let failed = poll_fn(|context| {
        if matches!(socket.state.get(), State::Closing | State::Gone) {
            return Poll::Ready(false);
        }
        let mut driver = core.driver.borrow_mut();
        let Some(unsent) = driver.unsent(id) else {
            return Poll::Ready(false);
        };
        match socket.poll_write(context, unsent) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(len)) => {
                driver.sent(id, len);
                Poll::Ready(false)
            }
            Poll::Ready(Err(_)) => Poll::Ready(true),
        }
    })
    .await;
    if failed {
        core.closed(id);
        socket.state.set(State::Gone);
        socket.reader.give();
    }
    core.delivered();
}
