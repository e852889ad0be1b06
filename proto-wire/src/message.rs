//! What client and server say to each other, as values. The codec (`request`, `response`) turns these into
//! frames and back; nothing here allocates on the data path: keys and values are borrowed from the frame.

/// Chosen by the client, echoed by the server; answers may come back in any order.
pub type RequestId = u32;

/// Which keyspace a request is about: a number that is never used again after a drop.
/// Clients learn it from the hello or from [`Request::KeyspaceOpen`].
pub type KeyspaceId = u32;

/// When a write may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition<'a> {
    /// Whatever the key holds.
    Always,
    /// Only if the key does not exist.
    IfAbsent,
    /// Only if the key exists.
    IfPresent,
    /// Only if the key exists at exactly this version.
    IfVersion(u64),
    /// Only if the key exists with exactly these bytes as its value.
    IfValue(&'a [u8]),
}

/// What becomes of a key's time to live when its value is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// The key lives until it is deleted; an earlier expiry is removed.
    None,
    /// The earlier expiry stays.
    Keep,
    /// The key expires after this many milliseconds (1 to [`crate::TTL_MS_MAX`]).
    Millis(u64),
    /// The key expires at this time, in milliseconds since 1970 (at most [`crate::EXPIRES_AT_MS_MAX`]). If that has passed, the key is gone
    /// at once, as if it had been deleted.
    At(u64),
}

/// When a key is to expire from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Never.
    Never,
    /// After this many milliseconds (0 to [`crate::TTL_MS_MAX`]).
    Millis(u64),
    /// At this time, in milliseconds since 1970 (at most [`crate::EXPIRES_AT_MS_MAX`]).
    At(u64),
}

/// Which expiry a key must have for it to get another one. A key that never expires counts as one that expires after all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryCondition {
    /// Any, or none.
    Always,
    /// None.
    IfNone,
    /// Any.
    IfSome,
    /// The new one is later.
    IfLater,
    /// The new one is earlier.
    IfEarlier,
    /// There is one, and the new one is earlier.
    IfSomeEarlier,
}

/// What must hold of a key for a [`Request::Unit`] to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precondition<'a> {
    /// The keyspace.
    pub keyspace: KeyspaceId,
    /// 1 to 65,535 bytes.
    pub key: &'a [u8],
    /// It exists at exactly this version; `None`: it does not exist.
    pub version: Option<u64>,
}

/// A conditional write of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put<'a> {
    /// 1 to 65,535 bytes.
    pub key: &'a [u8],
    /// 0 bytes to the server's limit.
    pub value: &'a [u8],
    /// The new expiry.
    pub ttl: Ttl,
    /// When the write may happen.
    pub condition: Condition<'a>,
    /// Ask for the old value (on success) or the current one (on a failed condition).
    pub return_value: bool,
}

/// A conditional removal of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// 1 to 65,535 bytes.
    pub key: &'a [u8],
    /// When the removal may happen. `IfAbsent` never can.
    pub condition: Condition<'a>,
    /// Ask for the old value (on success) or the current one (on a failed condition).
    pub return_value: bool,
}

/// One operation of a [`Request::Batch`] or, without `Get`, of a [`Request::AtomicBatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchItem<'a> {
    /// Read a key.
    Get {
        /// 1 to 65,535 bytes.
        key: &'a [u8],
    },
    /// Write a key.
    Put(Put<'a>),
    /// Remove a key.
    Delete(Delete<'a>),
}

/// Where a scan goes on: opaque to clients, 16 bytes, valid for as long as the data directory lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cursor(pub [u8; 16]);

impl Cursor {
    /// The beginning, and what the last page answers: there is nothing more.
    pub const START: Cursor = Cursor([0; 16]);
}

/// The first frame of a connection, after the preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Lowest protocol version that the client speaks.
    pub version_min: u16,
    /// Highest protocol version that the client speaks.
    pub version_max: u16,
    /// The shard whose core shall serve the connection, or `None` for any.
    pub shard: Option<u16>,
    /// The keyspace that the client means to use; its id comes back in the reply.
    pub keyspace: &'a str,
    /// A name for logs and `status`, such as `corduroy-client/0.1.0`; may be empty.
    pub client_name: &'a str,
}

/// The server's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloReply {
    /// The version that both speak from now on.
    pub version: u16,
    /// The node's number of shards. Partition `p` of any keyspace lives on shard `p % shard_count`.
    pub shard_count: u16,
    /// The shard that serves this connection.
    pub shard: u16,
    /// Largest frame the server accepts, in bytes after the length field.
    pub frame_len_max: u32,
    /// Largest value the server accepts, in bytes.
    pub value_len_max: u32,
    /// How many requests a connection may have in flight before the server stops reading from it.
    pub in_flight_max: u32,
    /// Most operations in a batch, and most keys in a scan page.
    pub batch_len_max: u32,
    /// The keyspace that the hello named, if it exists.
    pub keyspace: Option<KeyspaceInfo>,
    /// The server's program and version, such as `corduroy/0.1.0`.
    pub server_name: String,
}

