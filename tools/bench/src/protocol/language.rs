//! What all threads of a generator share of a language: how connections are opened, what it can't be asked for, and what the server
//! says of itself. All of it blocks, and happens before and after the measuring.

use std::{fmt, io, net::TcpStream, str::FromStr};

use super::{Dialect, KeyBytes, ValueBytes, native::Layout};
use crate::{results::Server, workload::Operation};

/// A server that was met: how to open further connections to it, and what to say on them.
///
/// 1. `meet` (a constructor of each language) asks on a first connection what the server is. Streams should have a time limit for
///    reads, for a server of another language may never answer.
/// 2. [`Language::accepts`] for each operation of the mix, so that what can't work is refused before anything is measured.
/// 3. [`Language::reset`] and [`Language::learn_scans`] where wanted, on that first connection.
/// 4. [`Language::greet`] on each connection of the load, and a [`Language::dialect`] a thread.
/// 5. [`Language::describe`], for the report.
pub trait Language: Send + Sync {
    /// The dialect, with keys and values from these.
    type Dialect<K: KeyBytes, V: ValueBytes>: Dialect;

    /// Which protocol it is.
    fn protocol(&self) -> Protocol;

    /// Whether requests of this kind and these sizes can be asked.
    ///
    /// # Errors
    ///
    /// [`Unsupported`]: why not, and what to do.
    fn accepts(&self, demand: &Demand) -> Result<(), Unsupported>;

    /// Which core of the server owns a key, if the protocol tells.
    fn layout(&self) -> Option<Layout> {
        None
    }

    /// Whether each connection asks for the keys of one core alone: the core whose number is the connection's, modulo the number of cores.
    fn is_direct(&self) -> bool {
        false
    }

    /// After how many requests without an answer the server stops reading from a connection, if it tells.
    fn in_flight_max(&self) -> Option<u32> {
        None
    }

    /// Says on a fresh connection what must be said before the first request. Answers the core that serves the connection, if it was asked
    /// for one: the connection's number, counted over all threads, decides which. The stream must block.
    ///
    /// # Errors
    ///
    /// What the server refused, or the socket's error.
    fn greet(&self, stream: &mut TcpStream, connection: usize) -> Result<Option<u16>, MeetError>;

    /// Appends what [`Language::greet`] says, for connections that must not block: those of the load, which are opened by the thousand, and again
    /// while others are measured. Nothing, where nothing need be said.
    fn greeting(&self, connection: usize, out: &mut Vec<u8>);

    /// Reads the answer to [`Language::greeting`]: how many bytes it takes up, `None` if it isn't all there.
    ///
    /// # Errors
    ///
    /// What the server refused, or that it speaks another language.
    fn greeted(&self, connection: usize, bytes: &[u8]) -> Result<Option<usize>, MeetError>;

    /// A thread's dialect.
    fn dialect<K: KeyBytes, V: ValueBytes>(&self, keys: K, values: V) -> Self::Dialect<K, V>;

    /// Walks the keys once, so that scans can begin all over them: a scan's cursor is the server's affair, so the only ones to be had are
    /// those that it gave. Without this every scan begins at the start. At most `pages_max` pages are read; answers how many places
    /// are known now.
    ///
    /// # Errors
    ///
    /// What the server refused, or the socket's error.
    fn learn_scans(
        &mut self,
        stream: &mut TcpStream,
        pages_max: usize,
    ) -> Result<usize, MeetError> {
        let _ = (stream, pages_max);
        Ok(0)
    }

    /// What the server says of itself, on a connection that was met or greeted and on which nothing is in flight.
    ///
    /// # Errors
    ///
    /// The socket's error, or an answer that makes no sense. A question that the server refuses is no error: the report then says so.
    fn describe(&self, stream: &mut TcpStream) -> Result<Server, MeetError>;

    /// Removes all keys: of the keyspace, of the database, or of the server, whichever is the least that the language can name.
    ///
    /// # Errors
    ///
    /// What the server refused, or the socket's error.
    fn reset(&self, stream: &mut TcpStream) -> Result<(), MeetError>;
}

/// What a run will ask at most, of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The operation.
    pub operation: Operation,
    /// Longest key, in bytes.
    pub key_len_max: usize,
    /// Longest value, in bytes.
    pub value_len_max: u32,
    /// Most keys of a batch or of a scan's page.
    pub count_max: u32,
    /// Longest time to live, in milliseconds; 0: none.
    pub ttl_ms_max: u64,
}

