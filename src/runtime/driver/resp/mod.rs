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
//! | `execute` | EXEC: what of it is a unit, and what is carried out before and behind that |
//! | `across` | the same over several shards |
//! | `rounds` | SCAN, KEYS, RANDOMKEY, FLUSHALL, INFO, SELECT, WATCH: what takes several rounds |
//! | `session` | what concerns the connection: HELLO, MULTI |
//! | `accounts` | what is counted of commands, and which are slow |
//! | `admin` | what concerns the node: CLIENT LIST, SLOWLOG, INFO, CONFIG, CLUSTER |
//!
//! # Order
//!
//! Requests on one key take effect in the order in which a connection sent them, for they all go the same way. Requests on different keys
//! need no order among them as long as nobody can tell; a command that could (it looks at a whole keyspace, or changes the connection) is a **barrier**: it is
//! carried out when every earlier command has its reply, and those that go through several rounds keep later ones waiting too.

mod accounts;
mod across;
mod admin;
mod dispatch;
mod execute;
mod input;
mod queue;
mod rounds;
mod session;
mod unit;

use bytes::Bytes;
use corduroy_proto_wire::{RequestId, Response, Status};

pub(super) use accounts::Accounts;
pub(super) use across::Across;
pub use admin::NodeFacts;
pub(super) use admin::{NodeAsk, NodeTold};
pub(super) use queue::{ReplyQueue, Tag};

use super::connection::{LargeInput, Output};
use super::gather::Gathering;
use crate::gateway::resp::Protocol;
use crate::gateway::resp::parse::Parser;
use crate::gateway::resp::session::{Session, Settings};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::Whereabouts;
use crate::types::{KeyspaceId, MonoNanos};

/// What a RESP connection has beside what every connection has.
#[derive(Debug, Default)]
pub(super) struct Resp {
    /// Commands without a reply, in order.
    pub(super) queue: ReplyQueue,
    /// Those of them that are to be counted when they are answered.
    unsettled: accounts::Unsettled,
    /// In which its replies are written.
    pub(super) protocol: Protocol,
    /// The next command waits until every earlier one has its reply.
    pub(super) waits_for_replies: bool,
    /// What a gather of the command in hand has brought, or why it failed.
    pub(super) collected: Option<Result<Gathering, (Status, String)>>,
    /// CLIENT KILL of itself: it is closed when the reply is sent.
    ends: bool,
    /// The next command waits until then.
    pub(super) sleeps_until: Option<MonoNanos>,
    /// What the command in hand replies is not the client's yet: it is one of an EXEC.
    captured: Option<Vec<u8>>,
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
    ahead: Ahead,
    /// A command of many parts, as far as it is carried out.
    parts: Option<Parts>,
    /// The command in hand is an EXEC that takes several rounds.
    executing: Option<Box<execute::Executing>>,
    /// Of the command in hand, if an earlier round of it has asked for it.
    tag: Option<Tag>,
    /// And when it was carried out first.
    began: Option<MonoNanos>,
    /// What the slow log would show of the EXEC in hand.
    kept: Option<Vec<Vec<u8>>>,
}

/// How far a command is that takes several rounds. After each round it is looked at again, from its arguments.
#[derive(Debug, Default)]
enum Step {
    /// Nothing was done for it.
    #[default]
    Begin,
    /// What it asked for is on its way, or has come.
    Asked,
    /// SELECT: every shard is asked for this keyspace.
    Looked(KeyspaceId),
    /// KEYS: what was found so far.
    Keys(Found),
    /// FLUSHALL: the keyspaces that are left.
    Flush(Vec<KeyspaceId>),
    /// INFO: what the drivers have told; the shards are asked.
    Info(NodeTold),
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

/// Where the keys of the next commands live, as far as they could be told by looking ahead.
#[derive(Debug, Default)]
struct Ahead {
    /// Each key's place in the input: its address.
    keys: [usize; limits::LOOK_AHEAD_FRAMES],
    places: [Option<Whereabouts>; limits::LOOK_AHEAD_FRAMES],
    /// In which they were looked for.
    keyspace: u32,
    found: usize,
    used: usize,
    /// Commands for which looking ahead again is not worth it, because the last look found nothing.
    pause: usize,
}

impl Ahead {
    /// Whether it is time to look ahead again; called once for each command.
    #[inline]
    fn is_used_up(&mut self) -> bool {
        self.pause = self.pause.saturating_sub(1);
        self.used >= self.found && self.pause == 0
    }

    /// Addresses mean nothing any more: the input goes.
    #[inline]
    fn forget(&mut self) {
        (self.found, self.used, self.pause) = (0, 0, 0);
    }

    /// Where this key lives, if it was looked for.
    #[inline]
    fn take(&mut self, key: &[u8]) -> Option<Whereabouts> {
        let address = key.as_ptr().addr();
        while self.used < self.found {
            let at = self.used;
            if self.keys[at] > address {
                return None;
            }
            self.used += 1;
            if self.keys[at] == address {
                return self.places[at].take();
            }
        }
        None
    }
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
    /// The call that is to be counted at its end, and what the slow log would show of it.
    called: Option<(accounts::Called, Vec<Vec<u8>>)>,
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
            ahead: Ahead::default(),
            parts: None,
            executing: None,
            tag: None,
            began: None,
            kept: None,
        };
        Resp {
            front: Some(Box::new(front)),
            ..Resp::default()
        }
    }

    /// The keyspace that its next command is about, unless that says otherwise.
    pub(super) fn keyspace(&self) -> Option<KeyspaceId> {
        Some(self.front.as_ref()?.session.keyspace())
    }

    /// Whether the next command may be carried out as far as the earlier ones are concerned.
    /// `in_flight` requests have no answer.
    #[inline]
    pub(super) fn may_go_on(&self, now: MonoNanos, in_flight: usize) -> bool {
        let is_answered = || self.queue.is_empty() || (self.queue.has_open() && in_flight == 0);
        (!self.waits_for_replies || is_answered())
            && self.sleeps_until.is_none_or(|until| until <= now)
    }

    /// Takes the answer to a request. Says how many requests are answered with it. `value` is given if it ends with a value that is not copied.
    #[inline]
    pub(super) fn answer(
        &mut self,
        client: ConnectionId,
        request: RequestId,
        response: &Response<'_>,
        value: Option<Bytes>,
        out: &mut Output,
        accounts: &mut Accounts,
    ) -> usize {
        if response.status != Status::Ok && self.queue.is_refusal(request, response.status) {
            match self.unsettled.find(request) {
                Some((row, true)) => accounts.failed(row),
                // A command of an EXEC.
                Some((_, false)) => {}
                None => accounts.fails(),
            }
        }
        let answered = self
            .queue
            .answer(request, response, value, self.protocol, out);
        if !self.unsettled.is_empty() && !self.queue.waits_at(request) {
            self.unsettled
                .answered(request, self.queue.front(), client, accounts);
        }
        answered
    }

    /// Whether a command with many keys is worked off in slices.
    pub(super) fn has_parts(&self) -> bool {
        self.front
            .as_ref()
            .is_some_and(|front| front.parts.is_some())
    }
}
