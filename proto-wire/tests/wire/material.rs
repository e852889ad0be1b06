//! Arbitrary contents for every kind of message.
//!
//! Messages borrow their bytes, so what proptest makes up is the [`Material`]: the bytes and numbers. From one material
//! come one or more messages of every kind, so no kind is left to chance.

use corduroy_proto_wire::{
    BATCH_LEN_MAX, BatchItem, Body, Condition, Cursor, Delete, EXPIRES_AT_MS_MAX, Expiry,
    ExpiryCondition, Hello, HelloReply, ItemResult, KeyspaceId, KeyspaceInfo, PARTITIONS_MAX,
    Precondition, Put, Request, Response, ScanItem, Status, TTL_MS_MAX, Ttl,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// What messages are made of.
#[derive(Clone, Debug)]
pub(crate) struct Material {
    /// Keys, each of one byte or more.
    pub(crate) keys: Vec<Vec<u8>>,
    /// Values, any of which may be empty; as many as there are keys.
    pub(crate) values: Vec<Vec<u8>>,
    /// A keyspace's name.
    pub(crate) name: String,
    /// A client's or server's name, or any other text.
    pub(crate) text: String,
    /// An id, or a count.
    pub(crate) keyspace: KeyspaceId,
    /// Versions, timestamps, counters.
    pub(crate) number: u64,
    /// Within the limits of a time to live.
    pub(crate) ttl_ms: u64,
    /// Within the limits of a batch.
    pub(crate) limit: u32,
    /// Partitions, shards, versions of the protocol.
    pub(crate) small: u16,
    /// Any flag.
    pub(crate) flag: bool,
    /// A scan's place.
    pub(crate) cursor: [u8; 16],
}

/// Arbitrary contents, up to six keys of up to forty bytes.
pub(crate) fn material() -> impl Strategy<Value = Material> {
    let keys_and_values = (1usize..6).prop_flat_map(|count| {
        (
            vec(vec(any::<u8>(), 1..40), count),
            vec(vec(any::<u8>(), 0..40), count),
        )
    });
    let texts = ("[a-zäß\u{1F9F5}/.0-9-]{1,20}", "[^\\p{Cc}]{0,20}");
    let numbers = (
        any::<u32>(),
        any::<u64>(),
        1..=TTL_MS_MAX,
        1..=BATCH_LEN_MAX as u32,
        1..=PARTITIONS_MAX,
    );
    (
        keys_and_values,
        texts,
        numbers,
        any::<bool>(),
        any::<[u8; 16]>(),
    )
        .prop_map(
            |(
                (keys, values),
                (name, text),
                (keyspace, number, ttl_ms, limit, small),
                flag,
                cursor,
            )| Material {
                keys,
                values,
                name,
                text,
                keyspace,
                number,
                ttl_ms,
                limit,
                small,
                flag,
                cursor,
            },
        )
}

impl Material {
    fn key(&self) -> &[u8] {
        &self.keys[0]
    }

    fn value(&self) -> &[u8] {
        &self.values[0]
    }

    fn conditions(&self) -> [Condition<'_>; 5] {
        let expected = self.values.last().expect("a material has a value");
        [
            Condition::Always,
            Condition::IfAbsent,
            Condition::IfPresent,
            Condition::IfVersion(self.number),
            Condition::IfValue(expected),
        ]
    }

    fn expires_at_ms(&self) -> u64 {
        self.number.min(EXPIRES_AT_MS_MAX)
    }

    fn expires(&self) -> Vec<Request<'_>> {
        let expiries = [
            Expiry::Never,
            Expiry::Millis(0),
            Expiry::Millis(self.ttl_ms),
            Expiry::At(self.expires_at_ms()),
        ];
        let conditions = [
            ExpiryCondition::Always,
            ExpiryCondition::IfNone,
            ExpiryCondition::IfSome,
            ExpiryCondition::IfLater,
            ExpiryCondition::IfEarlier,
            ExpiryCondition::IfSomeEarlier,
        ];
        expiries
            .into_iter()
            .flat_map(|expiry| conditions.map(|condition| (expiry, condition)))
            .map(|(expiry, condition)| Request::Expire {
                keyspace: self.keyspace,
                key: self.key(),
                expiry,
                condition,
                return_value: self.flag,
            })
            .collect()
    }

    fn moves(&self) -> [Request<'_>; 2] {
        let destination = self.keys.last().expect("a material has a key");
        [true, false].map(|if_absent| Request::Move {
            source: (self.keyspace, self.key()),
            destination: (self.limit, destination),
            if_absent,
            keep_source: self.flag,
        })
    }

    fn preconditions(&self) -> Vec<Precondition<'_>> {
        self.keys
            .iter()
            .enumerate()
            .map(|(index, key)| Precondition {
                keyspace: self.keyspace,
                key,
                version: (index.is_multiple_of(2) != self.flag).then_some(self.number),
            })
            .collect()
    }

    fn puts(&self) -> Vec<Put<'_>> {
        let ttls = [
            Ttl::None,
            Ttl::Keep,
            Ttl::Millis(self.ttl_ms),
            Ttl::At(self.expires_at_ms()),
        ];
        let (key, value) = (self.key(), self.value());
        self.conditions()
            .into_iter()
            .flat_map(|condition| ttls.map(|ttl| (condition, ttl)))
            .flat_map(|pair| [true, false].map(|return_value| (pair, return_value)))
            .map(|((condition, ttl), return_value)| Put {
                key,
                value,
                ttl,
                condition,
                return_value,
            })
            .collect()
    }

    fn deletes(&self) -> Vec<Delete<'_>> {
        self.conditions()
            .map(|condition| Delete {
                key: self.key(),
                condition,
                return_value: self.flag,
            })
            .into()
    }

    /// What a unit may hold, each with an id of its own.
    pub(crate) fn unit_frames(&self) -> Vec<Vec<u8>> {
        let (keyspace, key) = (self.keyspace, self.key());
        let add = Request::Add {
            keyspace,
            key,
            delta: self.number as i64,
        };
        (self.moves().into_iter())
            .chain(self.expires())
            .chain([Request::Get { keyspace, key }, add])
            .enumerate()
            .map(|(index, request)| request_frame(&request, self.keyspace ^ index as u32))
            .collect()
    }

    /// Units of some of these frames, and of none.
    pub(crate) fn units<'a>(&'a self, frames: &'a [Vec<u8>]) -> [Request<'a>; 2] {
        [
            Request::Unit {
                preconditions: self.preconditions(),
                frames: frames.iter().map(Vec::as_slice).collect(),
            },
            Request::Unit {
                preconditions: vec![],
                frames: vec![],
            },
        ]
    }

    /// One or more requests of every kind but the unit, which borrows from [`Material::unit_frames`].
    pub(crate) fn requests(&self) -> Vec<Request<'_>> {
        let (keyspace, key, value, name) =
            (self.keyspace, self.key(), self.value(), self.name.as_str());
        let writes: Vec<BatchItem<'_>> = (self.puts().into_iter().map(BatchItem::Put))
            .chain(self.deletes().into_iter().map(BatchItem::Delete))
            .chain(self.keys.iter().zip(&self.values).map(|(key, value)| {
                BatchItem::Put(Put {
                    key,
                    value,
                    ttl: Ttl::None,
                    condition: Condition::Always,
                    return_value: false,
                })
            }))
            .collect();
        let gets = self.keys.iter().map(|key| BatchItem::Get { key });
        let hello = Hello {
            version_min: self.small.min(7),
            version_max: self.small,
            shard: self.flag.then_some(self.small),
            keyspace: name,
            client_name: &self.text,
        };
        let mut requests = vec![
            Request::Hello(hello),
            Request::Hello(Hello {
                keyspace: "",
                client_name: "",
                ..hello
            }),
            Request::Ping { payload: value },
            Request::Get { keyspace, key },
            Request::Exists { keyspace, key },
            Request::Ttl { keyspace, key },
            Request::Touch {
                keyspace,
                key,
                ttl_ms: self.ttl_ms,
            },
            Request::Persist { keyspace, key },
            Request::Add {
                keyspace,
                key,
                delta: self.number as i64,
            },
            Request::Append {
                keyspace,
                key,
                suffix: value,
            },
            Request::Overwrite {
                keyspace,
                key,
                offset: self.limit,
                bytes: value,
            },
            Request::AddFloat {
                keyspace,
                key,
                increment: value,
            },
            Request::ExpiresAt { keyspace, key },
            Request::Batch {
                keyspace,
                items: gets.chain(writes.iter().copied()).collect(),
            },
            Request::AtomicBatch {
                keyspace,
                items: writes,
            },
            Request::Scan {
                keyspace,
                prefix: value,
                cursor: Cursor(self.cursor),
                limit: self.limit,
                with_values: self.flag,
            },
            Request::Count { keyspace },
            Request::Flush { keyspace },
            Request::KeyspaceCreate {
                name,
                partitions: self.small,
            },
            Request::KeyspaceDrop { name },
            Request::KeyspaceList,
            Request::KeyspaceOpen { name },
            Request::Status,
            Request::Compact,
            Request::Backup { series: "a-1_b.c" },
        ];
        requests.extend(self.expires());
        requests.extend(self.moves());
        requests.extend(
            self.puts()
                .into_iter()
                .map(|put| Request::Put { keyspace, put }),
        );
        requests.extend(
            self.deletes()
                .into_iter()
                .map(|delete| Request::Delete { keyspace, delete }),
        );
        requests
    }

    /// One or more answers of every kind, and one of every status.
    pub(crate) fn responses(&self) -> Vec<Response<'_>> {
        let (version, timestamp_ms) = (self.number, self.number.rotate_left(17));
        let optional = |number: usize| (number.is_multiple_of(2) != self.flag).then_some(());
        let results = statuses().enumerate().map(|(index, status)| ItemResult {
            status,
            version,
            timestamp_ms,
            value: optional(index).map(|()| self.value()),
        });
        let items = self
            .keys
            .iter()
            .zip(&self.values)
            .enumerate()
            .map(|(index, (key, value))| ScanItem {
                key,
                value: optional(index).map(|()| value.as_slice()),
                version,
                timestamp_ms,
                expires_at_ms: optional(index / 2).map(|()| self.ttl_ms),
            });
        let keyspace = KeyspaceInfo {
            id: self.keyspace,
            partitions: self.small,
            name: self.name.clone(),
        };
        let hello = HelloReply {
            version: self.small,
            shard_count: self.small,
            shard: self.small / 2,
            frame_len_max: self.keyspace,
            value_len_max: self.limit,
            in_flight_max: self.limit,
            batch_len_max: self.limit,
            keyspace: Some(keyspace.clone()),
            server_name: self.text.clone(),
        };
        let bodies = [
            Body::Empty,
            Body::Value(self.value()),
            Body::Counter(self.number as i64),
            Body::Number(self.number),
            Body::Ttl(None),
            Body::Ttl(Some(self.ttl_ms)),
            Body::Batch(vec![]),
            Body::Batch(results.collect()),
            Body::Scan {
                cursor: Cursor::START,
                items: vec![],
            },
            Body::Scan {
                cursor: Cursor(self.cursor),
                items: items.collect(),
            },
            Body::Keyspaces(vec![]),
            Body::Keyspaces(vec![keyspace; 3]),
            Body::Status(&self.text),
            Body::Hello(HelloReply {
                keyspace: None,
                ..hello.clone()
            }),
            Body::Hello(hello),
        ];
        let successes = bodies.into_iter().flat_map(|body| {
            statuses()
                .filter(|status| !status.is_error())
                .map(move |status| (status, body.clone()))
        });
        let errors = statuses()
            .filter(|status| status.is_error())
            .map(|status| (status, Body::Error(&self.text)));
        successes
            .chain(errors)
            .map(|(status, body)| Response {
                status,
                version,
                timestamp_ms,
                body,
            })
            .collect()
    }
}

/// Every status there is.
pub(crate) fn statuses() -> impl Iterator<Item = Status> {
    (0..=u8::MAX).filter_map(Status::from_u8)
}

/// A request as its frame, without the length field.
pub(crate) fn request_frame(request: &Request<'_>, id: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(id, &mut bytes);
    bytes.split_off(corduroy_proto_wire::LENGTH_LEN)
}

/// An answer as its frame, without the length field.
pub(crate) fn response_frame(response: &Response<'_>, id: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    response.encode(id, &mut bytes);
    bytes.split_off(corduroy_proto_wire::LENGTH_LEN)
}
