//! What a command asks for, once its arguments are understood.
//!
//! An order borrows from the command's arguments; nothing is copied for the common ones.

use corduroy_proto_wire::Request;

use super::session::ClientText;
use super::shape::Shape;
use crate::types::KeyspaceId;

/// What one command asks for.
#[derive(Debug, PartialEq)]
pub enum Order<'a> {
    /// The reply is known: these bytes.
    Reply(Vec<u8>),
    /// One request on one key.
    One(Request<'a>, Shape),
    /// Independent requests on any keys, each with a reply of its own after an array's head: MGET.
    Array(Vec<(Request<'a>, Shape)>),
    /// Independent requests on any keys, of which the reply says how many succeeded (`Status::Ok`): DEL, UNLINK, EXISTS, TOUCH.
    Sum(Vec<Request<'a>>),
    /// Writes that take effect together, if the preconditions hold: MSET, MSETNX. One reply, in this shape: `Ok` if they took effect,
    /// `ConditionFailed` if not.
    Together {
        /// What must hold before.
        preconditions: Vec<Precondition<'a>>,
        /// The writes.
        requests: Vec<Request<'a>>,
        /// How the one reply looks.
        shape: Shape,
    },
    /// RENAME, RENAMENX, COPY.
    Move(Moving<'a>, Shape),
    /// SCAN.
    Scan(ScanOrder<'a>),
    /// KEYS: all keys that match the pattern (as in SCAN).
    Keys {
        /// A glob.
        pattern: &'a [u8],
    },
    /// RANDOMKEY.
    RandomKey,
    /// DBSIZE.
    DbSize,
    /// FLUSHDB (`all` false) or FLUSHALL.
    Flush {
        /// Of all keyspaces.
        all: bool,
    },
    /// INFO: the names of the sections asked for, in lower case; empty for the default ones.
    Info(Vec<String>),
    /// WAIT, WAITAOF: answered once all earlier writes of the connection are; then with these bytes.
    AfterEarlier(Vec<u8>),
    /// DEBUG SLEEP: the reply comes after so long; the core is not held up.
    Sleep {
        /// Nanoseconds.
        nanos: u64,
    },
    /// What changes or asks for the state of the connection.
    Session(SessionOrder<'a>),
}

/// What must hold of a key before writes take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precondition<'a> {
    /// The keyspace.
    pub keyspace: KeyspaceId,
    /// The key.
    pub key: &'a [u8],
    /// Its version; `None`: it must not exist.
    pub version: Option<u64>,
}

/// A value that gets another name, or a second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moving<'a> {
    /// Where it is.
    pub source: (KeyspaceId, &'a [u8]),
    /// Where it goes. If `database` names another one, its keyspace counts instead of this.
    pub destination: (KeyspaceId, &'a [u8]),
    /// COPY's DB, if it isn't the connection's own: the driver knows its keyspace.
    pub database: Option<u32>,
    /// Only if there is nothing.
    pub if_absent: bool,
    /// The source stays: a copy.
    pub keep_source: bool,
}

/// One page of SCAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanOrder<'a> {
    /// As the client gave it: 0, or what the page before answered.
    pub cursor: u64,
    /// A glob; `None` for all keys.
    pub pattern: Option<&'a [u8]>,
    /// How many keys to look at, about.
    pub count: u64,
    /// False if TYPE names a type that no key here has: the page is empty.
    pub strings: bool,
}

/// What concerns the connection itself.
#[derive(Debug, PartialEq)]
pub enum SessionOrder<'a> {
    /// QUIT.
    Quit,
    /// RESET.
    Reset,
    /// SELECT: the keyspace of this number.
    Select(u32),
    /// HELLO with its version, if it gave one, and SETNAME's name.
    Hello {
        /// 2 or 3.
        protocol: Option<super::Protocol>,
        /// The connection's name.
        name: Option<&'a [u8]>,
    },
    /// MULTI.
    Multi,
    /// EXEC.
    Exec,
    /// DISCARD.
    Discard,
    /// WATCH with its keys.
    Watch(Vec<&'a [u8]>),
    /// UNWATCH.
    Unwatch,
    /// CLIENT SETNAME and SETINFO: a text that [`check_text`](super::session::check_text) allows.
    SetText(ClientText, &'a [u8]),
    /// CLIENT GETNAME.
    GetName,
    /// CLIENT ID.
    ClientId,
    /// CLIENT INFO.
    ClientInfo,
    /// READONLY (true), READWRITE.
    ReadOnly(bool),
    /// CLIENT LIST, of these ids alone if they are given.
    ClientList(Option<Vec<u64>>),
    /// CLIENT KILL.
    ClientKill(KillFilter),
    /// CLIENT REPLY: [`Session::set_reply_mode`](super::session::Session::set_reply_mode) says whether `+OK` is sent.
    ReplyMode(ReplyMode),
    /// CLUSTER commands whose answers tell of the node: see `cluster`.
    Cluster(ClusterOrder),
    /// SLOWLOG GET with its count (-1: all).
    SlowlogGet(i64),
    /// SLOWLOG LEN.
    SlowlogLen,
    /// SLOWLOG RESET.
    SlowlogReset,
    /// CONFIG GET with its patterns.
    ConfigGet(Vec<&'a [u8]>),
    /// CONFIG SET with its pairs.
    ConfigSet(Vec<(&'a [u8], &'a [u8])>),
    /// CONFIG RESETSTAT.
    ConfigResetStat,
}

/// Whom CLIENT KILL means: those to whom all that is given applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KillFilter {
    /// The form with an address alone: the reply is `+OK` or an error, else a number.
    pub old_form: bool,
    /// By id.
    pub id: Option<u64>,
    /// By the client's address, `host:port`.
    pub address: Option<String>,
    /// By the address that the client connected to.
    pub local_address: Option<String>,
    /// `normal`, or another class that nobody here belongs to.
    pub nobody: bool,
    /// Leave out the connection that asks.
    pub skip_me: bool,
}

/// Which replies a connection gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// Not the next one.
    Skip,
}

/// CLUSTER's subcommands that need to know the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterOrder {
    /// `CLUSTER SLOTS`.
    Slots,
    /// `CLUSTER SHARDS`.
    Shards,
    /// `CLUSTER NODES`.
    Nodes,
    /// `CLUSTER MYID`.
    MyId,
    /// `CLUSTER INFO`.
    Info,
}
