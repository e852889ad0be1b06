//! memcached's text protocol.
//!
//! | operation | request |
//! |---|---|
//! | get, put, delete | `get key`, `set key 0 expiry len`, `delete key` |
//! | compare-and-set | `gets key`, then `cas key 0 expiry len unique`, or `add` if there was none |
//! | read-modify-write | `get key`, then `set` |
//! | add | `incr key 1`; if there is no such counter, `add key 0 0 1` with the value 1 |
//! | batch | `get key key …` |
//! | scan | there is none |
//!
//! Expiry is in seconds there: a time to live is rounded up to whole ones. A key that expires in over 30 days would have to be given
//! the hour by the server's clock, so longer times are refused.

use std::net::TcpStream;

use super::{
    Demand, KeyBytes, Language, MeetError, Protocol, REPLY_LEN_MAX, Unsupported, ValueBytes,
};
use crate::{results::Server, workload::Operation};

mod dialect;
mod session;

pub use dialect::MemcachedDialect;

/// Longest key, in bytes.
const KEY_LEN_MAX: usize = 250;
/// Longest time to live that is counted from now, in milliseconds.
const TTL_MS_MAX: u64 = 30 * 24 * 3600 * 1000;
/// Bytes of a reply beside its keys and values, for each value: `VALUE`, flags, length, unique, ends of lines.
const ITEM_OVERHEAD_LEN: u64 = 64;

/// A server that was met.
#[derive(Clone, Debug)]
pub struct MemcachedLanguage {
    /// What it answered to `version`.
    version: String,
    /// Its largest item in bytes, if it tells.
    item_len_max: Option<u64>,
}

impl MemcachedLanguage {
    /// Meets a server on a fresh connection that blocks, which can then be asked to describe and reset.
    ///
    /// # Errors
    ///
    /// The socket's error, or an answer that isn't memcached's.
    pub fn meet(stream: &mut TcpStream) -> Result<MemcachedLanguage, MeetError> {
        let version = session::version(stream)?;
        let settings = session::settings(stream)?;
        let item_len_max = settings
            .get("item_size_max")
            .and_then(|bytes| bytes.parse().ok());
        Ok(MemcachedLanguage {
            version,
            item_len_max,
        })
    }
}

impl Language for MemcachedLanguage {
    type Dialect<K: KeyBytes, V: ValueBytes> = MemcachedDialect<K, V>;

    fn protocol(&self) -> Protocol {
        Protocol::MemcachedText
    }

    fn accepts(&self, demand: &Demand) -> Result<(), Unsupported> {
        demand.check()?;
        let refuse = |sentence: String| Err(Unsupported(sentence));
        if demand.operation == Operation::Scan {
            let sentence = "memcached can't list its keys: leave scans out of the mix";
            return refuse(sentence.to_owned());
        }
        if demand.key_len_max > KEY_LEN_MAX {
            let asked = demand.key_len_max;
            return refuse(format!(
                "memcached's keys have at most {KEY_LEN_MAX} bytes, not {asked}"
            ));
        }
        if demand.ttl_ms_max > TTL_MS_MAX {
            let asked = demand.ttl_ms_max;
            return refuse(format!(
                "a time to live is at most {TTL_MS_MAX} ms (30 days) here, not {asked}"
            ));
        }
        let item_len_max = self.item_len_max.unwrap_or(u64::MAX);
        if demand.writes_value() && u64::from(demand.value_len_max) > item_len_max {
            let asked = demand.value_len_max;
            return refuse(format!(
                "this server takes values of less than {item_len_max} bytes, not {asked}: start it with a larger -I"
            ));
        }
        let longest = match demand.operation {
            Operation::Batch => {
                let item_len = demand.key_len_max as u64 + ITEM_OVERHEAD_LEN;
                demand.batch_values_len() + u64::from(demand.count_max) * item_len
            }
            _ => u64::from(demand.value_len_max) + KEY_LEN_MAX as u64 + ITEM_OVERHEAD_LEN,
        };
        if longest > REPLY_LEN_MAX as u64 {
            return refuse(format!(
                "an answer would have {longest} bytes, and at most {REPLY_LEN_MAX} are read: take fewer or smaller values"
            ));
        }
        Ok(())
    }

    fn greet(&self, _: &mut TcpStream, _: usize) -> Result<Option<u16>, MeetError> {
        // Nothing need be said, and a question on each of ten thousand connections takes its time.
        Ok(None)
    }

    fn greeting(&self, _: usize, _: &mut Vec<u8>) {}

    fn greeted(&self, _: usize, _: &[u8]) -> Result<Option<usize>, MeetError> {
        Ok(Some(0))
    }

    fn dialect<K: KeyBytes, V: ValueBytes>(&self, keys: K, values: V) -> MemcachedDialect<K, V> {
        MemcachedDialect::new(keys, values)
    }

    fn describe(&self, stream: &mut TcpStream) -> Result<Server, MeetError> {
        session::describe(stream, &self.version)
    }

    fn reset(&self, stream: &mut TcpStream) -> Result<(), MeetError> {
        session::flush(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_would_refuse_is_refused_before() {
        let language = MemcachedLanguage {
            version: "1.6.18".to_owned(),
            item_len_max: Some(1 << 20),
        };
        let fits = Demand {
            operation: Operation::Put,
            key_len_max: 250,
            value_len_max: 100_000,
            count_max: 100,
            ttl_ms_max: TTL_MS_MAX,
        };
        assert_eq!(language.accepts(&fits), Ok(()));
        let batch = Demand {
            operation: Operation::Batch,
            ..fits
        };
        assert_eq!(language.accepts(&batch), Ok(()));
        let scan = Demand {
            operation: Operation::Scan,
            ..fits
        };
        let error = language.accepts(&scan).unwrap_err().to_string();
        assert!(error.contains("leave scans out"), "{error}");
        for demand in [
            Demand {
                key_len_max: 251,
                ..fits
            },
            Demand {
                value_len_max: 2 << 20,
                ..fits
            },
            Demand {
                ttl_ms_max: TTL_MS_MAX + 1,
                ..fits
            },
            Demand {
                count_max: 1000,
                ..batch
            },
        ] {
            assert!(language.accepts(&demand).is_err(), "{demand:?}");
        }
    }
}
