//! A Redis client of a few lines: bytes out, replies in.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::reply::Reply;
use crate::support::PATIENCE;
use crate::support::wire::raw;

/// Where bytes go.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection of a Redis client.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    input: Vec<u8>,
    taken: usize,
}

impl Connection {
    /// To a node.
    pub(crate) fn open(address: SocketAddr) -> Connection {
        Connection::of(Stream::Tcp(raw(address).unwrap()))
    }

    /// To a server on a Unix socket.
    pub(crate) fn open_unix(path: &Path) -> io::Result<Connection> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Connection::of(Stream::Unix(stream)))
    }

    fn of(stream: Stream) -> Connection {
        Connection {
            stream,
            input: Vec::new(),
            taken: 0,
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// The next reply. An error of the kind `UnexpectedEof` once the server has closed the connection.
    pub(crate) fn receive(&mut self) -> io::Result<Reply> {
        let mut least = 1;
        loop {
            if self.input.len() - self.taken >= least {
                match Reply::parse(&self.input[self.taken..]) {
                    Ok((reply, len)) => {
                        self.taken += len;
                        return Ok(reply);
                    }
                    Err(more) => least = more,
                }
            }
            self.input.drain(..self.taken);
            self.taken = 0;
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = vec![0; 256 << 10];
        let len = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut buffer)?,
            Stream::Unix(stream) => stream.read(&mut buffer)?,
        };
        self.input.extend_from_slice(&buffer[..len]);
        Ok(len)
    }

    /// Sends one command and waits for its reply, the only one outstanding.
    #[track_caller]
    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> Reply {
        self.send(&encoded(words)).unwrap();
        self.receive()
            .unwrap_or_else(|error| panic!("no reply to {:?}: {error}", line_of(words)))
    }
}

/// A command as an array of byte strings.
pub(crate) fn encoded(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(words, &mut bytes);
    bytes
}

/// As [`encoded`], behind what is in `bytes` already.
pub(crate) fn encode(words: &[&[u8]], bytes: &mut Vec<u8>) {
    write!(bytes, "*{}\r\n", words.len()).unwrap();
    for word in words {
        write!(bytes, "${}\r\n", word.len()).unwrap();
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
}

fn line_of(words: &[&[u8]]) -> String {
    let words: Vec<String> = words.iter().map(|word| crate::reply::shown(word)).collect();
    words.join(" ")
}
