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
//! An executor that finds nothing **naps** first: its thread blocks in `epoll_wait` itself, for a millisecond at most. To be told by io_uring takes a duplicate of the set, a poll, a park and a membarrier, which is half
//! of a small request; a core with traffic finds nothing a hundred thousand times a second. It naps only when no task of its own is runnable or waits for io_uring, and other threads that send something call it
//! ([`Pulse::sent_to`](super::watchdog::Pulse::sent_to)). What nobody calls it for (glommio's own timers) is a millisecond late at most. After a nap that nobody ended it asks io_uring and sleeps as long as it takes.
//!
//! glommio offers no way to wait for a bare descriptor. Its `TcpStream`, though, polls whatever descriptor it is made of before it
//! first reads from it: so waiting for the set is making a stream of a duplicate of it, and polling that until it says anything
//! (it then says that this is no socket).

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;

use futures_io::AsyncRead;
use glommio::net::TcpStream;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

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
    /// In the set, too: other threads write to it while the executor [naps](Readiness::nap).
    call: Arc<OwnedFd>,
}

/// How a nap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nap {
    /// A connection is ready.
    Ready,
    /// Another thread has called.
    Called,
    /// Neither.
    Over,
}

/// What the set calls the descriptor by which other threads call: no connection is.
const CALL: u64 = u64::MAX;

impl Readiness {
    pub(super) fn new() -> io::Result<Readiness> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let call = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Each write is news, so nobody needs to read it.
        epoll::add(
            &epoll,
            &call,
            EventData::new_u64(CALL),
            EventFlags::IN | EventFlags::ET,
        )?;
        Ok(Readiness {
            epoll,
            call: Arc::new(call),
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
        self.wait(0, ready).map(|_| ())
    }

    /// Blocks the thread until something is ready, another thread [calls](Readiness::call), or [`NAP_NS`](limits::NAP_NS) are over. Appends what is ready to `ready`.
    pub(super) fn nap(&mut self, ready: &mut Vec<Ready>) -> io::Result<Nap> {
        let before = ready.len();
        let called = self.wait(limits::NAP_NS, ready)?;
        Ok(match (ready.len() > before, called) {
            (true, _) => Nap::Ready,
            (false, true) => Nap::Called,
            (false, false) => Nap::Over,
        })
    }

    /// Ends a nap when something is written to it.
    pub(super) fn call(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.call)
    }

    /// Waits for so long at most. Answers whether another thread has called.
    fn wait(&mut self, nanos: u64, ready: &mut Vec<Ready>) -> io::Result<bool> {
        let at_most = Timespec {
            tv_sec: 0,
            tv_nsec: nanos as i64,
        };
        let (events, _) = match epoll::wait(&self.epoll, &mut self.events[..], Some(&at_most)) {
            Ok(answer) => answer,
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut called = false;
        for event in &*events {
            // A copy: the kernel's struct is packed.
            let Event { flags, data } = *event;
            let number = data.u64();
            if number == CALL {
                called = true;
                continue;
            }
            let connection = ConnectionId {
                slot: number as u32,
                generation: (number >> 32) as u32,
            };
            ready.push(Ready {
                connection,
                read: flags.intersects(
                    EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR,
                ),
                write: flags.contains(EventFlags::OUT),
                at_end: flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR),
                broken: flags.intersects(EventFlags::HUP | EventFlags::ERR),
            });
        }
        Ok(called)
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

    use super::super::watchdog::Pulse;
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

    /// A nap that misses what ends it makes a request wait a millisecond; one that takes a call for a connection would serve one that isn't there.
    #[test]
    fn a_nap_ends_with_bytes_a_call_or_by_itself() {
        let (mut set, _server, mut client) = watched();
        let mut ready = Vec::new();
        assert_eq!(set.nap(&mut ready).unwrap(), Nap::Over);
        rustix::io::write(set.call(), &1u64.to_ne_bytes()).unwrap();
        assert_eq!(set.nap(&mut ready).unwrap(), Nap::Called);
        assert_eq!(set.nap(&mut ready).unwrap(), Nap::Over, "it was heard");
        assert!(ready.is_empty());
        client.write_all(b"bytes").unwrap();
        rustix::io::write(set.call(), &1u64.to_ne_bytes()).unwrap();
        assert_eq!(set.nap(&mut ready).unwrap(), Nap::Ready);
        assert!(ready.len() == 1 && ready[0].connection == ID);
    }

    /// Other threads send while the executor lies down, and only those that find it lying down write to its descriptor: in every order one of the two must see the other.
    #[test]
    fn whatever_is_sent_ends_the_nap_or_is_seen_before_it() {
        const ROUNDS: u64 = 20_000;
        let mut set = Readiness::new().unwrap();
        let pulse = Pulse::all(1).remove(0);
        pulse.called_by(set.call());
        let (send, receive) = flume::unbounded();
        let (ask, asked) = flume::bounded(1);
        let sender = std::thread::spawn({
            let pulse = Arc::clone(&pulse);
            move || {
                while let Ok(round) = asked.recv() {
                    send.send(round).unwrap();
                    pulse.sent_to();
                }
            }
        });
        let mut missed = 0;
        for round in 0..ROUNDS {
            ask.send(round).unwrap();
            loop {
                pulse.naps(true);
                let nap = match receive.is_empty() {
                    true => set.nap(&mut Vec::new()).unwrap(),
                    false => Nap::Called,
                };
                pulse.naps(false);
                match receive.try_recv() {
                    Ok(sent) => {
                        assert_eq!(sent, round);
                        // It came while this slept, and nobody said so.
                        missed += u64::from(nap == Nap::Over);
                        break;
                    }
                    Err(_) => continue,
                }
            }
        }
        drop(ask);
        sender.join().unwrap();
        // A nap may end by itself in the very moment between what is sent and the call.
        assert!(missed < ROUNDS / 100, "{missed} were missed");
    }
}
