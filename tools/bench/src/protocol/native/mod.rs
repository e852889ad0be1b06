//! Corduroy's native protocol.
//!
//! A connection opens with a hello that may name a shard: `--route direct` opens connections to every shard in turn, so that each request can be
//! sent to the core that owns its key; `--route any` leaves the shard to the server. Answers come in any order under their request's
//! id: the slot plus one, as id 0 stands for the connection itself.

use std::{fmt, net::TcpStream, str::FromStr, sync::Arc};

use corduroy_proto_wire::{
    BATCH_BYTES_MAX, Cursor, HelloReply, KEY_LEN_MAX, KeyspaceId, LENGTH_LEN, REQUEST_HEADER_LEN,
    TTL_MS_MAX, partition_of_slot, shard_of_partition, slot_of,
};

use super::{
    Demand, KeyBytes, Language, MeetError, Protocol, UnknownWord, Unsupported, ValueBytes,
};
use crate::{results::Server, workload::Operation};

mod dialect;
mod items;
mod session;

pub use dialect::NativeDialect;

/// Whom a connection asks to be served by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// Whichever core the server chooses: requests for keys of other cores hop.
    #[default]
    Any,
    /// The connections are dealt out to the cores in turn, and each request should take one of the core that owns its key: there must be
    /// at least as many connections as cores.
    Direct,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Route::Any => "any",
            Route::Direct => "direct",
        })
    }
}

impl FromStr for Route {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Route, UnknownWord> {
        match word {
            "any" => Ok(Route::Any),
            "direct" => Ok(Route::Direct),
            _ => Err(UnknownWord::among(word, &["any", "direct"])),
        }
    }
}

/// How a Corduroy server is to be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeOptions {
    /// The keyspace's name.
    pub keyspace: String,
    /// Whether to make the keyspace if there is none of that name.
    pub create_keyspace: bool,
    /// Who serves the connections.
    pub route: Route,
}

impl Default for NativeOptions {
    fn default() -> NativeOptions {
        NativeOptions {
            keyspace: "default".to_owned(),
            create_keyspace: false,
            route: Route::Any,
        }
    }
}

/// Which core owns which key. It changes only when the server is started anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Cores of the server, at least 1.
    cores: u16,
    /// Partitions of the keyspace, at least 1.
    partitions: u16,
}

impl Layout {
    /// How many cores the server has.
    #[must_use]
    pub fn cores(&self) -> u16 {
        self.cores
    }

    /// The core that owns a key: below [`Layout::cores`].
    #[inline]
    #[must_use]
    pub fn core_of(&self, key: &[u8]) -> u16 {
        shard_of_partition(partition_of_slot(slot_of(key), self.partitions), self.cores)
    }
}

/// A Corduroy server that was met.
#[derive(Clone, Debug)]
pub struct NativeLanguage {
    options: NativeOptions,
    /// What the first connection's hello was answered.
    hello: HelloReply,
    keyspace: KeyspaceId,
    layout: Layout,
    /// Where scans may begin.
    starts: Arc<[Cursor]>,
}

impl NativeLanguage {
    /// Meets a server on a fresh connection that blocks, which can then be asked to describe, reset and learn.
    ///
    /// # Errors
    ///
    /// The socket's error, an answer that isn't the native protocol's, or a keyspace that is neither there nor to be made.
    pub fn meet(
        stream: &mut TcpStream,
        options: &NativeOptions,
    ) -> Result<NativeLanguage, MeetError> {
        let hello = session::hello(stream, &options.keyspace, None)?;
        let keyspace = match &hello.keyspace {
            Some(keyspace) => keyspace.clone(),
            None if options.create_keyspace => session::make_keyspace(stream, &options.keyspace)?,
            None => return Err(MeetError::NoKeyspace(options.keyspace.clone())),
        };
        let layout = Layout {
            cores: hello.shard_count,
            partitions: keyspace.partitions,
        };
        Ok(NativeLanguage {
            options: options.clone(),
            hello,
            keyspace: keyspace.id,
            layout,
            starts: Arc::new([Cursor::START]),
        })
    }

    /// Who serves the connections.
    #[must_use]
    pub fn route(&self) -> Route {
        self.options.route
    }

    /// The shard that a connection asks for.
    fn shard_asked(&self, connection: usize) -> Option<u16> {
        match self.options.route {
            Route::Any => None,
            Route::Direct => Some((connection % usize::from(self.layout.cores)) as u16),
        }
    }
}

/// Whether a hello that asked for a shard was answered by that one.
fn check_shard(asked: Option<u16>, hello: &HelloReply) -> Result<(), MeetError> {
    match asked {
        Some(asked) if asked != hello.shard => Err(MeetError::OtherShard {
            asked,
            served: hello.shard,
        }),
        _ => Ok(()),
    }
}

impl Language for NativeLanguage {
    type Dialect<K: KeyBytes, V: ValueBytes> = NativeDialect<K, V>;

    fn protocol(&self) -> Protocol {
        Protocol::Native
    }

