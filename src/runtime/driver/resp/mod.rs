//! Redis clients: the driver's part of the RESP front door.
//!
//! The gateway says what a command asks for; here it is sent to the shards that have its keys, and the replies are put back into the
//! order of the commands.
//!
//! | file | |
//! |---|---|
//! | `input` | from bytes to commands, as far as there is room |
//! | `dispatch` | from a command to requests, and what of it can be answered here |
//! | `queue` | from answers to replies, in order |
//! | `unit` | EXEC, MSET, RENAME: what takes effect together |
//! | `across` | the same over several shards |
//! | `rounds` | SCAN, KEYS, RANDOMKEY, FLUSHALL, INFO, SELECT, WATCH: what takes several rounds |
//! | `session` | what concerns the connection: HELLO, MULTI, CLIENT, CLUSTER |
//!
//! # Order
//!
//! Requests on one key take effect in the order in which a connection sent them, for they all go the same way. Requests on different keys
//! need no order among them as long as nobody can tell; a command that could (it looks at a whole keyspace, or changes the connection) is a **barrier**: it is
//! carried out when every earlier command has its reply, and those that go through several rounds keep later ones waiting too.

mod across;
mod dispatch;
mod input;
mod queue;
mod rounds;
mod session;
mod unit;

use bytes::Bytes;
use corduroy_proto_wire::Status;

pub(super) use across::Across;
pub(super) use queue::{ReplyQueue, Tag};

use super::connection::LargeInput;
use super::gather::Gathering;
use crate::gateway::resp::Protocol;
use crate::gateway::resp::parse::Parser;
use crate::gateway::resp::session::{Session, Settings};
use crate::types::{KeyspaceId, MonoNanos};

/// What a RESP connection has beside what every connection has.
#[derive(Debug, Default)]
pub(super) struct Resp {
    /// Commands without a reply, in order.
    pub(super) queue: ReplyQueue,
    /// In which its replies are written.
    pub(super) protocol: Protocol,
    /// The next command waits until every earlier one has its reply.
    pub(super) waits_for_replies: bool,
    /// What a gather of the command in hand has brought, or why it failed.
    pub(super) collected: Option<Result<Gathering, (Status, String)>>,
    /// The next command waits until then.
    pub(super) sleeps_until: Option<MonoNanos>,
    /// How far the command at the front of the input is understood. Away while commands are carried out.
    front: Option<Box<Front>>,
}

/// The side of a connection that commands come in on.
#[derive(Debug)]
pub(super) struct Front {
    parser: Parser,
    session: Session,
    /// The command at the front of the input is whole, and has so many bytes: it could not be carried out at once.
    whole: Option<usize>,
    /// How far that one is.
    step: Step,
    /// Large arguments of the command that is coming in.
    larges: Vec<LargeInput>,
    /// Where in the command's bytes the next large argument begins.
    large_at: usize,
    /// The command in hand puts a large value, which is to be sent once nothing borrows it.
    large_put: Option<LargePut>,
    /// One of its arguments is a large one.
    has_large: bool,
    /// RANDOMKEY's place.
    random: u64,
    /// A command of many parts, as far as it is carried out.
    parts: Option<Parts>,
}

/// How far a command is that takes several rounds. After each round it is looked at again, from its arguments.
#[derive(Debug, Default)]
enum Step {
    /// Nothing was done for it.
    #[default]
    Begin,
    /// What it asked for is on its way, or has come.
    Asked,
    /// KEYS: what was found so far.
    Keys(Found),
    /// FLUSHALL: the keyspaces that are left.
    Flush(Vec<KeyspaceId>),
    /// RANDOMKEY: partitions that were tried.
    Random(u32),
}

/// Keys that KEYS found.
#[derive(Debug, Default)]
struct Found {
    /// Their replies, one after the other.
    bytes: Vec<u8>,
    count: usize,
}

/// A put whose value is one of the command's large arguments.
#[derive(Debug)]
struct LargePut {
    /// Its frame up to the value.
    head: Vec<u8>,
    /// Where the value is in memory.
    value: usize,
}

/// A command with more keys than one turn works off.
#[derive(Debug)]
struct Parts {
    /// The command's bytes, and where in them its keys are.
    bytes: Bytes,
    keys: Vec<(u32, u32)>,
    next: usize,
    ask: Ask,
    keyspace: KeyspaceId,
    /// The slot of all, if they have one together.
    slot: Option<u32>,
    tag: Tag,
}

/// What is asked of each of many keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Get,
    Exists,
    Delete,
}

impl Resp {
    /// A new connection's.
    pub(super) fn new(settings: Settings) -> Resp {
        let front = Front {
            parser: Parser::default(),
            session: Session::new(settings),
            whole: None,
            step: Step::Begin,
            larges: Vec::new(),
            large_at: 0,
            large_put: None,
            has_large: false,
            random: 0,
            parts: None,
        };
        Resp {
            front: Some(Box::new(front)),
            ..Resp::default()
        }
    }

    /// Whether the next command may be carried out as far as the earlier ones are concerned.
    #[inline]
    pub(super) fn may_go_on(&self, now: MonoNanos) -> bool {
        (!self.waits_for_replies || self.queue.is_empty())
            && self.sleeps_until.is_none_or(|until| until <= now)
    }

    /// Whether a command with many keys is worked off in slices.
    pub(super) fn has_parts(&self) -> bool {
        self.front
            .as_ref()
            .is_some_and(|front| front.parts.is_some())
    }
}
