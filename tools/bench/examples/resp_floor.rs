//! A server that answers RESP commands with constants: as little server as there can be, so that a client shows its own limit.
//!
//! ```sh
//! cargo run --release -p corduroy-bench --example resp_floor -- --core 0 --listen 127.0.0.1:6400 &
//! corduroy-bench run --protocol resp --server 127.0.0.1:6400 --mix get=100 --check none --pipeline 16 --cores 1
//! taskset -c 1 redis-benchmark -p 6400 -t get -c 50 -P 16 -n 10000000 -r 100000 -d 64 --threads 1
//! ```
//!
//! Every GET is answered with the same 64 bytes, every SET with OK, a PING with PONG, anything else with an error. One thread, epoll, one turn a
//! connection: read once, answer all whole commands, write once. A client that doesn't read is cut.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

use clap::Parser;
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, Event, EventData, EventFlags},
    thread::{CpuSet, sched_setaffinity},
};

/// Bytes of a connection's buffer, and so of its longest command.
const BUFFER_LEN: usize = 256 << 10;
const EVENTS_MAX: usize = 1024;
/// Stands for the listener among the connections' numbers.
const LISTENER: u64 = 0;

/// Answers RESP commands with constants.
#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:6400")]
    listen: SocketAddr,
    /// Run on this core alone.
    #[arg(long)]
    core: Option<usize>,
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    if let Some(core) = arguments.core {
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set)?;
    }
    let listener = TcpListener::bind(arguments.listen)?;
    listener.set_nonblocking(true)?;
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &poller,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut number = LISTENER;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut out = Vec::with_capacity(BUFFER_LEN);
    loop {
        events.clear();
        match epoll::wait(&poller, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for &Event { data, .. } in &events {
            if data.u64() == LISTENER {
                let Ok((stream, _)) = listener.accept() else {
                    continue;
                };
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                number += 1;
                epoll::add(&poller, &stream, EventData::new_u64(number), EventFlags::IN)?;
                let buffer = vec![0; BUFFER_LEN];
                connections.insert(
                    number,
                    Connection {
                        stream,
                        buffer,
                        filled: 0,
                    },
                );
            } else if let Some(connection) = connections.get_mut(&data.u64())
                && turn(connection, &mut out).is_err()
            {
                // Closing the socket takes it out of the epoll.
                connections.remove(&data.u64());
            }
        }
    }
}

/// Reads once and answers all whole commands; an error ends the connection.
fn turn(connection: &mut Connection, out: &mut Vec<u8>) -> io::Result<()> {
    match connection
        .stream
        .read(&mut connection.buffer[connection.filled..])
    {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(received) => connection.filled += received,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    }
    out.clear();
    let bytes = &connection.buffer[..connection.filled];
    let mut at = 0;
    while let Some((name, len)) = command(&bytes[at..])? {
        answer(name, out);
        at += len;
    }
    connection.buffer.copy_within(at..connection.filled, 0);
    connection.filled -= at;
    connection.stream.write_all(out)
}

fn answer(name: &[u8], out: &mut Vec<u8>) {
    const VALUE: [u8; 64] = [b'x'; 64];
    if name.eq_ignore_ascii_case(b"get") {
        out.extend_from_slice(b"$64\r\n");
        out.extend_from_slice(&VALUE);
        out.extend_from_slice(b"\r\n");
    } else if name.eq_ignore_ascii_case(b"set") {
        out.extend_from_slice(b"+OK\r\n");
    } else if name.eq_ignore_ascii_case(b"ping") {
        out.extend_from_slice(b"+PONG\r\n");
    } else {
        out.extend_from_slice(b"-ERR this server only knows GET, SET and PING\r\n");
    }
}

/// The first command's name and how long the command is; `None` if it isn't all there.
fn command(bytes: &[u8]) -> io::Result<Option<(&[u8], usize)>> {
    let Some((words, mut at)) = number(bytes, b'*')? else {
        return Ok(None);
    };
    let mut name: &[u8] = b"";
    for word in 0..words {
        let Some((len, head_len)) = number(&bytes[at..], b'$')? else {
            return Ok(None);
        };
        let end = at + head_len + len;
        if bytes.len() < end + 2 {
            return Ok(None);
        }
        if word == 0 {
            name = &bytes[at + head_len..end];
        }
        at = end + 2;
    }
    Ok(Some((name, at)))
}

/// The number in a line that begins with this byte, and how long the line is.
fn number(bytes: &[u8], first: u8) -> io::Result<Option<(usize, usize)>> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    match bytes.first() {
        None => return Ok(None),
        Some(byte) if *byte != first => return Err(wrong()),
        Some(_) => {}
    }
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            b'0'..=b'9' if value < BUFFER_LEN => value = 10 * value + usize::from(byte - b'0'),
            b'\r' => return Ok((bytes.len() > at + 1).then_some((value, at + 2))),
            _ => return Err(wrong()),
        }
    }
    Ok(None)
}
