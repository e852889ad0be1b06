//! What a Redis client is told of a command that can't be carried out as it was sent.
//!
//! An error displays as the whole line behind the `-`: a code in capitals, by which clients tell what to do, and the sentence that Redis says
//! (compared with redis-server 7.0.15's, byte for byte: `tests/fixtures/redis-7.0.15`). Nothing was changed by a command that ends so.

use std::fmt;

/// Why a command was not carried out. Its text is the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Neither Redis nor this store has such a command.
    Unknown {
        /// As it was sent, cut off.
        name: Vec<u8>,
        /// The first arguments, each in quotes and with a blank behind it.
        arguments: Vec<u8>,
    },
    /// Its command has no such subcommand.
    UnknownSubcommand {
        /// The command, in capitals.
        command: String,
        /// As it was sent, cut off.
        subcommand: Vec<u8>,
    },
    /// Redis has it, this store does not.
    Unsupported {
        /// In lower case; `command|subcommand` for a subcommand.
        name: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// More or fewer arguments than the command takes; its name in lower case.
    Arity(&'static str),
    /// EXEC with arguments, which ends the transaction.
    ExecArity,
    /// A time to live or a time of expiry that can't be; the command's name in lower case.
    InvalidExpiry(&'static str),
    /// An option that EXPIRE and its kin don't know.
    UnsupportedOption(Vec<u8>),
    /// An option that HELLO doesn't know, or that lacks its argument.
    HelloOption(Vec<u8>),
    /// A type of clients that CLIENT LIST or KILL doesn't know.
    UnknownClientType(Vec<u8>),
    /// CLIENT KILL USER with another name than `default`.
    NoSuchUser(Vec<u8>),
    /// CONFIG SET with a parameter that there is not.
    UnknownParameter(Vec<u8>),
    /// CONFIG SET with a value, or of a parameter, that can't be set.
    ConfigSet {
        /// The parameter.
        parameter: String,
        /// What is wrong.
        reason: String,
    },
    /// CLIENT SETINFO of another attribute.
    ClientAttribute(Vec<u8>),
    /// A subcommand that there is not, or with too many arguments: DEBUG's, SLOWLOG GET.
    SubcommandSyntax {
        /// The command, in capitals.
        command: &'static str,
        /// As it was sent, cut off.
        subcommand: Vec<u8>,
    },
    /// LATENCY GRAPH: there are no samples of this event.
    NoSamples(Vec<u8>),
    /// What is said in the same words whatever the arguments were.
    Fixed(Fixed),
}

/// Declares errors whose text does not depend on arguments.
macro_rules! fixed {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:expr,)+) => {
        /// An error whose text is always the same.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fixed {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Fixed {
            /// The whole reply behind the `-`.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Fixed::$name => $text,)+
                }
            }
        }
    };
}

