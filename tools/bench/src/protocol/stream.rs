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

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;
    use crate::protocol::{
        memcached::MemcachedLanguage,
        native::{NativeLanguage, NativeOptions},
        resp::{RespLanguage, RespOptions},
    };

    /// How each language meets a server that says this, whatever it is asked, and closes.
    fn meet_one_that_says(words: &'static [u8]) -> [String; 3] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(words).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                // What it is asked is read to the end, or its answer would be lost with a reset.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        let stream = || TcpStream::connect(address).unwrap();
        let native = NativeLanguage::meet(&mut stream(), &NativeOptions::default()).unwrap_err();
        let resp = RespLanguage::meet(&mut stream(), &RespOptions::default()).unwrap_err();
        let memcached = MemcachedLanguage::meet(&mut stream()).unwrap_err();
        server.join().unwrap();
        [native, resp, memcached].map(|error| error.to_string())
    }

    // Whatever listens on a port may be pointed at by a slip; each must end in a sentence that says what to look at.
    #[test]
    fn a_server_of_another_kind_is_told_from_a_broken_one() {
        for words in meet_one_that_says(b"HTTP/1.1 400 Bad Request\r\n\r\n") {
            assert!(words.contains("is --protocol right?"), "{words}");
            assert!(words.contains("HTTP/1.1 400"), "{words}");
        }
        for words in meet_one_that_says(b"") {
            assert!(
                words.contains("the server closed the connection"),
                "{words}"
            );
        }
    }

    // Bytes that nothing asked for would be taken for the reply to the first request of the load.
    #[test]
    fn more_than_was_asked_is_no_answer() {
        let [_, resp, memcached] = meet_one_that_says(b"+PONG\r\n+PONG\r\n");
        assert!(resp.contains("more than was asked"), "{resp}");
        assert!(memcached.contains("is --protocol right?"), "{memcached}");
    }

    #[test]
    fn a_length_beyond_all_bounds_is_not_waited_for() {
        let [native, resp, _] = meet_one_that_says(b"$999999999999\r\n");
        assert!(native.contains("is --protocol right?"), "{native}");
        assert!(resp.contains("is --protocol right?"), "{resp}");
    }
}
