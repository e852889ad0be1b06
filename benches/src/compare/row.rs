//! What is promised: the rows of the table, as values.
//!
//! The load of all rows but the last two: 50 connections, 64-byte values, 100,000 keys of 16 bytes, asked uniformly.

use super::{
    CompareError,
    server::{Server, Sync},
};
use crate::drive::{Operations, Protocol};

/// Value length of all loads but the rows about many keys, in bytes.
pub const VALUE_LEN: usize = 64;
/// Number of keys of the same.
pub const KEYS: u64 = 100_000;
/// A get of a [`VALUE_LEN`] value and its answer weigh as much as two echoes with a value of this length.
const ECHO_VALUE_LEN: usize = 32;
const CONNECTIONS: usize = 50;

/// A promise.
#[derive(Clone, Debug)]
pub struct Row {
    /// For `--rows`.
    pub id: &'static str,
    /// For people.
    pub title: &'static str,
    /// How it is measured.
    pub kind: Kind,
}

/// How a row is measured.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Two servers, or one under two loads, in turns.
    Duel(Duel),
    /// Corduroy on two cores against itself on one.
    TwoCores {
        /// The least ratio of their rates.
        at_least: f64,
    },
    /// Corduroy with many keys.
    Volume(Question),
    /// Corduroy on two cores with many keys, started again.
    Starts {
        /// How it had ended.
        restart: Restart,
        /// The longest that it may take, in seconds.
        seconds_max: f64,
    },
}

/// Two contenders and what is compared.
#[derive(Clone, Debug)]
pub struct Duel {
    /// Who has to be good.
    pub subject: Contender,
    /// Whom it is measured against.
    pub peer: Contender,
    /// What is compared.
    pub metric: Metric,
    /// What is compared instead if a server's core was not full in one of the runs, so that something else set the pace.
    pub metric_if_not_full: Option<Metric>,
    /// The least ratio of subject to peer; `None` where nothing is promised.
    pub at_least: Option<f64>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests per second.
    Rate,
    /// Requests per second of the server's CPU time, user and system.
    CpuRate,
}

/// A server under a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Who.
    pub server: Server,
    /// Who asks.
    pub client: Client,
    /// How it is asked.
    pub load: Load,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The closed-loop driver ([`crate::drive`]), in this protocol.
    Driver(Protocol),
    /// `redis-benchmark`, as a user would run it.
    RedisBenchmark,
}

/// A load in whatever protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// What to do with the keys.
    pub operations: Operations,
    /// Number of connections.
    pub connections: usize,
    /// Requests in flight on each.
    pub in_flight: u32,
    /// Bytes of a value.
    pub value_len: usize,
}

/// How a server had ended that is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// By kill -9.
    Killed,
    /// By SIGTERM.
    Stopped,
}

/// A question about many keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Question {
    /// How many bytes of memory a key takes beside the log's tail.
    MemoryPerKey {
        /// The most, in bytes.
        bytes_max: f64,
    },
    /// How long after a kill -9 the keys are served again.
    Start {
        /// The longest, in seconds.
        seconds_max: f64,
    },
}

impl Contender {
    /// A server that the driver asks in the server's own protocol.
    #[must_use]
    pub fn driven(server: Server, load: Load) -> Contender {
        let protocol = match server {
            Server::Corduroy { .. } => Protocol::Native,
            Server::Redis { .. } => Protocol::Resp,
            Server::Memcached => Protocol::Memcached,
            Server::EchoGlommio => Protocol::Echo,
        };
        Contender {
            server,
            client: Client::Driver(protocol),
            load,
        }
    }

    /// The same, asked by another client.
    #[must_use]
    fn by(self, client: Client) -> Contender {
        Contender { client, ..self }
    }
}

impl Client {
    /// The protocol in which the keys are written and asked.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Client::Driver(protocol) => protocol,
            Client::RedisBenchmark => Protocol::Resp,
        }
    }
}

/// Corduroy on one core. Its memory holds every key many times over, and is little enough that a window reaches the steady state, in which the
/// log's tail uses its memory again.
pub(super) fn corduroy(sync: Sync) -> Server {
    Server::Corduroy {
        cores: 1,
        sync,
        memory_mib: MEMORY_MIB,
    }
}

/// Memory of a server on one core.
pub(super) const MEMORY_MIB: u32 = 256;