fixed! {
    /// The arguments don't follow the command's grammar.
    Syntax = "ERR syntax error",
    /// An argument that must be an integer is none.
    NotAnInteger = "ERR value is not an integer or out of range",
    /// A database's number that does not fit into 32 bits.
    NotAnInt32 = "ERR value is out of range, value must between -2147483648 and 2147483647",
    /// DECRBY of the number that has no opposite.
    DecrementOverflow = "ERR decrement would overflow",
    /// SETRANGE before the value's beginning.
    OffsetOutOfRange = "ERR offset is out of range",
    /// SETRANGE beyond what a request may hold.
    StringTooLong = "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
    /// EXPIRE with NX and another condition.
    ExpireNxWithOthers = "ERR NX and XX, GT or LT options at the same time are not compatible",
    /// EXPIRE with GT and LT.
    ExpireGtWithLt = "ERR GT and LT options at the same time are not compatible",
    /// COPY of a key onto itself.
    SameObjects = "ERR source and destination objects are the same",
    /// SELECT or COPY of a database that there is not.
    DatabaseOutOfRange = "ERR DB index is out of range",
    /// SCAN with what is no cursor.
    InvalidCursor = "ERR invalid cursor",
    /// WAIT with what is no timeout.
    TimeoutNotAnInteger = "ERR timeout is not an integer or out of range",
    /// WAIT with a negative timeout.
    TimeoutNegative = "ERR timeout is negative",
    /// WAITAOF's numlocal.
    NotZeroOrOne = "ERR value is out of range, value must between 0 and 1",
    /// WAITAOF's numreplicas.
    NotPositive = "ERR value is out of range, must be positive",
    /// AUTH with a password alone.
    NoPasswordConfigured = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
    /// AUTH or HELLO with another user than `default`.
    WrongPassword = "WRONGPASS invalid username-password pair or user is disabled.",
    /// HELLO with another version than 2 or 3.
    NoProtocol = "NOPROTO unsupported protocol version",
    /// HELLO with a version that is no number.
    ProtocolNotAnInteger = "ERR Protocol version is not an integer or out of range",
    /// CLIENT SETNAME with what would break a line of CLIENT LIST.
    ClientName = "ERR Client names cannot contain spaces, newlines or special characters.",
    /// CLIENT SETINFO lib-name of that kind.
    LibraryName = "ERR lib-name cannot contain spaces, newlines or special characters.",
    /// CLIENT SETINFO lib-ver of that kind.
    LibraryVersion = "ERR lib-ver cannot contain spaces, newlines or special characters.",
    /// CLIENT SETNAME or SETINFO beyond its bound.
    ClientTextTooLong = "ERR a client's name, library name and library version have at most 1024 bytes each",
    /// CLIENT LIST with what is no id.
    InvalidClientId = "ERR Invalid client ID",
    /// CLIENT KILL ID with what is no id.
    ClientIdNotPositive = "ERR client-id should be greater than 0",
    /// CLIENT KILL with an address that nobody has.
    NoSuchClient = "ERR No such client",
    /// EXEC without a MULTI before it.
    ExecWithoutMulti = "ERR EXEC without MULTI",
    /// DISCARD without a MULTI before it.
    DiscardWithoutMulti = "ERR DISCARD without MULTI",
    /// MULTI after MULTI.
    MultiNested = "ERR MULTI calls can not be nested",
    /// WATCH after MULTI.
    WatchInMulti = "ERR WATCH inside MULTI is not allowed",
    /// EXEC after a command that could not be queued.
    ExecAborted = "EXECABORT Transaction discarded because of previous errors.",
    /// A command that makes no sense between MULTI and EXEC.
    NotInTransaction = "ERR Command not allowed inside a transaction",
    /// More is queued than a transaction may hold.
    TransactionTooLarge = "ERR a transaction holds at most 1024 commands and 1 MiB",
    /// More keys are watched than a connection may watch.
    TooManyWatched = "ERR a connection watches at most 1024 keys and 1 MiB of them",
    /// A key of no bytes, which Redis allows.
    EmptyKey = "ERR the empty key is not supported: a key has 1 to 65535 bytes",
    /// A key that is longer than a key may be.
    KeyTooLong = "ERR the key is too long: a key has 1 to 65535 bytes",
    /// DEBUG where it is not allowed.
    DebugNotAllowed = "ERR DEBUG command not allowed",
    /// A number that must be a float is none.
    NotAFloat = "ERR value is not a valid float",
    /// SLOWLOG GET with a count below -1.
    SlowlogCount = "ERR count should be greater than or equal to -1",
    /// CLUSTER KEYSLOT and its kin with a slot that there is not.
    InvalidSlot = "ERR Invalid slot",
    /// COMMAND GETKEYS of a command that there is not.
    InvalidCommand = "ERR Invalid command specified",
    /// COMMAND GETKEYS of a command without keys.
    NoKeyArguments = "ERR The command has no key arguments",
    /// COMMAND GETKEYS with too few or too many arguments.
    InvalidArgumentCount = "ERR Invalid number of arguments specified for command",
    /// CONFIG REWRITE.
    NoRewrite = "ERR CONFIG REWRITE is not supported: the node never writes to its configuration file",
    /// OBJECT FREQ of a key that is there.
    NoFrequencies = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
}

impl From<Fixed> for CommandError {
    fn from(fixed: Fixed) -> CommandError {
        CommandError::Fixed(fixed)
    }
}

