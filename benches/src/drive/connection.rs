//! One connection: its socket, its slots and what is left over between two turns.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Instant,
};

use super::{
    DriveError,
    protocol::Dialect,
    workload::{KeySet, Operation},
};

/// A request in flight, or the last one that was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// When the request was built.
    pub(super) started: Instant,
    /// Whose key it asks.
    pub(super) number: u64,
    /// What it asks.
    pub(super) operation: Operation,
    occupied: bool,
}

impl Slot {
    /// A request that is in flight from now on.
    #[inline]
    pub(super) fn occupied(started: Instant, operation: Operation, number: u64) -> Slot {
        Slot {
            started,
            number,
            operation,
            occupied: true,
        }
    }
}

/// A non-blocking socket and the requests on it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// What it asks for.
    pub(super) keys: KeySet,
    /// By the request's number on this connection.
    pub(super) slots: Box<[Slot]>,
    /// The slot whose reply comes next, where replies come in order.
    oldest: u32,
    /// The beginning of a reply whose end hasn't come yet.
    partial: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
}

impl Connection {
    /// Nothing is in flight on it.
    pub(super) fn new(stream: TcpStream, keys: KeySet) -> Connection {
        Connection {
            stream,
            keys,
            slots: Box::new([]),
            oldest: 0,
            partial: Vec::new(),
            unsent: Vec::new(),
        }
    }

    /// As new, with so many slots, none of them occupied.
    pub(super) fn reset(&mut self, slots: u32) {
        let free = Slot {
            occupied: false,
            ..Slot::occupied(Instant::now(), Operation::Get, 0)
        };
        self.slots = vec![free; slots as usize].into_boxed_slice();
        self.oldest = 0;
    }

    /// The socket, for epoll.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether bytes wait for room in the socket.
    pub(super) fn is_blocked(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads once. What was left over from the last read stands at the start of `buffer`, what was read behind it; answers how
    /// long both are together, or `None` if nothing was there to read.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        match self.stream.read(&mut buffer[kept..]) {
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
    pub(super) fn keep(&mut self, partial: &[u8]) {
        self.partial.clear();
        self.partial.extend_from_slice(partial);
    }

    /// Frees the slot of a reply: the one that the reply names, or else the oldest.
    #[inline]
    pub(super) fn answered<D: Dialect>(
        &mut self,
        index: usize,
        named: Option<u32>,
    ) -> Result<(u32, Slot), DriveError> {
        let id = match named {
            Some(id) if !D::IN_ORDER => id,
            _ => {
                let id = self.oldest;
                self.oldest = if id + 1 == self.slots.len() as u32 {
                    0
                } else {
                    id + 1
                };
                id
            }
        };
        match self.slots.get_mut(id as usize) {
            Some(slot) if slot.occupied => {
                slot.occupied = false;
                Ok((id, *slot))
            }
            _ => Err(DriveError::Unasked {
                connection: index,
                slot: id,
            }),
        }
    }

    /// Sends what is left from before and then `fresh`, as far as the socket takes it; keeps the rest.
    pub(super) fn send(&mut self, fresh: &[u8]) -> io::Result<()> {
        if self.unsent.is_empty() {
            let sent = send_some(&mut self.stream, fresh)?;
            self.unsent.extend_from_slice(&fresh[sent..]);
        } else {
            self.unsent.extend_from_slice(fresh);
            let sent = send_some(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        Ok(())
    }

    /// The error that ends the run because of this connection.
    pub(super) fn broken(&self, index: usize, source: io::Error) -> DriveError {
        let in_flight = self.slots.iter().filter(|slot| slot.occupied).count();
        DriveError::Broken {
            connection: index,
            in_flight,
            source,
        }
    }
}

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