/// One keyspace as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceInfo {
    /// Its number, never used again after a drop.
    pub id: KeyspaceId,
    /// How many partitions its 16,384 slots are divided into: slot `s` is in partition `s * partitions / 16384`.
    pub partitions: u16,
    /// 1 to 255 bytes of UTF-8.
    pub name: String,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Request<'a> {
    /// Opens the connection; must be the first, and only the first, request.
    Hello(Hello<'a>),
    /// Answered with the same payload (at most 64 KiB).
    Ping {
        /// Any bytes.
        payload: &'a [u8],
    },
    /// Reads a value.
    Get {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// 1 to 65,535 bytes.
        key: &'a [u8],
    },
    /// Whether a key exists.
    Exists {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// 1 to 65,535 bytes.
        key: &'a [u8],
    },
    /// How long a key has left.
    Ttl {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// 1 to 65,535 bytes.
        key: &'a [u8],
    },
    /// Writes a value.
    Put {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// The write.
        put: Put<'a>,
    },
    /// Removes a key.
    Delete {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// The removal.
        delete: Delete<'a>,
    },
    /// Gives an existing key a new expiry.
    Touch {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// 1 to 65,535 bytes.
        key: &'a [u8],
        /// Milliseconds from now.
        ttl_ms: u64,
    },
    /// Takes an existing key's expiry away.
    Persist {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// 1 to 65,535 bytes.
        key: &'a [u8],
    },
    /// Adds to a 64-bit signed counter, held as decimal text; an absent key counts as 0. The expiry stays.
    Add {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// 1 to 65,535 bytes.
        key: &'a [u8],
        /// What to add; the sum must fit.
        delta: i64,
    },
    /// Appends to a value; an absent key counts as empty. The expiry stays.
    Append {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// 1 to 65,535 bytes.
        key: &'a [u8],
        /// The bytes to append; the result must stay within the value limit.
        suffix: &'a [u8],
    },
    /// Writes over a part of a value, which is made longer, with zeros, as far as necessary; an absent key counts as empty. The
    /// expiry stays. Without bytes nothing is changed.
    Overwrite {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// 1 to 65,535 bytes.
        key: &'a [u8],
        /// Where in the value the bytes go.
        offset: u32,
        /// The bytes; the result must stay within the value limit.
        bytes: &'a [u8],
    },
    /// Adds to a number that is held as decimal text, in the 80-bit floating point of x87, as Redis does; an absent key counts as 0. The
    /// expiry stays.
    AddFloat {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// 1 to 65,535 bytes.
        key: &'a [u8],
        /// What to add, as text that C's `strtold` reads whole.
        increment: &'a [u8],
    },
    /// Gives an existing key another expiry. One that has passed deletes the key.
    Expire {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// 1 to 65,535 bytes.
        key: &'a [u8],
        /// The new expiry.
        expiry: Expiry,
        /// Which expiry the key must have before.
        condition: ExpiryCondition,
        /// Ask for the value.
        return_value: bool,
    },
    /// When a key expires.
    ExpiresAt {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// 1 to 65,535 bytes.
        key: &'a [u8],
    },
    /// Independent operations on any keys, a status each.
    Batch {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// The operations.
        items: Vec<BatchItem<'a>>,
    },
    /// Writes on keys of one partition, all or nothing.
    AtomicBatch {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// Puts and deletes; a `Get` is refused by the decoder.
        items: Vec<BatchItem<'a>>,
    },
    /// One page of keys. A key that is there throughout is returned at least once over the pages.
    Scan {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// Only keys that begin with this; empty for all.
        prefix: &'a [u8],
        /// [`Cursor::START`], or what the page before answered.
        cursor: Cursor,
        /// At most this many keys in the page; a page may hold fewer, or none, and yet not be the last.
        limit: u32,
        /// Return the values too.
        with_values: bool,
    },
    /// How many keys a keyspace holds.
    Count {
        /// The keyspace.
        keyspace: KeyspaceId,
    },
    /// Drops all keys of a keyspace.
    Flush {
        /// The keyspace.
        keyspace: KeyspaceId,
    },
    /// Makes a keyspace.
    KeyspaceCreate {
        /// 1 to 255 bytes of UTF-8 without control characters.
        name: &'a str,
        /// 1 to 16,384; 0 for the server's default (64).
        partitions: u16,
    },
    /// Removes a keyspace and all its keys.
    KeyspaceDrop {
        /// Its name. `default` can't be dropped.
        name: &'a str,
    },
    /// All keyspaces.
    KeyspaceList,
    /// One keyspace by name.
    KeyspaceOpen {
        /// Its name.
        name: &'a str,
    },
    /// How the node and each of its shards are doing, as JSON (see `docs/status.md`).
    Status,
    /// Has every shard compact all that is worth it, and is answered when that is done.
    Compact,
    /// Has the node take a backup of itself into the directory that it is configured with, and is answered when that is whole, as JSON (see
    /// `docs/backup.md`). The state of the backup is that of some moment between the two.
    Backup {
        /// Which of the node's series of backups it is to belong to: empty, or up to 64 letters, digits, `-`, `_` and `.`, the first of them no `.`.
        series: &'a str,
    },
    /// Between shards of a node: gives a value another key, or a second one, together with its expiry. Both keys live on the shard.
    Move {
        /// The keyspace and the key where it is.
        source: (KeyspaceId, &'a [u8]),
        /// The keyspace and the key where it goes.
        destination: (KeyspaceId, &'a [u8]),
        /// Only if the destination does not exist.
        if_absent: bool,
        /// The source stays.
        keep_source: bool,
    },
    /// Between shards of a node: requests on keys of one shard that are carried out one after the other with nothing in between, and take
    /// effect together, if all preconditions hold.
    ///
    /// Each request inside is answered by its own id, the unit by its own: `Ok`; or `ConditionFailed` or an error, and then nothing was done and
    /// no request inside is answered.
    Unit {
        /// What must hold. At most [`crate::ATOMIC_LEN_MAX`].
        preconditions: Vec<Precondition<'a>>,
        /// Frames without their length fields, of requests about one key and of [`Request::Move`]. At most [`crate::ATOMIC_LEN_MAX`].
        frames: Vec<&'a [u8]>,
    },
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// The key (or keyspace) does not exist; nothing was changed.
    NotFound = 1,
    /// The condition did not hold; nothing was changed.
    ConditionFailed = 2,
    /// The request is malformed or makes no sense; nothing was changed. The body says what.
    InvalidRequest = 64,
    /// Something is outside a limit; nothing was changed. The body names the limit.
    LimitExceeded = 65,
    /// There is no keyspace of that number (any more); nothing was changed.
    UnknownKeyspace = 66,
    /// The keyspace exists already; nothing was changed.
    AlreadyExists = 67,
    /// The value is not a number of the kind that is added to, or the sum would not be one; nothing was changed. The body says which.
    NotACounter = 68,
    /// The keys of an atomic batch are not all in one partition; nothing was changed.
    CrossPartition = 69,
    /// The server does not know or does not support this; nothing was changed.
    Unsupported = 70,
    /// Too much is going on; nothing was changed, and the request may be sent again later.
    Overloaded = 71,
    /// The server is stopping; nothing was changed, and the request may be sent again elsewhere or later.
    ShuttingDown = 72,
    /// The shard takes no writes (its disk failed or is full); nothing was changed. The body says why.
    ReadOnly = 73,
    /// What is on disk failed its check; the body names file and offset. Nothing was changed.
    Damaged = 74,
    /// Whether the write happened, or will be there after a restart, is not known.
    OutcomeUnknown = 75,
    /// No common protocol version, or a hello out of place; the connection is closed.
    Handshake = 76,
    /// The node could not do it, and nothing of it is left; the text says why.
    Failed = 77,
}

/// What one operation of a batch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemResult<'a> {
    /// How it ended. Errors carry no text here.
    pub status: Status,
    /// As in [`Response`].
    pub version: u64,
    /// As in [`Response`].
    pub timestamp_ms: u64,
    /// The value read, or the old or current value where it was asked for.
    pub value: Option<&'a [u8]>,
}

/// One key of a scan page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanItem<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its value, if asked for.
    pub value: Option<&'a [u8]>,
    /// Its version.
    pub version: u64,
    /// When it was written, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// When it expires, in milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
}

