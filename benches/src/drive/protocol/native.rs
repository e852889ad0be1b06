//! Corduroy's native protocol: get and put, after a hello that may name a shard.
//!
//! A request's id is its slot plus one, as id 0 stands for the connection itself.

use std::net::TcpStream;

use corduroy_proto_wire::{
    Body, CONNECTION_REQUEST_ID, Condition, KeyspaceId, LENGTH_LEN, Put, REQUEST_HEADER_LEN,
    RESPONSE_HEADER_LEN, Request, Response, Status, Ttl, partition_of_slot, shard_of_partition,
    slot_of, split,
};

use super::{Dialect, Malformed, Outcome, Reply, Template, session::hello};
use crate::drive::{
    DriveError, Route,
    workload::{self, Operation},
};

/// The keyspace that is always there.
pub(super) const KEYSPACE: &str = "default";
/// The id of a connection's first request.
pub(super) const FIRST_ID: u32 = CONNECTION_REQUEST_ID + 1;
/// Longest answer that the driver reads, in bytes after the length field: the largest value, and room for a status.
pub(super) const FRAME_LEN_MAX: u32 = 32 << 20;

/// The native protocol.
#[derive(Debug)]
pub struct NativeDialect {
    route: Route,
    /// What the first connection's hello was answered.
    layout: Option<Layout>,
}

/// What the driver needs to know of a server, from its first hello.
#[derive(Clone, Copy, Debug)]
struct Layout {
    shard_count: u16,
    keyspace: KeyspaceId,
    partitions: u16,
}

impl NativeDialect {
    /// With connections for the keys of their own shard, or for any.
    #[must_use]
    pub fn new(route: Route) -> NativeDialect {
        NativeDialect {
            route,
            layout: None,
        }
    }

    fn layout(&self) -> Layout {
        self.layout
            .expect("a connection was greeted before the first template is asked for")
    }
}

impl Dialect for NativeDialect {
    const IN_ORDER: bool = false;

    fn greet(
        &mut self,
        stream: &mut TcpStream,
        connection: usize,
    ) -> Result<Option<u16>, DriveError> {
        let refused = |reason: String| DriveError::Handshake { connection, reason };
        // Shard 0 is always there; how many others, its reply tells.
        let shard = match (self.route, self.layout) {
            (Route::Any, _) => None,
            (Route::Direct, None) => Some(0),
            (Route::Direct, Some(layout)) => {
                Some((connection % usize::from(layout.shard_count)) as u16)
            }
        };
        let reply = hello(stream, shard).map_err(|error| refused(error.to_string()))?;
        let keyspace = reply
            .keyspace
            .ok_or_else(|| refused(format!("it has no keyspace `{KEYSPACE}`")))?;
        self.layout.get_or_insert(Layout {
            shard_count: reply.shard_count,
            keyspace: keyspace.id,
            partitions: keyspace.partitions,
        });
        match (self.route, shard) {
            (Route::Direct, Some(asked)) if asked != reply.shard => Err(refused(format!(
                "asked for shard {asked}, it is served by shard {}",
                reply.shard
            ))),
            (Route::Direct, _) => Ok(Some(reply.shard)),
            (Route::Any, _) => Ok(None),
        }
    }

    fn template(&self, operation: Operation, value_len: usize) -> Template {
        let keyspace = self.layout().keyspace;
        let key = workload::key(0);
        let value = workload::value(value_len);
        let mut bytes = Vec::new();
        match operation {
            Operation::Get => Request::Get {
                keyspace,
                key: &key,
            },
            Operation::Put => Request::Put {
                keyspace,
                put: plain_put(&key, &value),
            },
        }
        .encode(FIRST_ID, &mut bytes);
        let len = bytes.len();
        let template =
            Template::new(bytes, LENGTH_LEN + REQUEST_HEADER_LEN).with_id(LENGTH_LEN, FIRST_ID);
        match operation {
            Operation::Get => template,
            // A put's value is the rest of its frame.
            Operation::Put => template.with_value(len - value_len, value_len),
        }
    }

    fn reply_len_max(&self, value_len: usize) -> usize {
        LENGTH_LEN + RESPONSE_HEADER_LEN + value_len + 256
    }

    fn keys_of(&self, shard: u16, keys: u64) -> Vec<u64> {
        let Layout {
            shard_count,
            partitions,
            ..
        } = self.layout();
        let shard_of = |number: u64| {
            let partition = partition_of_slot(slot_of(&workload::key(number)), partitions);
            shard_of_partition(partition, shard_count)
        };
        (0..keys)
            .filter(|&number| shard_of(number) == shard)
            .collect()
    }