/// Gets with so many in flight a connection.
pub(super) fn gets(in_flight: u32) -> Load {
    Load {
        operations: Operations::Get,
        connections: CONNECTIONS,
        in_flight,
        value_len: VALUE_LEN,
    }
}

fn puts(in_flight: u32) -> Load {
    Load {
        operations: Operations::Put,
        ..gets(in_flight)
    }
}

fn duel(
    id: &'static str,
    title: &'static str,
    (subject, subject_load): (Server, Load),
    (peer, peer_load): (Server, Load),
    metric: Metric,
    at_least: Option<f64>,
) -> Row {
    let duel = Duel {
        subject: Contender::driven(subject, subject_load),
        peer: Contender::driven(peer, peer_load),
        metric,
        metric_if_not_full: None,
        at_least,
    };
    Row {
        id,
        title,
        kind: Kind::Duel(duel),
    }
}

/// What Redis's protocol costs: Corduroy asked in it, against the same server asked in its own.
fn resp(id: &'static str, title: &'static str, load: Load) -> Row {
    let native = Contender::driven(corduroy(Sync::Never), load);
    let duel = Duel {
        subject: native.clone().by(Client::Driver(Protocol::Resp)),
        peer: native,
        metric: Metric::Rate,
        metric_if_not_full: Some(Metric::CpuRate),
        at_least: Some(0.85),
    };
    Row {
        id,
        title,
        kind: Kind::Duel(duel),
    }
}

/// Corduroy in Redis's place: `redis-benchmark` asks both.
fn redis(
    id: &'static str,
    title: &'static str,
    (sync, append_always): (Sync, bool),
    load: Load,
    metric: Metric,
    at_least: f64,
) -> Row {
    let asked = |server| Contender::driven(server, load).by(Client::RedisBenchmark);
    let duel = Duel {
        subject: asked(corduroy(sync)),
        peer: asked(Server::Redis { append_always }),
        metric,
        metric_if_not_full: None,
        at_least: Some(at_least),
    };
    Row {
        id,
        title,
        kind: Kind::Duel(duel),
    }
}

