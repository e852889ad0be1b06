//! Which connections have bytes, or room: one epoll set an executor, and one io_uring poll for the whole set.
//!
//! glommio's own stream asks io_uring about each socket, once for every read: a submission, a completion, a waker and a task switch
//! a request. Here all sockets of an executor are in one epoll set. While there is traffic, a turn begins with one
//! `epoll_wait` that never blocks, answers for many connections at once and needs nothing re-armed; only when it finds nothing does the
//! executor ask io_uring to be told when the *set* becomes readable, and sleeps. Measured against a task a connection: see
//! `docs/decisions/0003-epoll-under-the-executor.md`.
//!
//! The set is **edge-triggered**: it tells of a socket once for what has come, not for as long as something is there, which would have the kernel look at
//! each socket twice a request. So nobody may leave bytes in a socket and wait for the set to tell of them again:
//!
//! - A receive that filled its buffer may have left some: the connection is served again, after the others (`Received::Bytes`).
//! - One that didn't has emptied the socket, and what comes later is told of; but the client's end of the stream may have come with the bytes, and is no news then. It is told of
//!   with them ([`Ready::at_end`]), and the connection is served again for it.
//! - Bytes that come while a connection is not read from are told of when the set is asked about them again.
//!
//! glommio offers no way to wait for a bare descriptor. Its `TcpStream`, though, polls whatever descriptor it is made of before it
//! first reads from it: so waiting for the set is making a stream of a duplicate of it, and polling that until it says anything
//! (it then says that this is no socket).

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;

use futures_io::AsyncRead;
use glommio::net::TcpStream;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::limits;
use crate::ports::ConnectionId;

/// What to be told of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interest {
    /// Bytes have come, or the end.
    pub(super) read: bool,
    /// There is room to send.
    pub(super) write: bool,
}

impl Interest {
    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::ET;
        flags.set(EventFlags::IN | EventFlags::RDHUP, self.read);
        flags.set(EventFlags::OUT, self.write);
        flags
    }
}

/// What a connection is ready for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) connection: ConnectionId,
    /// Reading would answer something: bytes, the end, or an error.
    pub(super) read: bool,
    pub(super) write: bool,
    /// After its bytes comes nothing more.
    pub(super) at_end: bool,
    /// The connection has broken, whether it is being read from or not.
    pub(super) broken: bool,
}

/// An executor's epoll set.
#[derive(Debug)]
pub(super) struct Readiness {
    epoll: OwnedFd,
    events: Vec<MaybeUninit<Event>>,
}

impl Readiness {
    pub(super) fn new() -> io::Result<Readiness> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Readiness {
            epoll,
            events: vec![MaybeUninit::uninit(); limits::READY_EVENTS_MAX],
        })
    }

    pub(super) fn add(
        &self,
        socket: impl AsFd,
        id: ConnectionId,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, data(id), interest.flags())?)
    }

    pub(super) fn change(
        &self,
        socket: impl AsFd,
        id: ConnectionId,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            socket,
            data(id),
            interest.flags(),
        )?)
    }

    /// Takes a socket out. A descriptor that was duplicated stays in the set otherwise, whatever happens to this one.
    pub(super) fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// Appends what is ready now, at most as much as one call answers, to `ready`; never blocks.
    pub(super) fn look(&mut self, ready: &mut Vec<Ready>) -> io::Result<()> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let (events, _) = match epoll::wait(&self.epoll, &mut self.events[..], Some(&now)) {
            Ok(answer) => answer,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        ready.extend(events.iter().map(|event| {
            // A copy: the kernel's struct is packed.
            let Event { flags, data } = *event;
            let number = data.u64();
            let connection = ConnectionId {
                slot: number as u32,
                generation: (number >> 32) as u32,
            };
            Ready {
                connection,
                read: flags.intersects(
                    EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR,
                ),
                write: flags.contains(EventFlags::OUT),
                at_end: flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR),
                broken: flags.intersects(EventFlags::HUP | EventFlags::ERR),
            }
        }));
        Ok(())
    }

    /// A duplicate of the set, to wait for.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.epoll.try_clone()
    }
}

fn data(id: ConnectionId) -> EventData {
    EventData::new_u64(u64::from(id.slot) | (u64::from(id.generation) << 32))
}

/// Resolves when something in the set is ready. `set` is a duplicate of it, closed here.
pub(super) async fn wait(set: OwnedFd) {
    #[expect(unsafe_code, reason = "the only way to make glommio poll a descriptor")]
    // SAFETY: the descriptor is open and owned, and its ownership goes over to the stream. That it is no socket shows in the
    // error of a read, which is all that is asked of it.
    let mut stream = unsafe { TcpStream::from_raw_fd(set.into_raw_fd()) };
    let mut nothing = [0; 1];
    let _ = poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut nothing)).await;
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    const ID: ConnectionId = ConnectionId {
        slot: 3,
        generation: 7,
    };
    const READ: Interest = Interest {
        read: true,
        write: false,
    };

    fn watched() -> (Readiness, UnixStream, UnixStream) {
        let set = Readiness::new().unwrap();
        let (server, client) = UnixStream::pair().unwrap();
        set.add(&server, ID, READ).unwrap();
        (set, server, client)
    }

    fn look(set: &mut Readiness) -> Option<Ready> {
        let mut ready = Vec::new();
        set.look(&mut ready).unwrap();
        assert!(ready.len() <= 1, "{ready:?}");
        ready.pop()
    }

    #[test]
    fn bytes_are_told_of_once() {
        let (mut set, _server, mut client) = watched();
        assert!(look(&mut set).is_none());
        client.write_all(b"one").unwrap();
        let ready = look(&mut set).unwrap();
        assert!(ready.connection == ID && ready.read && !ready.at_end && !ready.broken);
        assert!(look(&mut set).is_none(), "nothing has come since");
        client.write_all(b"two").unwrap();
        assert!(look(&mut set).is_some_and(|ready| ready.read));
    }

    #[test]
    fn the_end_is_told_of_with_the_bytes_before_it() {
        let (mut set, _server, mut client) = watched();
        client.write_all(b"last").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(look(&mut set).is_some_and(|ready| ready.read && ready.at_end && !ready.broken));
        assert!(look(&mut set).is_none());
    }

    #[test]
    fn what_came_while_nobody_asked_is_told_of_when_somebody_asks() {
        let (mut set, server, mut client) = watched();
        let nothing = Interest {
            read: false,
            write: false,
        };
        set.change(&server, ID, nothing).unwrap();
        client.write_all(b"early").unwrap();
        assert!(look(&mut set).is_none());
        set.change(&server, ID, READ).unwrap();
        assert!(look(&mut set).is_some_and(|ready| ready.read));
    }
}
