//! RESP2, as Redis, Valkey, Dragonfly, `KeyDB` and Corduroy's second door speak it.
//!
//! | operation | request |
//! |---|---|
//! | get, put, delete | `GET key`, `SET key value [PX ms]`, `DEL key` |
//! | compare-and-set | `GET key`, then `SET key value IFEQ old`, or `SET key value NX` if there was none |
//! | read-modify-write | `GET key`, then `SET key value` |
//! | add | `INCRBY key 1` |
//! | batch | `MGET key key …` |
//! | scan | `SCAN cursor COUNT n` |
//!
//! Redis 8.4 and Valkey 8.1 know `IFEQ`. Whether a server does is asked when it is met, by a `SET` whose condition can't hold.

use std::{fmt, net::TcpStream, sync::Arc};

use super::{
    Demand, KeyBytes, Language, MeetError, Protocol, REPLY_LEN_MAX, Unsupported, ValueBytes,
};
use crate::{results::Server, workload::Operation};

mod describe;
mod dialect;
mod session;
mod value;

pub use dialect::RespDialect;

/// Longest value that servers of this kind take, unless they are told otherwise.
const VALUE_LEN_MAX: u32 = 512 << 20;
/// Bytes of an answer beside the values, for each.
const ITEM_OVERHEAD_LEN: u64 = 16;

/// What is said to a server that does not know the condition.
const NO_IFEQ: &str = "this server does not know `SET key value IFEQ old` (Redis 8.4 and Valkey 8.1 do): leave compare-and-set out of the mix, or take read-modify-write";

/// How a server is to be met.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RespOptions {
    /// Who to be; without one, `AUTH` is given the password alone.
    pub user: Option<String>,
    /// For `AUTH`, which is left out without one.
    pub password: Option<String>,
    /// For `SELECT`, which is left out without one.
    pub database: Option<u32>,
}

/// Without the password, which must not get into messages and reports.
impl fmt::Debug for RespOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RespOptions")
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .field("database", &self.database)
            .finish()
    }
}

/// A server that was met.
#[derive(Clone, Debug)]
pub struct RespLanguage {
    options: RespOptions,
    knows_ifeq: bool,
    /// Where scans may begin.
    starts: Arc<[u64]>,
}

impl RespLanguage {
    /// Meets a server on a fresh connection that blocks, which can then be asked to describe, reset and learn.
    ///
    /// # Errors
    ///
    /// The socket's error, an answer that isn't RESP's, or a user or database that the server refuses.
    pub fn meet(stream: &mut TcpStream, options: &RespOptions) -> Result<RespLanguage, MeetError> {
        session::open(stream, options)?;
        Ok(RespLanguage {
            options: options.clone(),
            knows_ifeq: session::knows_ifeq(stream)?,
            starts: Arc::new([0]),
        })
    }
}

impl Language for RespLanguage {
    type Dialect<K: KeyBytes, V: ValueBytes> = RespDialect<K, V>;

    fn protocol(&self) -> Protocol {
        Protocol::Resp
    }

    fn accepts(&self, demand: &Demand) -> Result<(), Unsupported> {
        demand.check()?;
        let refuse = |sentence: String| Err(Unsupported(sentence));
        if demand.operation == Operation::CompareAndSet && !self.knows_ifeq {
            return refuse(NO_IFEQ.to_owned());
        }
        if demand.writes_value() && demand.value_len_max > VALUE_LEN_MAX {
            let asked = demand.value_len_max;
            return refuse(format!(
                "values have at most {VALUE_LEN_MAX} bytes, not {asked}"
            ));
        }
        let overhead_len = u64::from(demand.count_max) * ITEM_OVERHEAD_LEN;
        let longest = match demand.operation {
            Operation::Batch => demand.batch_values_len() + overhead_len,
            // A page is said to be of about so many keys; twice as many is not unheard of.
            Operation::Scan => {
                2 * (u64::from(demand.count_max) * demand.key_len_max as u64 + overhead_len)
            }
            _ => u64::from(demand.value_len_max) + ITEM_OVERHEAD_LEN,
        };
        if longest > REPLY_LEN_MAX as u64 {
            return refuse(format!(
                "an answer would have {longest} bytes, and at most {REPLY_LEN_MAX} are read: take fewer or smaller values"
            ));
        }
        Ok(())
    }

    fn greet(&self, stream: &mut TcpStream, _: usize) -> Result<Option<u16>, MeetError> {
        session::open(stream, &self.options)?;
        Ok(None)
    }

    fn greeting(&self, _: usize, out: &mut Vec<u8>) {
        session::greeting(&self.options, out);
    }

    fn greeted(&self, _: usize, bytes: &[u8]) -> Result<Option<usize>, MeetError> {
        session::greeted(&self.options, bytes)
    }

    fn dialect<K: KeyBytes, V: ValueBytes>(&self, keys: K, values: V) -> RespDialect<K, V> {
        RespDialect::new(Arc::clone(&self.starts), keys, values)
    }

    fn learn_scans(
        &mut self,
        stream: &mut TcpStream,
        pages_max: usize,
    ) -> Result<usize, MeetError> {
        self.starts = session::scan_starts(stream, pages_max)?.into();
        Ok(self.starts.len())
    }

    fn describe(&self, stream: &mut TcpStream) -> Result<Server, MeetError> {
        describe::describe(stream)
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
        let language = |knows_ifeq| RespLanguage {
            options: RespOptions::default(),
            knows_ifeq,
            starts: Arc::new([0]),
        };
        let swap = Demand {
            operation: Operation::CompareAndSet,
            key_len_max: 16,
            value_len_max: 100,
            count_max: 1,
            ttl_ms_max: 0,
        };
        assert_eq!(language(true).accepts(&swap), Ok(()));
        let error = language(false).accepts(&swap).unwrap_err().to_string();
        assert!(error.contains("IFEQ"), "{error}");
        let batch = Demand {
            operation: Operation::Batch,
            value_len_max: 1 << 20,
            count_max: 60,
            ..swap
        };
        assert_eq!(language(false).accepts(&batch), Ok(()));
        let longer = Demand {
            count_max: 65,
            ..batch
        };
        assert!(language(false).accepts(&longer).is_err());
    }
}
