//! Who asked, and what goes back to them.

use bytes::Bytes;
use corduroy_proto_wire::{RequestId, Response};

use super::hold::{Held, Hold, HoldId};
use super::scan::{ScanPage, ScanStep};
use super::statistics::ShardStatus;
use crate::ports::ConnectionId;
use crate::types::{KeyspaceId, ShardId};

/// A multi-part request in progress on the shard that received it: slot and generation, as with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GatherId {
    /// Index into the shard's table of gathers.
    pub slot: u32,
    /// Grows with every use of the slot.
    pub generation: u32,
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Straight to the client, as the answer to this request of its connection.
    Client(RequestId),
    /// To one part of a gather.
    Gather(GatherId, u32),
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The shard whose connection it came in on.
    pub shard: ShardId,
    /// That connection. Requests of one connection on one key take effect, and are seen, in order.
    pub client: ConnectionId,
    /// Where the answer goes.
    pub target: Target,
    /// It is a get: nothing depends on its answer arriving, so it may be refused late if there is no room for that.
    pub get: bool,
}

impl Origin {
    /// The number under which a frame about it travels: the client's, or 0 where a gather's part says where it belongs.
    #[must_use]
    #[inline]
    pub fn request(&self) -> RequestId {
        match self.target {
            Target::Client(request) => request,
            Target::Gather(..) => 0,
        }
    }

    /// Whether two requests came over the same connection.
    #[must_use]
    #[inline]
    pub fn same_client(&self, other: &Origin) -> bool {
        self.client == other.client && self.shard == other.shard
    }
}

/// What one shard asks of another (or of itself) to answer a request that concerns all of them.
#[derive(Clone, Debug, PartialEq)]
pub enum ShardCommand {
    /// How many keys of a keyspace are here.
    Count {
        /// The keyspace.
        keyspace: KeyspaceId,
    },
    /// Drop all keys of a keyspace that are here; answered once that is durable.
    Flush {
        /// The keyspace.
        keyspace: KeyspaceId,
    },
    /// One step of a scan, inside one partition.
    Scan(ScanStep),
    /// A keyspace exists from now on.
    Install {
        /// Its number.
        keyspace: KeyspaceId,
        /// Its partitions.
        partitions: u16,
        /// Its name.
        name: String,
    },
    /// A keyspace is gone; its tables are freed in slices.
    Remove {
        /// Its number.
        keyspace: KeyspaceId,
    },
    /// The shard's figures.
    Status,
    /// Compact all that is worth it, now; answered when that is done.
    Compact,
    /// Keys are to be held: a part of a transaction over several shards.
    Hold(Hold),
    /// That part is to be carried out: a unit's frame without its length field. The requests in it are answered, and the unit itself, as a client's.
    Run(HoldId, Bytes),
    /// The keys are to be let go of. Not answered.
    Release(HoldId),
}

/// The answer to a [`ShardCommand`].
#[derive(Debug)]
pub enum ShardReply {
    /// To `Count`.
    Count(u64),
    /// To `Flush`, `Install`, `Remove` and `Compact`.
    Done,
    /// To `Scan`.
    Scan(ScanPage),
    /// To `Status`.
    Status(Box<ShardStatus>),
    /// To `Hold`.
    Held(Held),
    /// The command could not be carried out.
    Failed(corduroy_proto_wire::Status, String),
}

/// Takes the shard's answers. The driver implements it: a local connection's output, or the outbox to another shard.
pub trait Replies {
    /// The answer to a client's request.
    fn reply(&mut self, origin: Origin, response: &Response<'_>);

    /// As [`Replies::reply`], where the answer's body is a large value: `value`, which must not be copied.
    fn reply_large(&mut self, origin: Origin, response: &Response<'_>, value: Bytes);

    /// The answer to a [`ShardCommand`].
    fn internal(&mut self, origin: Origin, reply: ShardReply);
}
