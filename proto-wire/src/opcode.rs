//! What a request is, as the number in its header. The numbers are part of the protocol: they are never changed and
//! never used again.
//!
//! The high half of the byte groups them: 0x0_ is about the connection and the node, 0x1_ about one key, 0x2_ about
//! many keys, 0x3_ about keyspaces, 0x4_ what shards of a node ask of each other and no client may. So "can this be routed by its key" is one mask and one comparison, and stays true
//! of opcodes yet to come.

/// The number of a request's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// [`crate::Request::Hello`]
    Hello = 0x01,
    /// [`crate::Request::Ping`]
    Ping = 0x02,
    /// [`crate::Request::Status`]
    Status = 0x03,
    /// [`crate::Request::Compact`]
    Compact = 0x04,
    /// [`crate::Request::Backup`]
    Backup = 0x05,
    /// [`crate::Request::Get`]
    Get = 0x10,
    /// [`crate::Request::Exists`]
    Exists = 0x11,
    /// [`crate::Request::Ttl`]
    Ttl = 0x12,
    /// [`crate::Request::Put`]
    Put = 0x13,
    /// [`crate::Request::Delete`]
    Delete = 0x14,
    /// [`crate::Request::Touch`]
    Touch = 0x15,
    /// [`crate::Request::Persist`]
    Persist = 0x16,
    /// [`crate::Request::Add`]
    Add = 0x17,
    /// [`crate::Request::Append`]
    Append = 0x18,
    /// [`crate::Request::Overwrite`]
    Overwrite = 0x19,
    /// [`crate::Request::AddFloat`]
    AddFloat = 0x1a,
    /// [`crate::Request::Expire`]
    Expire = 0x1b,
    /// [`crate::Request::ExpiresAt`]
    ExpiresAt = 0x1c,
    /// [`crate::Request::Batch`]
    Batch = 0x20,
    /// [`crate::Request::AtomicBatch`]
    AtomicBatch = 0x21,
    /// [`crate::Request::Scan`]
    Scan = 0x22,
    /// [`crate::Request::Count`]
    Count = 0x23,
    /// [`crate::Request::Flush`]
    Flush = 0x24,
    /// [`crate::Request::KeyspaceCreate`]
    KeyspaceCreate = 0x30,
    /// [`crate::Request::KeyspaceDrop`]
    KeyspaceDrop = 0x31,
    /// [`crate::Request::KeyspaceList`]
    KeyspaceList = 0x32,
    /// [`crate::Request::KeyspaceOpen`]
    KeyspaceOpen = 0x33,
    /// [`crate::Request::Move`]
    Move = 0x40,
    /// [`crate::Request::Unit`]
    Unit = 0x41,
}

impl Opcode {
    /// Every opcode, in the order of the numbers.
    pub const ALL: [Opcode; 29] = [
        Opcode::Hello,
        Opcode::Ping,
        Opcode::Status,
        Opcode::Compact,
        Opcode::Backup,
        Opcode::Get,
        Opcode::Exists,
        Opcode::Ttl,
        Opcode::Put,
        Opcode::Delete,
        Opcode::Touch,
        Opcode::Persist,
        Opcode::Add,
        Opcode::Append,
        Opcode::Overwrite,
        Opcode::AddFloat,
        Opcode::Expire,
        Opcode::ExpiresAt,
        Opcode::Batch,
        Opcode::AtomicBatch,
        Opcode::Scan,
        Opcode::Count,
        Opcode::Flush,
        Opcode::KeyspaceCreate,
        Opcode::KeyspaceDrop,
        Opcode::KeyspaceList,
        Opcode::KeyspaceOpen,
        Opcode::Move,
        Opcode::Unit,
    ];

    /// The opcode of this number, if there is one.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Opcode> {
        Opcode::ALL
            .into_iter()
            .find(|&opcode| opcode as u8 == number)
    }

    /// Whether the request is about exactly one key, which then follows the header.
    #[inline]
    #[must_use]
    pub const fn has_key(self) -> bool {
        is_single_key(self as u8)
    }

    /// Whether only shards of a node may ask for it. A server treats it as unknown where a client does.
    #[inline]
    #[must_use]
    pub const fn is_internal(self) -> bool {
        self as u8 & 0xf0 == 0x40
    }

    /// Its name in lower case with underscores, as in metrics and documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Opcode::Hello => "hello",
            Opcode::Ping => "ping",
            Opcode::Status => "status",
            Opcode::Compact => "compact",
            Opcode::Backup => "backup",
            Opcode::Get => "get",
            Opcode::Exists => "exists",
            Opcode::Ttl => "ttl",
            Opcode::Put => "put",
            Opcode::Delete => "delete",
            Opcode::Touch => "touch",
            Opcode::Persist => "persist",
            Opcode::Add => "add",
            Opcode::Append => "append",
            Opcode::Overwrite => "overwrite",
            Opcode::AddFloat => "add_float",
            Opcode::Expire => "expire",
            Opcode::ExpiresAt => "expires_at",
            Opcode::Batch => "batch",
            Opcode::AtomicBatch => "atomic_batch",
            Opcode::Scan => "scan",
            Opcode::Count => "count",
            Opcode::Flush => "flush",
            Opcode::KeyspaceCreate => "keyspace_create",
            Opcode::KeyspaceDrop => "keyspace_drop",
            Opcode::KeyspaceList => "keyspace_list",
            Opcode::KeyspaceOpen => "keyspace_open",
            Opcode::Move => "move",
            Opcode::Unit => "unit",
        }
    }
}

/// Whether a number is in the group of the single-key requests.
#[inline]
pub(crate) const fn is_single_key(number: u8) -> bool {
    number & 0xf0 == 0x10
}
