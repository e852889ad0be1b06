//! What a connection of a Redis client remembers between commands: protocol, database, name, transaction, watched keys.
//!
//! # Families of calls
//!
//! The driver makes a [`Session`] when a connection turns out to speak RESP, and calls for each command, in this order:
//!
//! 1. [`Session::takes_reply`], once: whether the client wants this command's reply (CLIENT REPLY).
//! 2. [`commands::next`](super::commands::next), which queues the command in an open transaction or says what it asks for.
//! 3. For a [`SessionOrder`](super::SessionOrder), the method that carries it out: [`Session::begin`] (MULTI), [`Session::discard`], [`Session::execute`] (EXEC),
//!    [`Session::watch`] once the versions are known, [`Session::unwatch`], [`Session::select`], [`Session::set_protocol`],
//!    [`Session::set_text`], [`Session::set_reply_mode`], [`Session::set_read_only`], [`Session::reset`].
//!
//! EXEC hands out a [`Transaction`]: the driver asks [`commands::order`](super::commands::order) for each of its commands in turn, with the session as it is by
//! then (a SELECT among them counts for those after it), and what was watched becomes the preconditions.
//!
//! # Invariants
//!
//! - Everything here is bounded, whatever a client sends: names by [`limits::CLIENT_TEXT_LEN_MAX`], a transaction by
//!   [`limits::ATOMIC_LEN_MAX`] commands and [`limits::TRANSACTION_BYTES_MAX`], watched keys by [`limits::WATCHED_KEYS_MAX`] and [`limits::WATCHED_BYTES_MAX`].
//! - Keys are watched only outside a transaction, and EXEC, DISCARD and RESET forget them, whatever came of the transaction.

use super::commands::table::Row;
use super::commands::{CommandError, Fixed};
use super::order::{Precondition, ReplyMode};
use super::reply::Protocol;
use crate::limits;
use crate::types::KeyspaceId;

/// What a node's settings mean for its RESP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// SELECT and COPY take numbers below this.
    pub databases: u32,
    /// Whether an acknowledged write is on disk: WAITAOF says so.
    pub sync_always: bool,
    /// Whether DEBUG is allowed.
    pub debug: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            databases: 16,
            sync_always: true,
            debug: false,
        }
    }
}

/// One connection's memory.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    protocol: Protocol,
    database: u32,
    keyspace: KeyspaceId,
    name: Box<[u8]>,
    library_name: Box<[u8]>,
    library_version: Box<[u8]>,
    replies: ReplyMode,
    read_only: bool,
    /// Between MULTI and EXEC.
    queue: Option<Box<Queue>>,
    watched: Vec<Watched>,
    watched_bytes: usize,
    /// Its last command.
    command: Option<Row>,
}

/// The commands of an open transaction.
#[derive(Debug, Default)]
struct Queue {
    commands: QueuedCommands,
    /// A command was refused when it was to be queued: EXEC will refuse all.
    aborted: bool,
}

/// Commands one after the other: for each the number of its arguments, and for each of those its length and bytes.
#[derive(Debug, Default)]
pub struct QueuedCommands {
    bytes: Vec<u8>,
    count: usize,
}

/// A key under watch.
#[derive(Debug, PartialEq, Eq)]
struct Watched {
    keyspace: KeyspaceId,
    key: Box<[u8]>,
    version: Option<u64>,
}

/// What EXEC is to carry out, and what must hold for it.
#[derive(Debug, Default)]
pub struct Transaction {
    commands: QueuedCommands,
    watched: Vec<Watched>,
}

/// Which of CLIENT SETINFO's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientText {
    /// CLIENT SETNAME's, HELLO SETNAME's.
    Name,
    /// `lib-name`.
    LibraryName,
    /// `lib-ver`.
    LibraryVersion,
}