/// What a successful (or conditionally failed, or not found) request answers beside its status.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// Nothing more.
    Empty,
    /// A value: what `get` read, the old value of a write that asked for it, the current one of a failed condition, `add_float`'s sum, a
    /// ping's payload.
    Value(&'a [u8]),
    /// A counter's new value.
    Counter(i64),
    /// A number: `append`'s and `overwrite`'s new length in bytes, `count`'s keys.
    Number(u64),
    /// Milliseconds left, or, answering [`Request::ExpiresAt`], milliseconds since 1970; `None` for a key that does not expire.
    Ttl(Option<u64>),
    /// One result per operation, in the order asked.
    Batch(Vec<ItemResult<'a>>),
    /// A page of keys and where to go on; [`Cursor::START`] when this was the last.
    Scan {
        /// Where the next page begins.
        cursor: Cursor,
        /// The keys.
        items: Vec<ScanItem<'a>>,
    },
    /// Keyspaces (`list`: all; `open` and `create`: one).
    Keyspaces(Vec<KeyspaceInfo>),
    /// JSON text.
    Status(&'a str),
    /// The handshake's answer.
    Hello(HelloReply),
    /// Why it failed, for a person to read; with every status from 64 up.
    Error(&'a str),
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Response<'a> {
    /// How the request ended.
    pub status: Status,
    /// The key's version after the request: of the value read or written, of the delete, or the current one where a
    /// condition failed. Only grows for a key, over deletes and restarts too. 0 where there is none to tell
    /// (a key that never was, or a request that is not about one key).
    pub version: u64,
    /// The wall-clock time at which that version was written, in milliseconds since 1970; 0 where there is none.
    pub timestamp_ms: u64,
    /// The rest.
    pub body: Body<'a>,
}