/// The whole table.
#[must_use]
pub fn all() -> Vec<Row> {
    use Metric::{CpuRate, Rate};
    let never = corduroy(Sync::Never);
    let always = corduroy(Sync::Always);
    let redis_memory = Server::Redis {
        append_always: false,
    };
    let redis_always = Server::Redis {
        append_always: true,
    };
    let in_memory = (Sync::Never, false);
    let durable = (Sync::Always, true);
    let echo = Load {
        operations: Operations::Put,
        value_len: ECHO_VALUE_LEN,
        ..gets(16)
    };
    let wide = |in_flight| Load {
        connections: 1_000,
        ..gets(in_flight)
    };
    vec![
        duel(
            "get-1",
            "get, 1 in flight, against redis-server",
            (never, gets(1)),
            (redis_memory, gets(1)),
            CpuRate,
            Some(1.3),
        ),
        duel(
            "get-16",
            "get, 16 in flight, against redis-server",
            (never, gets(16)),
            (redis_memory, gets(16)),
            CpuRate,
            Some(1.8),
        ),
        duel(
            "put-never-16",
            "put --sync never, 16 in flight, against redis-server without AOF",
            (never, puts(16)),
            (redis_memory, puts(16)),
            CpuRate,
            Some(1.5),
        ),
        duel(
            "put-always-1",
            "put --sync always, 1 in flight, against redis-server --appendfsync always",
            (always, puts(1)),
            (redis_always, puts(1)),
            Rate,
            Some(1.3),
        ),
        duel(
            "put-always-16",
            "put --sync always, 16 in flight, against redis-server --appendfsync always",
            (always, puts(16)),
            (redis_always, puts(16)),
            Rate,
            Some(2.0),
        ),
        duel(
            "floor-16",
            "get, 16 in flight, against the echo server on glommio",
            (never, gets(16)),
            (Server::EchoGlommio, echo),
            Rate,
            Some(0.55),
        ),
        Row {
            id: "two-cores",
            title: "get, two cores and keys of both on any connection, against one core",
            kind: Kind::TwoCores { at_least: 1.5 },
        },
        duel(
            "pool-1000-1",
            "get, 1 in flight, 1,000 connections against 50",
            (never, wide(1)),
            (never, gets(1)),
            Rate,
            Some(0.8),
        ),
        duel(
            "pool-1000-16",
            "get, 16 in flight, 1,000 connections against 50",
            (never, wide(16)),
            (never, gets(16)),
            Rate,
            Some(0.8),
        ),
        duel(
            "memcached-get-1",
            "get, 1 in flight, against memcached",
            (never, gets(1)),
            (Server::Memcached, gets(1)),
            CpuRate,
            None,
        ),
        duel(
            "memcached-get-16",
            "get, 16 in flight, against memcached",
            (never, gets(16)),
            (Server::Memcached, gets(16)),
            CpuRate,
            None,
        ),
        duel(
            "memcached-put-16",
            "put --sync never, 16 in flight, against memcached",
            (never, puts(16)),
            (Server::Memcached, puts(16)),
            CpuRate,
            None,
        ),
        resp(
            "resp-get-1",
            "get over RESP, 1 in flight, against the native protocol",
            gets(1),
        ),
        resp(
            "resp-get-16",
            "get over RESP, 16 in flight, against the native protocol",
            gets(16),
        ),
        resp(
            "resp-put-1",
            "put --sync never over RESP, 1 in flight, against the native protocol",
            puts(1),
        ),
        resp(
            "resp-put-16",
            "put --sync never over RESP, 16 in flight, against the native protocol",
            puts(16),
        ),
        redis(
            "redis-get-1",
            "redis-benchmark -t get -P 1, against redis-server",
            in_memory,
            gets(1),
            CpuRate,
            1.25,
        ),
        redis(
            "redis-set-1",
            "redis-benchmark -t set -P 1, --sync never against redis-server without AOF",
            in_memory,
            puts(1),
            CpuRate,
            1.25,
        ),
        redis(
            "redis-get-16",
            "redis-benchmark -t get -P 16, against redis-server",
            in_memory,
            gets(16),
            CpuRate,
            1.6,
        ),
        redis(
            "redis-set-16",
            "redis-benchmark -t set -P 16, --sync never against redis-server without AOF",
            in_memory,
            puts(16),
            CpuRate,
            1.6,
        ),
        redis(
            "redis-set-always-16",
            "redis-benchmark -t set -P 16, --sync always against redis-server --appendfsync always",
            durable,
            puts(16),
            Rate,
            1.8,
        ),
        Row {
            id: "memory",
            title: "memory a key beside the log's tail, keys of 16 and values of 32 bytes",
            kind: Kind::Volume(Question::MemoryPerKey { bytes_max: 40.0 }),
        },
        Row {
            id: "start",
            title: "from kill -9 and start to the first answer, with the same keys",
            kind: Kind::Volume(Question::Start { seconds_max: 10.0 }),
        },
        Row {
            id: "start-killed",
            title: "from start to the first answer after kill -9, two cores, values of 100 bytes",
            kind: Kind::Starts {
                restart: Restart::Killed,
                seconds_max: 5.0,
            },
        },
        Row {
            id: "start-clean",
            title: "from start to the first answer after a clean stop, two cores, values of 100 bytes",
            kind: Kind::Starts {
                restart: Restart::Stopped,
                seconds_max: 2.0,
            },
        },
    ]
}

/// The rows of these ids, in the table's order; all if there are none.
///
/// # Errors
///
/// [`CompareError::UnknownRow`].
pub fn select(ids: &[String]) -> Result<Vec<Row>, CompareError> {
    let rows = all();
    if let Some(unknown) = ids
        .iter()
        .find(|id| rows.iter().all(|row| row.id != id.as_str()))
    {
        let known = rows.iter().map(|row| row.id).collect::<Vec<_>>().join(", ");
        return Err(CompareError::UnknownRow {
            row: unknown.clone(),
            known,
        });
    }
    Ok(rows
        .into_iter()
        .filter(|row| ids.is_empty() || ids.iter().any(|id| id == row.id))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    // A mistyped row that selected nothing would print an empty table, which reads like a pass.
    #[test]
    fn an_unknown_row_is_an_error_that_names_the_known() {
        let error = select(&["get-2".to_owned()]).unwrap_err().to_string();
        assert!(
            error.contains("get-2") && error.contains("get-16"),
            "{error}"
        );
        let selected = select(&["start".to_owned(), "get-1".to_owned()]).unwrap();
        assert_eq!(
            selected.iter().map(|row| row.id).collect::<Vec<_>>(),
            ["get-1", "start"]
        );
        assert_eq!(select(&[]).unwrap().len(), all().len());
    }

    // Two rows of one name could not be told apart in the JSON.
    #[test]
    fn ids_differ() {
        let mut ids: Vec<_> = all().iter().map(|row| row.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all().len());
    }
}