impl Session {
    /// A connection that has said nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Session {
        Session {
            settings,
            protocol: Protocol::Resp2,
            database: 0,
            keyspace: KeyspaceId::DEFAULT,
            name: Box::default(),
            library_name: Box::default(),
            library_version: Box::default(),
            replies: ReplyMode::On,
            read_only: false,
            queue: None,
            watched: Vec::new(),
            watched_bytes: 0,
            command: None,
        }
    }

    /// A command has come: this one, if there is such a one.
    #[inline]
    pub fn set_command(&mut self, command: Option<Row>) {
        self.command = command;
    }

    /// Its last command, subcommands by themselves.
    #[inline]
    #[must_use]
    pub fn command(&self) -> Option<Row> {
        self.command
    }

    /// Whether the client wants the reply of the command that comes now. To be asked once for each command.
    #[inline]
    pub fn takes_reply(&mut self) -> bool {
        match self.replies {
            ReplyMode::On => true,
            ReplyMode::Off => false,
            ReplyMode::Skip => {
                self.replies = ReplyMode::On;
                false
            }
        }
    }

    /// CLIENT REPLY. True if its own `+OK` is wanted, whatever [`Session::takes_reply`] said before.
    pub fn set_reply_mode(&mut self, mode: ReplyMode) -> bool {
        match mode {
            ReplyMode::On | ReplyMode::Off => self.replies = mode,
            ReplyMode::Skip if self.replies == ReplyMode::Off => {}
            ReplyMode::Skip => self.replies = mode,
        }
        mode == ReplyMode::On
    }

    /// HELLO 2 or 3.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// SELECT of a database whose keyspace is this.
    pub fn select(&mut self, database: u32, keyspace: KeyspaceId) {
        assert!(database < self.settings.databases);
        self.database = database;
        self.keyspace = keyspace;
    }

    /// CLIENT SETNAME or SETINFO of a text that [`check_text`] allows. An empty one takes it away.
    pub fn set_text(&mut self, which: ClientText, text: &[u8]) {
        assert!(text.len() <= limits::CLIENT_TEXT_LEN_MAX);
        let place = match which {
            ClientText::Name => &mut self.name,
            ClientText::LibraryName => &mut self.library_name,
            ClientText::LibraryVersion => &mut self.library_version,
        };
        *place = text.into();
    }

    /// READONLY (true) and READWRITE.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.read_only = read_only;
    }

    /// RESET: as a new connection, but for the library's name and version, which tell who is at the other end.
    pub fn reset(&mut self) {
        let library_name = std::mem::take(&mut self.library_name);
        let library_version = std::mem::take(&mut self.library_version);
        *self = Session {
            library_name,
            library_version,
            command: self.command,
            ..Session::new(self.settings)
        };
    }

    /// MULTI.
    pub fn begin(&mut self) {
        assert!(self.queue.is_none(), "MULTI in MULTI is refused before");
        self.queue = Some(Box::default());
    }

    /// Keeps a command for EXEC. Where there is no room for it, EXEC will refuse all.
    pub fn enqueue(&mut self, arguments: &[&[u8]]) -> Result<(), CommandError> {
        let queue = self.queue.as_mut().expect("a transaction is open");
        if queue.commands.push(arguments) {
            return Ok(());
        }
        queue.abort();
        Err(Fixed::TransactionTooLarge.into())
    }

    /// A command could not be queued: EXEC will refuse all. Nothing outside a transaction.
    pub fn abort(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.abort();
        }
    }

    /// DISCARD.
    pub fn discard(&mut self) {
        self.queue = None;
        self.unwatch();
    }

    /// EXEC: what to carry out. The transaction is closed and nothing is watched any more, whatever comes of it.
    pub fn execute(&mut self) -> Result<Transaction, CommandError> {
        let queue = self.queue.take();
        let watched = std::mem::take(&mut self.watched);
        self.watched_bytes = 0;
        match queue {
            None => Err(Fixed::ExecWithoutMulti.into()),
            Some(queue) if queue.aborted => Err(Fixed::ExecAborted.into()),
            Some(queue) => Ok(Transaction {
                commands: queue.commands,
                watched,
            }),
        }
    }

    /// Whether so many keys, of so many bytes together, may be watched beside those that are. To be asked before their versions are.
    #[must_use]
    pub fn may_watch(&self, keys: usize, bytes: usize) -> bool {
        self.watched.len() + keys <= limits::WATCHED_KEYS_MAX
            && self.watched_bytes + bytes <= limits::WATCHED_BYTES_MAX
    }

    /// Watches a key that has this version, `None` if it is not there. The first version of a key counts.
    ///
    /// False if there is no room for it, which [`Session::may_watch`] tells before: the client must be told then that the key is not
    /// watched.
    #[must_use]
    pub fn watch(&mut self, keyspace: KeyspaceId, key: &[u8], version: Option<u64>) -> bool {
        let same = |watched: &Watched| watched.keyspace == keyspace && *watched.key == *key;
        if self.watched.iter().any(same) {
            return true;
        }
        if !self.may_watch(1, key.len()) {
            return false;
        }
        self.watched_bytes += key.len();
        self.watched.push(Watched {
            keyspace,
            key: key.into(),
            version,
        });
        true
    }

    /// UNWATCH.
    pub fn unwatch(&mut self) {
        self.watched = Vec::new();
        self.watched_bytes = 0;
    }

    /// Which RESP it speaks.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The number that it selected.
    #[must_use]
    pub fn database(&self) -> u32 {
        self.database
    }

    /// The keyspace of its commands.
    #[inline]
    #[must_use]
    pub fn keyspace(&self) -> KeyspaceId {
        self.keyspace
    }

    /// One of its texts; empty if it gave none.
    #[must_use]
    pub fn text(&self, which: ClientText) -> &[u8] {
        match which {
            ClientText::Name => &self.name,
            ClientText::LibraryName => &self.library_name,
            ClientText::LibraryVersion => &self.library_version,
        }
    }

    /// The commands queued since MULTI; `None` outside a transaction.
    #[must_use]
    pub fn queued(&self) -> Option<usize> {
        self.queue.as_ref().map(|queue| queue.commands.count)
    }

    /// Between MULTI and EXEC.
    #[inline]
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.queue.is_some()
    }

    /// How many keys it watches.
    #[must_use]
    pub fn watched_count(&self) -> usize {
        self.watched.len()
    }

    /// Whether it said READONLY.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// What the node's settings mean for it.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Memory that the transaction and the watched keys take, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let queue = self.queue.as_ref();
        queue.map_or(0, |queue| queue.commands.bytes.capacity()) + self.watched_bytes
    }
}

