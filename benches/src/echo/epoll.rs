//! The floor without a runtime: one thread, level-triggered epoll, non-blocking sockets.
//!
//! A connection whose client does not read its echoes is not read from either until it does, so each costs at most one
//! buffer.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, Event, EventData, EventFlags},
    fd::OwnedFd,
};

use super::{BUFFER_LEN, whole_frames_len};

/// Sockets that one call to epoll reports at most.
const EVENTS_MAX: usize = 1024;
/// Stands for the listener among the connections' numbers.
const LISTENER: u64 = 0;

/// A client. Its bytes are those at `buffer[echoed..filled]`; the first `whole` of the buffer are whole frames.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    whole: usize,
    echoed: usize,
}

/// What a turn of a connection came to.
enum Next {
    /// Wait for bytes.
    Read,
    /// Wait for room in the socket.
    Write,
    /// Forget it.
    Close,
}

/// Serves for ever on `address`, on the calling thread. Tells `listening` the address that it got.
///
/// # Errors
///
/// The listener's or epoll's. An error of a connection ends that connection alone.
pub fn serve(address: SocketAddr, listening: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    listening(listener.local_addr()?);

    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut number = LISTENER;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for &Event { data, .. } in &events {
            if data.u64() == LISTENER {
                if let Some(connection) = accept(&listener)? {
                    number += 1;
                    epoll::add(
                        &epoll,
                        &connection.stream,
                        EventData::new_u64(number),
                        EventFlags::IN,
                    )?;
                    connections.insert(number, connection);
                }
            } else if let Some(connection) = connections.get_mut(&data.u64()) {
                let was_blocked = connection.echoed < connection.whole;
                let next = connection.turn();
                if watch(&epoll, data.u64(), connection, was_blocked, &next)? {
                    // Closing the socket takes it out of the epoll.
                    connections.remove(&data.u64());
                }
            }
        }
    }
}

/// Has epoll report what comes next. Answers whether that is nothing.
fn watch(
    epoll: &OwnedFd,
    number: u64,
    connection: &Connection,
    was_blocked: bool,
    next: &Next,
) -> io::Result<bool> {
    let flags = match next {
        Next::Close => return Ok(true),
        Next::Read if was_blocked => EventFlags::IN,
        Next::Write if !was_blocked => EventFlags::OUT,
        Next::Read | Next::Write => return Ok(false),
    };
    epoll::modify(epoll, &connection.stream, EventData::new_u64(number), flags)?;
    Ok(false)
}

fn accept(listener: &TcpListener) -> io::Result<Option<Connection>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(Some(Connection {
                stream,
                buffer: vec![0; BUFFER_LEN],
                filled: 0,
                whole: 0,
                echoed: 0,
            }))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Connection {
    /// Reads once, unless echoes are still to be sent, and sends all whole frames.
    fn turn(&mut self) -> Next {
        if self.echoed == self.whole {
            match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Next::Close,
                Ok(received) => self.filled += received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Read,
                Err(_) => return Next::Close,
            }
            match whole_frames_len(&self.buffer[..self.filled]) {
                Ok(whole) => self.whole = whole,
                Err(_) => return Next::Close,
            }
        }
        while self.echoed < self.whole {
            match self.stream.write(&self.buffer[self.echoed..self.whole]) {
                Ok(sent) => self.echoed += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Write,
                Err(_) => return Next::Close,
            }
        }
        self.buffer.copy_within(self.whole..self.filled, 0);
        self.filled -= self.whole;
        (self.whole, self.echoed) = (0, 0);
        Next::Read
    }
}