impl CommandError {
    /// The whole reply behind the `-`. What it repeats of the client's bytes it repeats as they are.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let quoting = |before: &str, repeated: &[u8], behind: &str| {
            [before.as_bytes(), repeated, behind.as_bytes()].concat()
        };
        match self {
            CommandError::Unknown { name, arguments } => [
                b"ERR unknown command '",
                name.as_slice(),
                b"', with args beginning with: ",
                arguments,
            ]
            .concat(),
            CommandError::UnknownSubcommand {
                command,
                subcommand,
            } => quoting(
                "ERR unknown subcommand '",
                subcommand,
                &format!("'. Try {command} HELP."),
            ),
            CommandError::Unsupported { name, reason } => {
                format!("ERR command '{name}' is not supported: {reason}").into_bytes()
            }
            CommandError::ExecArity => {
                b"EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command".to_vec()
            }
            CommandError::Arity(name) => {
                format!("ERR wrong number of arguments for '{name}' command").into_bytes()
            }
            CommandError::InvalidExpiry(name) => {
                format!("ERR invalid expire time in '{name}' command").into_bytes()
            }
            CommandError::UnsupportedOption(option) => quoting("ERR Unsupported option ", option, ""),
            CommandError::HelloOption(option) => {
                quoting("ERR Syntax error in HELLO option '", option, "'")
            }
            CommandError::UnknownClientType(name) => {
                quoting("ERR Unknown client type '", name, "'")
            }
            CommandError::NoSuchUser(name) => quoting("ERR No such user '", name, "'"),
            CommandError::UnknownParameter(name) => quoting(
                "ERR Unknown option or number of arguments for CONFIG SET - '",
                name,
                "'",
            ),
            CommandError::ConfigSet { parameter, reason } => format!(
                "ERR CONFIG SET failed (possibly related to argument '{parameter}') - {reason}"
            )
            .into_bytes(),
            CommandError::ClientAttribute(name) => quoting("ERR Unrecognized option '", name, "'"),
            CommandError::SubcommandSyntax {
                command,
                subcommand,
            } => quoting(
                "ERR unknown subcommand or wrong number of arguments for '",
                subcommand,
                &format!("'. Try {command} HELP."),
            ),
            CommandError::NoSamples(event) => {
                quoting("ERR No samples available for event '", event, "'")
            }
            CommandError::Fixed(fixed) => fixed.text().as_bytes().to_vec(),
        }
    }
}

impl CommandError {
    /// Whether the command was refused before its function was asked, which Redis counts apart.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        matches!(
            self,
            CommandError::Arity(_)
                | CommandError::ExecArity
                | CommandError::Fixed(Fixed::NotInTransaction | Fixed::TransactionTooLarge)
        )
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

impl std::error::Error for CommandError {}

/// Most bytes of a name, and of all arguments together, that an error repeats.
const REPEATED_LEN_MAX: usize = 128;

/// Bytes of a client in an error: up to the first zero byte, as C's formats print them, and cut off.
pub(super) fn repeated(bytes: &[u8]) -> Vec<u8> {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    bytes[..end.min(REPEATED_LEN_MAX)].to_vec()
}

/// The error for a command that nobody knows.
#[cold]
pub(super) fn unknown(arguments: &[&[u8]]) -> CommandError {
    let mut shown = Vec::new();
    for argument in &arguments[1..] {
        if shown.len() >= REPEATED_LEN_MAX {
            break;
        }
        let argument = &argument[..argument.len().min(REPEATED_LEN_MAX - shown.len())];
        shown.push(b'\'');
        shown.extend(repeated(argument));
        shown.extend_from_slice(b"' ");
    }
    CommandError::Unknown {
        name: repeated(arguments[0]),
        arguments: shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command of a megabyte that comes back in the error would let a client make the node send what it likes.
    #[test]
    fn what_is_repeated_is_bounded() {
        let long = vec![b'x'; 1 << 20];
        let arguments: Vec<&[u8]> = std::iter::repeat_n(long.as_slice(), 1000).collect();
        assert!(unknown(&arguments).to_string().len() < 1000);
        let empty: Vec<&[u8]> = std::iter::repeat_n(b"".as_slice(), 100_000).collect();
        assert!(unknown(&empty).to_string().len() < 1000);
    }
}