impl Queue {
    fn abort(&mut self) {
        self.aborted = true;
        // Nothing of it will be carried out.
        self.commands = QueuedCommands::default();
    }
}

impl QueuedCommands {
    /// False, and nothing is kept, if there is no room.
    fn push(&mut self, arguments: &[&[u8]]) -> bool {
        let len: usize = arguments
            .iter()
            .map(|argument| LENGTH_LEN + argument.len())
            .sum();
        if self.count == limits::ATOMIC_LEN_MAX
            || self.bytes.len() + LENGTH_LEN + len > limits::TRANSACTION_BYTES_MAX
        {
            return false;
        }
        let push_len = |bytes: &mut Vec<u8>, len: usize| {
            bytes.extend_from_slice(&(len as u32).to_le_bytes());
        };
        push_len(&mut self.bytes, arguments.len());
        for argument in arguments {
            push_len(&mut self.bytes, argument.len());
            self.bytes.extend_from_slice(argument);
        }
        self.count += 1;
        true
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The arguments of each, in the order in which they were queued.
    pub fn iter(&self) -> impl Iterator<Item = Vec<&[u8]>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let count = take_length(&mut rest)?;
            Some(
                (0..count)
                    .map(|_| {
                        let len =
                            take_length(&mut rest).expect("an argument's length stands there");
                        let (argument, behind) = rest.split_at(len);
                        rest = behind;
                        argument
                    })
                    .collect(),
            )
        })
    }
}

