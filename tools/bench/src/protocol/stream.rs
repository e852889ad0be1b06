//! One question at a time on a blocking stream: what every language's greeting is made of.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use super::{Malformed, MeetError, Protocol, REPLY_LEN_MAX};

/// Bytes read at once.
const SLICE_LEN: usize = 16 << 10;

/// A stream on which nothing is in flight.
#[derive(Debug)]
pub(super) struct Talk<'s> {
    stream: &'s mut TcpStream,
    protocol: Protocol,
    bytes: Vec<u8>,
}

impl<'s> Talk<'s> {
    pub(super) fn new(stream: &'s mut TcpStream, protocol: Protocol) -> Talk<'s> {
        Talk {
            stream,
            protocol,
            bytes: Vec::new(),
        }
    }

    /// Sends `request` and reads until `parse` finds an answer that takes up all that came.
    pub(super) fn ask<T>(
        &mut self,
        doing: &'static str,
        request: &[u8],
        parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, Malformed>,
    ) -> Result<T, MeetError> {
        let io = |source| MeetError::Io { doing, source };
        self.stream.write_all(request).map_err(io)?;
        self.bytes.clear();
        loop {
            let there = self.bytes.len();
            self.bytes.resize(there + SLICE_LEN, 0);
            let received = match self.stream.read(&mut self.bytes[there..]) {
                Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                other => other,
            };
            let received = received.map_err(io)?;
            self.bytes.truncate(there + received);
            let parsed = parse(&self.bytes);
            match parsed.map_err(|malformed| self.foreign(doing, &malformed.to_string()))? {
                Some((answer, len)) if len == self.bytes.len() => return Ok(answer),
                Some(_) => {
                    return Err(self.foreign(doing, "it answers more than was asked"));
                }
                None if self.bytes.len() > REPLY_LEN_MAX => {
                    return Err(self.foreign(doing, "its answer has no end"));
                }
                None => {}
            }
        }
    }

    /// That the server speaks another language. What it says begins the reason, for that tells most.
    fn foreign(&self, doing: &'static str, reason: &str) -> MeetError {
        const SHOWN_LEN_MAX: usize = 60;
        let shown = &self.bytes[..self.bytes.len().min(SHOWN_LEN_MAX)];
        MeetError::Foreign {
            doing,
            protocol: self.protocol,
            reason: format!("it answered `{}`: {reason}", shown.escape_ascii()),
        }
    }

    /// The server's address.
    pub(super) fn address(&self) -> String {
        self.stream
            .peer_addr()
            .map_or_else(|_| "unknown".to_owned(), |address| address.to_string())
    }
}