    #[inline]
    fn reply<'a>(&self, bytes: &'a [u8]) -> Result<Option<Reply<'a>>, Malformed> {
        let Some((frame, len)) =
            split(bytes, FRAME_LEN_MAX).map_err(|error| Malformed::because(&error))?
        else {
            return Ok(None);
        };
        let (id, response) = Response::decode(frame).map_err(|error| Malformed::because(&error))?;
        if id == CONNECTION_REQUEST_ID {
            return Err(Malformed(
                format!("the server ends the connection: {response:?}").into(),
            ));
        }
        let outcome = match (response.status, response.body) {
            (Status::Ok, Body::Value(value)) => Outcome::Value(value),
            (Status::Ok, Body::Empty) => Outcome::Done,
            (Status::NotFound, _) => Outcome::Missing,
            (_, Body::Error(text)) => Outcome::Refused(text.as_bytes()),
            _ => Outcome::Refused(b"an answer to another request"),
        };
        Ok(Some(Reply {
            len,
            slot: Some(id - FIRST_ID),
            outcome,
        }))
    }
}

/// An unconditional put without a time to live.
fn plain_put<'a>(key: &'a [u8], value: &'a [u8]) -> Put<'a> {
    Put {
        key,
        value,
        ttl: Ttl::None,
        condition: Condition::Always,
        return_value: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::protocol::tests::assert_needs_all_of;

    fn dialect() -> NativeDialect {
        let layout = Layout {
            shard_count: 2,
            keyspace: 1,
            partitions: 64,
        };
        NativeDialect {
            route: Route::Direct,
            layout: Some(layout),
        }
    }

    fn answer(id: u32, status: Status, body: Body<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        Response {
            status,
            version: 5,
            timestamp_ms: 6,
            body,
        }
        .encode(id, &mut bytes);
        bytes
    }

    // The templates are patched at fixed places. If the codec moved a field, the server would be asked for other keys, or
    // store the values of others, and the figures would look as good as ever.
    #[test]
    fn a_patched_template_is_what_the_codec_would_encode() {
        let mut value = workload::value(64);
        value[..8].copy_from_slice(&workload::stamp(4_711));
        for (operation, request) in [
            (
                Operation::Get,
                Request::Get {
                    keyspace: 1,
                    key: &workload::key(4_711),
                },
            ),
            (
                Operation::Put,
                Request::Put {
                    keyspace: 1,
                    put: plain_put(&workload::key(4_711), &value),
                },
            ),
        ] {
            let mut patched = Vec::new();
            dialect()
                .template(operation, 64)
                .append(9, 4_711, &mut patched);
            let mut encoded = Vec::new();
            request.encode(9 + FIRST_ID, &mut encoded);
            assert_eq!(patched, encoded);
        }
    }

    #[test]
    fn replies_are_told_apart_and_wait_for_their_last_byte() {
        let check = |status, body: Body<'_>, outcome| {
            assert_needs_all_of(&dialect(), &answer(1, status, body), outcome);
        };
        check(Status::Ok, Body::Value(b"abc"), Outcome::Value(b"abc"));
        check(Status::Ok, Body::Empty, Outcome::Done);
        check(Status::NotFound, Body::Empty, Outcome::Missing);
        check(
            Status::Overloaded,
            Body::Error("busy"),
            Outcome::Refused(b"busy"),
        );
        check(
            Status::Ok,
            Body::Number(3),
            Outcome::Refused(b"an answer to another request"),
        );
    }

    // A server that gives up a connection says so under an id that is no request's; to take it for a reply to the last slot
    // would count a failure as a success of something else.
    #[test]
    fn an_answer_about_the_connection_ends_the_run() {
        let bytes = answer(
            CONNECTION_REQUEST_ID,
            Status::ShuttingDown,
            Body::Error("stopping"),
        );
        let error = dialect().reply(&bytes).unwrap_err();
        assert!(error.to_string().contains("stopping"), "{error}");
    }

    // A key that belonged to both shards, or to neither, would make a direct connection hop.
    #[test]
    fn the_shards_cut_the_keys_in_two() {
        let (even, odd) = (dialect().keys_of(0, 1_000), dialect().keys_of(1, 1_000));
        assert_eq!(even.len() + odd.len(), 1_000);
        assert!(
            even.len() > 300 && odd.len() > 300,
            "{} and {}",
            even.len(),
            odd.len()
        );
        assert!(even.iter().all(|number| !odd.contains(number)));
    }
}