/// Bytes of a length in [`QueuedCommands`].
const LENGTH_LEN: usize = size_of::<u32>();

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let (length, behind) = rest.split_first_chunk::<LENGTH_LEN>()?;
    *rest = behind;
    Some(u32::from_le_bytes(*length) as usize)
}

impl Transaction {
    /// Its commands.
    #[must_use]
    pub fn commands(&self) -> &QueuedCommands {
        &self.commands
    }

    /// What must hold: each watched key still has the version that it had.
    pub fn preconditions(&self) -> impl Iterator<Item = Precondition<'_>> {
        self.watched.iter().map(|watched| Precondition {
            keyspace: watched.keyspace,
            key: &watched.key,
            version: watched.version,
        })
    }
}

/// Whether a text may stand in a line of CLIENT LIST: no blanks, no control characters, nothing beyond ASCII.
pub fn check_text(which: ClientText, text: &[u8]) -> Result<(), CommandError> {
    if text.len() > limits::CLIENT_TEXT_LEN_MAX {
        return Err(Fixed::ClientTextTooLong.into());
    }
    if text.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(());
    }
    Err(match which {
        ClientText::Name => Fixed::ClientName,
        ClientText::LibraryName => Fixed::LibraryName,
        ClientText::LibraryVersion => Fixed::LibraryVersion,
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(Settings::default())
    }

    /// A client that pipes commands into a MULTI without end would fill the node's memory.
    #[test]
    fn a_transaction_is_bounded_in_commands_and_in_bytes_and_what_was_queued_is_let_go() {
        let mut session = session();
        session.begin();
        for _ in 0..limits::ATOMIC_LEN_MAX {
            session.enqueue(&[b"GET", b"a"]).unwrap();
        }
        assert_eq!(
            session.enqueue(&[b"GET", b"a"]),
            Err(Fixed::TransactionTooLarge.into())
        );
        assert_eq!(session.held_bytes(), 0);
        assert_eq!(session.execute().unwrap_err(), Fixed::ExecAborted.into());

        session.begin();
        let value = vec![0; limits::TRANSACTION_BYTES_MAX / 2];
        session.enqueue(&[b"SET", b"a", &value]).unwrap();
        assert!(session.enqueue(&[b"SET", b"a", &value]).is_err());
        // Not even a short one may follow: it would be carried out without the long one.
        session.enqueue(&[b"GET", b"a"]).unwrap();
        assert_eq!(session.execute().unwrap_err(), Fixed::ExecAborted.into());
        assert!(!session.in_transaction());
    }

    /// A command that comes out of the queue with its arguments shifted writes the wrong key.
    #[test]
    fn commands_come_out_of_the_queue_as_they_went_in() {
        let commands: [&[&[u8]]; 4] = [
            &[b"PING"],
            &[b"SET", b"", b"\0\xff\r\n"],
            &[b"MSET", b"a", b"b", b"", b"", b"c", b"d"],
            &[b""],
        ];
        let mut session = session();
        session.begin();
        for command in commands {
            session.enqueue(command).unwrap();
        }
        assert_eq!(session.queued(), Some(4));
        let transaction = session.execute().unwrap();
        let out: Vec<Vec<&[u8]>> = transaction.commands().iter().collect();
        assert_eq!(out, commands);
    }

    /// Watching a key twice must not forget a change between the two: the first version is what the client decided by.
    #[test]
    fn the_first_version_of_a_watched_key_counts_and_exec_forgets_it() {
        let mut session = session();
        let key = b"a".as_slice();
        assert!(session.watch(KeyspaceId(1), key, Some(5)));
        assert!(session.watch(KeyspaceId(1), key, Some(6)));
        assert!(session.watch(KeyspaceId(2), key, None));
        session.begin();
        let transaction = session.execute().unwrap();
        let watched: Vec<_> = transaction.preconditions().collect();
        assert_eq!(
            watched,
            [
                Precondition {
                    keyspace: KeyspaceId(1),
                    key,
                    version: Some(5)
                },
                Precondition {
                    keyspace: KeyspaceId(2),
                    key,
                    version: None
                }
            ]
        );
        session.begin();
        assert_eq!(session.execute().unwrap().preconditions().count(), 0);
    }

    /// A client that watches every key it sees would fill the node's memory.
    #[test]
    fn watched_keys_are_bounded_in_number_and_in_bytes() {
        let mut session = session();
        for number in 0..limits::WATCHED_KEYS_MAX {
            assert!(session.watch(KeyspaceId(1), &number.to_le_bytes(), None));
        }
        assert!(!session.may_watch(1, 1));
        assert!(!session.watch(KeyspaceId(1), b"one more", None));
        session.unwatch();
        let long = vec![0; limits::KEY_LEN_MAX];
        let mut count = 0;
        while session.watch(KeyspaceId(count), &long, None) {
            count += 1;
        }
        assert!(session.held_bytes() <= limits::WATCHED_BYTES_MAX);
        session.discard();
        assert!(session.may_watch(1, 1));
    }

    /// A reply too many or too few shifts every later reply of the connection to the wrong command.
    #[test]
    fn skipped_replies_are_counted_exactly() {
        let mut session = session();
        assert!(session.takes_reply());
        assert!(!session.set_reply_mode(ReplyMode::Skip));
        assert!(!session.takes_reply());
        assert!(session.takes_reply());

        session.takes_reply();
        assert!(!session.set_reply_mode(ReplyMode::Off));
        assert!(!session.takes_reply());
        // SKIP while OFF changes nothing: replies stay off.
        assert!(!session.set_reply_mode(ReplyMode::Skip));
        assert!(!session.takes_reply());
        assert!(!session.takes_reply());
        assert!(session.set_reply_mode(ReplyMode::On));
        assert!(session.takes_reply());
    }

    /// A pooled connection that is reset and keeps the last user's database or transaction writes into the wrong place.
    #[test]
    fn reset_leaves_nothing_but_who_the_library_is() {
        let mut session = session();
        session.set_protocol(Protocol::Resp3);
        session.select(3, KeyspaceId(9));
        session.set_text(ClientText::Name, b"worker");
        session.set_text(ClientText::LibraryName, b"redis-py");
        session.set_reply_mode(ReplyMode::Off);
        session.set_read_only(true);
        assert!(session.watch(KeyspaceId(9), b"a", None));
        session.begin();
        session.reset();
        assert_eq!(session.protocol(), Protocol::Resp2);
        assert_eq!(
            (session.database(), session.keyspace()),
            (0, KeyspaceId::DEFAULT)
        );
        assert_eq!(session.text(ClientText::Name), b"");
        assert_eq!(session.text(ClientText::LibraryName), b"redis-py");
        assert!(session.takes_reply());
        assert!(!session.in_transaction() && !session.read_only());
        assert_eq!(session.watched_count(), 0);
    }

    /// A name with a line break in it forges a line of CLIENT LIST.
    #[test]
    fn texts_of_clients_stay_in_their_line() {
        assert!(check_text(ClientText::Name, b"worker-1:a").is_ok());
        assert!(check_text(ClientText::Name, b"").is_ok());
        for text in [b"a b".as_slice(), b"a\nb", b"a\0", b"\xc3\xa4", b"\x7f"] {
            assert!(check_text(ClientText::Name, text).is_err(), "{text:?}");
        }
        assert!(check_text(ClientText::Name, &[b'x'; limits::CLIENT_TEXT_LEN_MAX + 1]).is_err());
    }
}