impl Demand {
    /// Refuses what makes no sense in any language.
    pub(super) fn check(&self) -> Result<(), Unsupported> {
        let several = matches!(self.operation, Operation::Batch | Operation::Scan);
        if several && self.count_max == 0 {
            let sentence = "a batch, or a scan's page, has at least one key";
            return Err(Unsupported(sentence.to_owned()));
        }
        if self.key_len_max == 0 {
            return Err(Unsupported("keys have at least one byte".to_owned()));
        }
        Ok(())
    }

    /// Bytes of the values in the longest answer to a batch.
    pub(super) fn batch_values_len(&self) -> u64 {
        u64::from(self.count_max) * u64::from(self.value_len_max)
    }

    /// Whether the operation writes a value of the workload.
    pub(super) fn writes_value(&self) -> bool {
        use Operation::{CompareAndSet, Put, ReadModifyWrite};
        matches!(self.operation, Put | CompareAndSet | ReadModifyWrite)
    }
}

/// What can't be asked in this language or of this server, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// Why a server could not be met, greeted, asked or emptied.
#[derive(Debug, thiserror::Error)]
pub enum MeetError {
    /// The connection failed.
    #[error("{doing}: {}", words_of(.source))]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The socket's error.
        source: io::Error,
    },
    /// The server said no.
    #[error("{doing}: the server refused it: {words}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// The server's words.
        words: String,
    },
    /// What was answered is not of this language.
    #[error("{doing}: this is no server that speaks {protocol} ({reason}); is --protocol right?")]
    Foreign {
        /// What was being done.
        doing: &'static str,
        /// What it should speak.
        protocol: Protocol,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The keyspace that was named does not exist.
    #[error(
        "there is no keyspace `{0}`: add --create-keyspace, or leave --keyspace out for `default`"
    )]
    NoKeyspace(String),
    /// The server does not keep to the shard that was asked for.
    #[error(
        "a connection asked for shard {asked} and is served by shard {served}: use --route any"
    )]
    OtherShard {
        /// The shard that the hello named.
        asked: u16,
        /// The one that answered.
        served: u16,
    },
}

fn words_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            // Servers of other languages often wait for what they take for the rest of a line.
            "the server did not answer in time; is --protocol right?".to_owned()
        }
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// The protocols by the names that users type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Corduroy's own.
    #[default]
    Native,
    /// RESP2: Redis, Valkey, Dragonfly, `KeyDB`, Corduroy's second door.
    Resp,
    /// memcached's text protocol.
    MemcachedText,
}

impl Protocol {
    /// All of them, the default first.
    pub const ALL: [Protocol; 3] = [Protocol::Native, Protocol::Resp, Protocol::MemcachedText];

    /// Its name, as it is typed and reported.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Native => "native",
            Protocol::Resp => "resp",
            Protocol::MemcachedText => "memcached-text",
        }
    }

    /// The port on which its servers listen unless they are told otherwise.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Protocol::Native => 7379,
            Protocol::Resp => 6379,
            Protocol::MemcachedText => 11211,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Protocol, UnknownWord> {
        Protocol::ALL
            .into_iter()
            .find(|protocol| protocol.name() == word)
            .ok_or_else(|| UnknownWord::among(word, &Protocol::ALL.map(Protocol::name)))
    }
}

/// A word that is none of those allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is none of {allowed}")]
pub struct UnknownWord {
    word: String,
    allowed: String,
}

impl UnknownWord {
    pub(super) fn among(word: &str, allowed: &[&str]) -> UnknownWord {
        UnknownWord {
            word: word.to_owned(),
            allowed: allowed.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Redis answers a batch of no keys with an error, memcached with another, and a scan of none would never end.
    #[test]
    fn nothing_is_not_asked_for() {
        let some = Demand {
            operation: Operation::Batch,
            key_len_max: 16,
            value_len_max: 0,
            count_max: 1,
            ttl_ms_max: 0,
        };
        assert_eq!(some.check(), Ok(()));
        assert!(
            Demand {
                count_max: 0,
                ..some
            }
            .check()
            .is_err()
        );
        assert!(
            Demand {
                key_len_max: 0,
                ..some
            }
            .check()
            .is_err()
        );
        let get = Operation::Get;
        let one = Demand {
            operation: get,
            count_max: 0,
            ..some
        };
        assert_eq!(one.check(), Ok(()));
    }

    #[test]
    fn protocols_are_read_by_the_names_they_are_reported_with() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
        let error = "redis".parse::<Protocol>().unwrap_err().to_string();
        assert_eq!(error, "`redis` is none of native, resp, memcached-text");
    }
}
