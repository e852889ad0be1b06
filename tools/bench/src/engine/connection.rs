//! One connection: its socket, its slots and what is left over between two turns.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use rustix::event::epoll::EventFlags;
use socket2::{Domain, Protocol, Socket, Type};

use super::{clock::Nanos, slots::Slots};

/// Where a connection is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No socket. It is opened again at a time that the worker knows.
    Closed,
    /// The kernel is connecting, until this moment at most.
    Connecting(Nanos),
    /// The greeting is under way, until this moment at most.
    Greeting(Nanos),
    /// Operations may be sent.
    Open,
}

/// A non-blocking socket and the operations on it.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    /// Its number among those of all threads.
    pub(crate) number: u32,
    pub(crate) state: State,
    stream: Option<TcpStream>,
    /// What it asks.
    pub(crate) source: S,
    /// The source has ended.
    pub(crate) is_dry: bool,
    pub(crate) slots: Slots,
    /// Whether it stands in the line of those with a free slot.
    pub(crate) is_listed: bool,
    /// Counts openings, so that what was meant for an earlier one is known.
    pub(crate) incarnation: u32,
    /// Openings that came to nothing, since the last reply.
    pub(crate) failures: u32,
    /// The beginning of a reply whose end hasn't come yet.
    partial: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
    /// What epoll reports of it.
    pub(crate) interest: EventFlags,
}

impl<S> Connection<S> {
    /// Not opened yet.
    pub(crate) fn new(number: u32, source: S, slots: Slots) -> Connection<S> {
        Connection {
            number,
            state: State::Closed,
            stream: None,
            source,
            is_dry: false,
            slots,
            is_listed: false,
            incarnation: 0,
            failures: 0,
            partial: Vec::new(),
            unsent: Vec::new(),
            interest: EventFlags::empty(),
        }
    }

    /// Begins to connect; the socket is writable when that has come to an end.
    pub(crate) fn connect(&mut self, address: SocketAddr, until: Nanos) -> io::Result<&TcpStream> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) => return Err(error),
        }
        self.state = State::Connecting(until);
        self.incarnation += 1;
        Ok(self.stream.insert(socket.into()))
    }

    /// What became of connecting, once the socket is writable.
    pub(crate) fn connected(&self) -> io::Result<()> {
        match self.stream()?.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Lets go of the socket and of what was left over. Slots stay as they are.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        self.stream = None;
        self.partial.clear();
        self.unsent.clear();
        self.interest = EventFlags::empty();
    }

    /// The socket, for epoll.
    pub(crate) fn stream(&self) -> io::Result<&TcpStream> {
        self.stream
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether operations may be sent and there is room for one.
    #[inline]
    pub(crate) fn takes_more(&self) -> bool {
        self.state == State::Open && !self.is_dry && self.slots.has_room()
    }

    /// What epoll is to report.
    pub(crate) fn wanted(&self) -> EventFlags {
        match self.state {
            State::Connecting(_) => EventFlags::OUT,
            _ if self.unsent.is_empty() => EventFlags::IN,
            _ => EventFlags::IN | EventFlags::OUT,
        }
    }

    /// Reads once. What was left over from the last read stands at the start of `buffer`, what was read behind it; answers how
    /// long both are together, or `None` if nothing was there to read. Grows the buffer if a reply needs that.
    pub(crate) fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let kept = self.partial.len();
        if 2 * kept > buffer.len() {
            buffer.resize(4 * kept, 0);
        }
        buffer[..kept].copy_from_slice(&self.partial);
        let stream = self
            .stream
            .as_mut()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        match stream.read(&mut buffer[kept..]) {
            Ok(0) => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed it",
            )),
            Ok(received) => Ok(Some(kept + received)),
            Err(error) if is_transient(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the beginning of a reply for the next read.
    #[inline]
    pub(crate) fn keep(&mut self, partial: &[u8]) {
        self.partial.clear();
        self.partial.extend_from_slice(partial);
    }

    /// Sends what is left from before and then `fresh`, as far as the socket takes it; keeps the rest. Answers whether epoll must be told of
    /// another interest.
    #[inline]
    pub(crate) fn send(&mut self, fresh: &[u8]) -> io::Result<bool> {
        let stream = self
            .stream
            .as_mut()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        if self.unsent.is_empty() {
            let sent = send_some(stream, fresh)?;
            self.unsent.extend_from_slice(&fresh[sent..]);
        } else {
            self.unsent.extend_from_slice(fresh);
            let sent = send_some(stream, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        Ok(self.wanted() != self.interest)
    }
}

/// `EINPROGRESS`, which `std::io::ErrorKind` has no stable name for.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// Writes until all is taken or the socket has no room; answers how many bytes it took.
fn send_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(taken) => sent += taken,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