    fn accepts(&self, demand: &Demand) -> Result<(), Unsupported> {
        demand.check()?;
        let refuse = |sentence: String| Err(Unsupported(sentence));
        let (key_len, count) = (demand.key_len_max, demand.count_max as usize);
        if key_len > KEY_LEN_MAX {
            return refuse(format!(
                "keys have at most {KEY_LEN_MAX} bytes, not {key_len}"
            ));
        }
        if demand.writes_value() && demand.value_len_max > self.hello.value_len_max {
            let (asked, most) = (demand.value_len_max, self.hello.value_len_max);
            return refuse(format!(
                "this server takes values of at most {most} bytes, not {asked}: give a smaller --value-size, or start it with a larger --value-len-max"
            ));
        }
        if demand.ttl_ms_max > TTL_MS_MAX {
            let asked = demand.ttl_ms_max;
            return refuse(format!(
                "a time to live is at most {TTL_MS_MAX} ms, not {asked}"
            ));
        }
        let many = matches!(demand.operation, Operation::Batch | Operation::Scan);
        let most = self.hello.batch_len_max as usize;
        if many && count > most {
            return refuse(format!(
                "a batch or page has at most {most} keys here, not {count}"
            ));
        }
        if demand.operation == Operation::Batch {
            let frame_len = dialect::batch_len(count, count * key_len);
            if frame_len > BATCH_BYTES_MAX || demand.batch_values_len() > BATCH_BYTES_MAX as u64 {
                return refuse(format!(
                    "a batch's keys, and the values of its answer, have at most {BATCH_BYTES_MAX} bytes together: take fewer or smaller ones"
                ));
            }
        }
        Ok(())
    }

    fn layout(&self) -> Option<Layout> {
        Some(self.layout)
    }

    fn is_direct(&self) -> bool {
        self.options.route == Route::Direct
    }

    fn in_flight_max(&self) -> Option<u32> {
        Some(self.hello.in_flight_max)
    }

    fn greet(&self, stream: &mut TcpStream, connection: usize) -> Result<Option<u16>, MeetError> {
        let asked = self.shard_asked(connection);
        let hello = session::hello(stream, &self.options.keyspace, asked)?;
        check_shard(asked, &hello)?;
        Ok(asked)
    }

    fn greeting(&self, connection: usize, out: &mut Vec<u8>) {
        session::say_hello(&self.options.keyspace, self.shard_asked(connection), out);
    }

    fn greeted(&self, connection: usize, bytes: &[u8]) -> Result<Option<usize>, MeetError> {
        let Some((hello, len)) = session::hear_hello(bytes)? else {
            return Ok(None);
        };
        check_shard(self.shard_asked(connection), &hello)?;
        Ok(Some(len))
    }

    fn dialect<K: KeyBytes, V: ValueBytes>(&self, keys: K, values: V) -> NativeDialect<K, V> {
        NativeDialect::new(self.keyspace, Arc::clone(&self.starts), keys, values)
    }

    fn learn_scans(
        &mut self,
        stream: &mut TcpStream,
        pages_max: usize,
    ) -> Result<usize, MeetError> {
        let limit = self.hello.batch_len_max;
        self.starts = session::scan_starts(stream, self.keyspace, limit, pages_max)?.into();
        Ok(self.starts.len())
    }

    fn describe(&self, stream: &mut TcpStream) -> Result<Server, MeetError> {
        session::describe(stream, &self.hello)
    }

    fn reset(&self, stream: &mut TcpStream) -> Result<(), MeetError> {
        session::flush(stream, self.keyspace)
    }
}

/// Bytes of a frame before its key, with the length field.
const HEAD_LEN: usize = LENGTH_LEN + REQUEST_HEADER_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn language() -> NativeLanguage {
        NativeLanguage {
            options: NativeOptions::default(),
            hello: HelloReply {
                version: 1,
                shard_count: 2,
                shard: 0,
                frame_len_max: 1 << 21,
                value_len_max: 1 << 20,
                in_flight_max: 1024,
                batch_len_max: 4096,
                keyspace: None,
                server_name: "corduroy/0".to_owned(),
            },
            keyspace: 9,
            layout: Layout {
                cores: 2,
                partitions: 64,
            },
            starts: Arc::new([Cursor::START]),
        }
    }

    // What the server would refuse a million times is to be said once, before the run, and with what to do.
    #[test]
    fn what_the_server_would_refuse_is_refused_before() {
        let fits = Demand {
            operation: Operation::Put,
            key_len_max: 16,
            value_len_max: 1 << 20,
            count_max: 1,
            ttl_ms_max: 1000,
        };
        assert_eq!(language().accepts(&fits), Ok(()));
        let batch = Demand {
            operation: Operation::Batch,
            value_len_max: 100,
            count_max: 1000,
            ..fits
        };
        assert_eq!(language().accepts(&batch), Ok(()));
        let refused = [
            Demand {
                key_len_max: 1 << 16,
                ..fits
            },
            Demand {
                value_len_max: (1 << 20) + 1,
                ..fits
            },
            Demand {
                ttl_ms_max: u64::MAX,
                ..fits
            },
            Demand {
                count_max: 4097,
                ..batch
            },
            Demand {
                value_len_max: 2000,
                ..batch
            },
            Demand {
                key_len_max: 2000,
                ..batch
            },
        ];
        for demand in refused {
            assert!(language().accepts(&demand).is_err(), "{demand:?}");
        }
    }

    // A core that is computed otherwise than by the server files latencies under the wrong core.
    #[test]
    fn the_cores_cut_the_keys_in_two() {
        let layout = language().layout().unwrap();
        let odd = (0..1000)
            .filter(|number| layout.core_of(format!("key:{number}").as_bytes()) == 1)
            .count();
        assert!((300..700).contains(&odd), "{odd}");
        // `foo` is in slot 12182, so in partition 47 of 64.
        assert_eq!(layout.core_of(b"foo"), 1);
    }

    #[test]
    fn routes_are_read_by_their_names() {
        for route in [Route::Any, Route::Direct] {
            assert_eq!(route.to_string().parse(), Ok(route));
        }
        assert!("core".parse::<Route>().is_err());
    }
}
