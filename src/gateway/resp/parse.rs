//! From a Redis client's bytes to the arguments of its commands, however the bytes come in.
//!
//! ```text
//! *3\r\n $3\r\nSET\r\n $3\r\nkey\r\n $5\r\nvalue\r\n      how many arguments, and each behind its length
//! SET key value\r\n                                       the same inline, as a person types it (see `inline`)
//! ```
//!
//! # How
//!
//! The parser is given a command's bytes from its first one on, again and again as more of them are there, and goes on where it stopped: what it has
//! understood it doesn't read again, so a command that comes in byte by byte costs no more than its length. What it keeps of an argument is its
//! [`Span`], a place in those bytes; nothing is copied. Only an inline command's arguments are, into memory of the parser's own, for quotes and
//! backslashes fall out of them. [`Parser::argument`] resolves a span of either kind.
//!
//! ```
//! use corduroy::gateway::resp::parse::{Bounds, Parser, Progress};
//!
//! let bounds = Bounds { args_max: 8, bulk_len_max: 64, command_len_max: 256, inline_len_max: 64, large_len: 32 };
//! let mut parser = Parser::default();
//! let bytes = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\nGET \"k\\x65y\"\r\n";
//! assert_eq!(parser.advance(&bytes[..15], &bounds), Ok(Progress::Incomplete));
//! assert_eq!(parser.advance(bytes, &bounds), Ok(Progress::Complete { consumed: 22 }));
//! let arguments = |parser: &Parser, bytes: &[u8]| {
//!     parser.spans().iter().map(|span| parser.argument(bytes, span).to_vec()).collect::<Vec<_>>()
//! };
//! assert_eq!(arguments(&parser, &bytes[..22]), [b"GET", b"key"]);
//! parser.reset();
//! assert_eq!(parser.advance(&bytes[22..], &bounds), Ok(Progress::Complete { consumed: 14 }));
//! assert_eq!(arguments(&parser, &bytes[22..]), [b"GET", b"key"]);
//! ```
//!
//! The common line, a sign and up to eight digits, is read by `short_number` in one go. Whatever else a line may be (not all there, negative, too long,
//! no number) is for `careful_number`, off the hot path.
//!
//! # Large arguments
//!
//! An argument over `large_len` bytes is not waited for in the command's bytes: [`Progress::Large`] says where it begins and how long it is, and says so
//! again until [`Parser::large_taken`]. By then the caller has taken it and its line break out of the command's bytes, and what followed it
//! stands in its place.
//!
//! ```
//! # use corduroy::gateway::resp::parse::{Bounds, Parser, Progress, Span};
//! # let bounds = Bounds { args_max: 8, bulk_len_max: 64, command_len_max: 256, inline_len_max: 64, large_len: 32 };
//! let mut parser = Parser::default();
//! let head = b"*2\r\n$40\r\n";
//! assert_eq!(parser.advance(head, &bounds), Ok(Progress::Large { at: 9, len: 40 }));
//! // The caller receives 42 bytes elsewhere. Then:
//! parser.large_taken();
//! let command = b"*2\r\n$40\r\n$1\r\nx\r\n";
//! assert_eq!(parser.advance(command, &bounds), Ok(Progress::Complete { consumed: 16 }));
//! assert_eq!(parser.spans(), [Span::Large(0), Span::Bytes { at: 13, len: 1 }]);
//! ```
//!
//! # Invariants
//!
//! - How a command is cut into calls changes nothing: neither its arguments nor the error that it ends in.
//! - Memory is taken for arguments that are there, never for those that a length promises. Each takes up six bytes of input and 12 of memory at least.
//! - A length over its bound is refused when it is read, before anything of that length comes in.
//! - Every span that is shown lies within the command's bytes.
//!
//! # Errors
//!
//! They are worded as Redis 7.0 words them. Where Redis would go on and a bound of this server is what is hit, the bound's name and number follow.
//! Two things are stricter than there: a line and an argument must end in `\r\n` (Redis skips whatever two bytes are there, and takes a
//! command with a wrong length for another one), and a zero byte has no meaning (Redis waits until 64 KiB are there if a line has one).

use thiserror::Error;

use super::inline;

/// Whether the command that begins here has a name and a key alone: nearly all of those read. For looking ahead alone.
#[inline]
#[must_use]
pub fn is_short(bytes: &[u8]) -> bool {
    bytes.starts_with(b"*2\r")
}

/// The second argument of the command that begins here, which is its key if it has one, and how many bytes the command takes up: if
/// it is all there, has a few short arguments, and is written as client libraries write it. For looking ahead alone: nothing is checked that
/// [`Parser::advance`] does not check again.
#[inline]
#[must_use]
pub fn key_ahead(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let &[b'*', count @ b'2'..=b'9', b'\r', b'\n', ..] = bytes else {
        return None;
    };
    let mut at = 4;
    let mut key: &[u8] = &[];
    for number in 0..count - b'0' {
        let (len, head) = match *bytes.get(at..)? {
            [b'$', a @ b'0'..=b'9', b'\r', b'\n', ..] => (usize::from(a - b'0'), 4),
            [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => {
                (usize::from(a - b'0') * 10 + usize::from(b - b'0'), 5)
            }
            [
                b'$',
                a @ b'1'..=b'9',
                b @ b'0'..=b'9',
                c @ b'0'..=b'9',
                b'\r',
                b'\n',
                ..,
            ] => {
                let number = usize::from(a - b'0') * 100
                    + usize::from(b - b'0') * 10
                    + usize::from(c - b'0');
                (number, 6)
            }
            _ => return None,
        };
        let argument = bytes.get(at + head..at + head + len)?;
        if number == 1 {
            key = argument;
        }
        at += head + len + 2;
    }
    (at <= bytes.len()).then_some((key, at))
}

#[cfg(test)]
mod tests;

/// Where an argument lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// In the command's bytes, from its first one on; of an inline command, in the parser's own copy.
    Bytes {
        /// First byte.
        at: u32,
        /// How many.
        len: u32,
    },
    /// Apart: the large argument of this number.
    Large(u32),
}

/// What a command may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most arguments. An inline command has at most half as many as it has bytes.
    pub args_max: usize,
    /// Longest argument, in bytes.
    pub bulk_len_max: usize,
    /// Most bytes of a command, without its large arguments. At most `u32::MAX`.
    pub command_len_max: usize,
    /// Longest inline command, and longest line with a number, in bytes.
    pub inline_len_max: usize,
    /// Arguments over this many bytes are kept apart.
    pub large_len: usize,
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not all there.
    Incomplete,
    /// All there. A command without spans (an empty line, `*0`, a negative count) asks for nothing and is skipped.
    Complete {
        /// How many bytes it takes up.
        consumed: usize,
    },
    /// Its next argument is a large one. The caller takes it, and the line break behind it, out of the command's bytes, and then calls
    /// [`Parser::large_taken`].
    Large {
        /// Where it begins. At most as many bytes are there.
        at: usize,
        /// Its length in bytes, without the line break.
        len: usize,
    },
}

/// Why bytes are no command. The connection can't be followed any further.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// A line with a number of arguments that does not end.
    #[error("Protocol error: too big mbulk count string")]
    CountTooLong,
    /// No number of arguments, or one that Redis would not take either.
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    /// More arguments than there may be.
    #[error(
        "Protocol error: invalid multibulk length: {count} is over resp_args_max, {most} arguments"
    )]
    TooManyArguments {
        /// How many there are to be.
        count: usize,
        /// The bound.
        most: usize,
    },
    /// A line with an argument's length that does not end.
    #[error("Protocol error: too big bulk count string")]
    LengthTooLong,
    /// What should be an argument's length begins with something else.
    #[error("Protocol error: expected '$', got '{}'", found.escape_ascii())]
    ExpectedLength {
        /// What is there.
        found: u8,
    },
    /// No length, or one that Redis would not take either.
    #[error("Protocol error: invalid bulk length")]
    InvalidLength,
    /// An argument that is too long.
    #[error("Protocol error: invalid bulk length: {len} is over value_len_max, {most} bytes")]
    ArgumentTooLong {
        /// How long it is to be.
        len: usize,
        /// The bound.
        most: usize,
    },
    /// A command that is too long.
    #[error(
        "Protocol error: invalid bulk length: with {len} bytes beside large arguments the command is over resp_command_bytes_max, {most} bytes"
    )]
    CommandTooLong {
        /// How long it is to be, up to this argument's end.
        len: usize,
        /// The bound.
        most: usize,
    },
    /// Behind an argument is no line break.
    #[error("Protocol error: invalid bulk length: no line break behind {len} bytes")]
    NoLineBreak {
        /// The argument's length.
        len: usize,
    },
    /// An inline command that does not end.
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    /// An inline command with a quote that is not closed, or closed within an argument.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
}

impl ParseError {
    /// What the client is told, whole. As Redis does it, a byte that was not expected is sent back as it is, unless it breaks the line.
    #[must_use]
    pub fn reply(&self) -> Vec<u8> {
        let mut bytes = b"-ERR ".to_vec();
        match *self {
            ParseError::ExpectedLength { found } => {
                bytes.extend_from_slice(b"Protocol error: expected '$', got '");
                bytes.push(if LINE_BREAK.contains(&found) {
                    b' '
                } else {
                    found
                });
                bytes.push(b'\'');
            }
            _ => bytes.extend_from_slice(self.to_string().as_bytes()),
        }
        bytes.extend_from_slice(LINE_BREAK);
        bytes
    }
}

/// Longest argument that Redis takes unless it is told otherwise, in bytes.
const REDIS_BULK_LEN_MAX: u64 = 512 << 20;
/// Most arguments that Redis takes.
const REDIS_ARGS_MAX: u64 = i32::MAX as u64;
/// What a parser keeps memory for between commands: spans, and bytes of inline commands.
const SPANS_KEPT: usize = 64;
const INLINE_BYTES_KEPT: usize = 1024;
const LINE_BREAK: &[u8] = b"\r\n";

/// What the parser looks for next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expected {
    /// The command's first byte.
    #[default]
    Start,
    /// The number of arguments.
    Count,
    /// An argument's length.
    Length,
    /// An argument of this length and its line break.
    Argument { len: usize },
    /// That the caller takes a large argument of this length.
    Taken { len: usize },
    /// The end of an inline command.
    LineEnd,
    /// Nothing: the command is whole.
    Nothing { is_inline: bool },
}

/// One command that is coming in.
#[derive(Debug, Default)]
pub struct Parser {
    expected: Expected,
    /// Where in the command's bytes to go on: all before is understood.
    at: usize,
    /// From there on so many bytes were searched for the end of the line in vain.
    searched: usize,
    /// Arguments to come.
    left: usize,
    /// Large arguments so far.
    larges: u32,
    spans: Vec<Span>,
    /// An inline command's arguments, one after the other.
    inline: Vec<u8>,
}

impl Parser {
    /// Looks at a command's bytes, which begin with its first one, from where the last call stopped.
    ///
    /// # Errors
    /// [`ParseError`]: the client is to be told and the connection to be closed. Further calls end in the same error.
    #[inline]
    pub fn advance(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Progress, ParseError> {
        if self.expected == Expected::Start && !bytes.is_empty() {
            self.expected = match bytes[0] {
                b'*' => Expected::Count,
                _ => Expected::LineEnd,
            };
        }
        if self.expected == Expected::Count {
            let Some(left) = self.count(bytes, bounds)? else {
                return Ok(Progress::Incomplete);
            };
            self.left = left;
            self.expected = Expected::Length;
        }
        match self.expected {
            Expected::Length | Expected::Argument { .. } => self.arguments(bytes, bounds),
            Expected::Start | Expected::Count => Ok(Progress::Incomplete),
            Expected::Taken { len } => Ok(Progress::Large { at: self.at, len }),
            Expected::LineEnd => self.inline_command(bytes, bounds),
            Expected::Nothing { .. } => Ok(Progress::Complete { consumed: self.at }),
        }
    }

    /// The large argument was received, and taken out of the command's bytes.
    ///
    /// # Panics
    /// If none was announced.
    pub fn large_taken(&mut self) {
        assert!(
            matches!(self.expected, Expected::Taken { .. }),
            "a large argument was announced"
        );
        self.spans.push(Span::Large(self.larges));
        self.larges += 1;
        self.left -= 1;
        self.expected = Expected::Length;
    }

    /// Begins with the next command. Keeps some memory.
    #[inline]
    pub fn reset(&mut self) {
        self.expected = Expected::Start;
        self.at = 0;
        self.searched = 0;
        self.left = 0;
        self.larges = 0;
        self.spans.clear();
        self.inline.clear();
        if self.spans.capacity() > SPANS_KEPT {
            self.spans.shrink_to(SPANS_KEPT);
        }
        if self.inline.capacity() > INLINE_BYTES_KEPT {
            self.inline.shrink_to(INLINE_BYTES_KEPT);
        }
    }

    /// Whether no command has begun.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.expected == Expected::Start
    }

    /// The arguments understood so far: all of them once the command is whole.
    #[inline]
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// An argument of a whole command, given that command's bytes.
    ///
    /// # Panics
    /// If it is a large one: those are with the caller. If the bytes are not the command's.
    #[inline]
    #[must_use]
    pub fn argument<'a>(&'a self, bytes: &'a [u8], span: &Span) -> &'a [u8] {
        let Span::Bytes { at, len } = *span else {
            unreachable!("large arguments are with the caller");
        };
        let is_inline = self.expected == Expected::Nothing { is_inline: true };
        let source = if is_inline { &self.inline } else { bytes };
        &source[at as usize..][..len as usize]
    }

    /// The number of arguments.
    #[inline]
    fn count(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Option<usize>, ParseError> {
        let (count, next) = match short_number(bytes, 0) {
            Some((count, next)) => (i64::from(count), next),
            None => match self.careful_number(bytes, bounds, &COUNT)? {
                Some(line) => line,
                None => return Ok(None),
            },
        };
        // Redis skips a command with a negative number of arguments.
        let count = u64::try_from(count).unwrap_or(0);
        if count > REDIS_ARGS_MAX {
            return Err(ParseError::InvalidCount);
        }
        let (count, most) = (count as usize, bounds.args_max);
        if count > most {
            return Err(ParseError::TooManyArguments { count, most });
        }
        self.at = next;
        self.searched = 0;
        Ok(Some(count))
    }

    /// As many arguments as are there.
    #[inline]
    fn arguments(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Progress, ParseError> {
        while self.left > 0 {
            let len = match self.expected {
                Expected::Argument { len } => len,
                _ => match self.length(bytes, bounds)? {
                    Some(len) => len,
                    None => return Ok(Progress::Incomplete),
                },
            };
            if len > bounds.large_len {
                self.expected = Expected::Taken { len };
                return Ok(Progress::Large { at: self.at, len });
            }
            let end = self.at + len;
            let behind = bytes.get(end..end + LINE_BREAK.len());
            if behind != Some(LINE_BREAK) {
                self.expected = Expected::Argument { len };
                return match behind {
                    Some(_) => Err(ParseError::NoLineBreak { len }),
                    None => Ok(Progress::Incomplete),
                };
            }
            self.spans.push(Span::Bytes {
                at: self.at as u32,
                len: len as u32,
            });
            self.at = end + LINE_BREAK.len();
            self.left -= 1;
            self.expected = Expected::Length;
        }
        self.expected = Expected::Nothing { is_inline: false };
        Ok(Progress::Complete { consumed: self.at })
    }

    /// The length of the next argument, if it may have it.
    #[inline]
    fn length(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Option<usize>, ParseError> {
        let short = match bytes.get(self.at) {
            Some(b'$') => short_number(bytes, self.at),
            _ => None,
        };
        let (len, next) = match short {
            Some((len, next)) => (i64::from(len), next),
            None => match self.careful_number(bytes, bounds, &LENGTH)? {
                Some(line) => line,
                None => return Ok(None),
            },
        };
        let len = match u64::try_from(len) {
            Ok(len) if len <= REDIS_BULK_LEN_MAX => len as usize,
            _ => return Err(ParseError::InvalidLength),
        };
        if len > bounds.bulk_len_max {
            let most = bounds.bulk_len_max;
            return Err(ParseError::ArgumentTooLong { len, most });
        }
        let end = if len > bounds.large_len {
            next
        } else {
            next + len + LINE_BREAK.len()
        };
        if end > bounds.command_len_max {
            let most = bounds.command_len_max;
            return Err(ParseError::CommandTooLong { len: end, most });
        }
        self.at = next;
        self.searched = 0;
        Ok(Some(len))
    }

    /// Reads the line at hand, whatever it is: its number, and where the next line begins. `None`: it is not all there.
    ///
    /// What is wrong is looked for in the order in which Redis does it.
    #[cold]
    fn careful_number(
        &mut self,
        bytes: &[u8],
        bounds: &Bounds,
        kind: &Line,
    ) -> Result<Option<(i64, usize)>, ParseError> {
        let line = &bytes[self.at..];
        let window = &line[..line.len().min(bounds.inline_len_max + 1)];
        let Some(end) = position(b'\r', window, self.searched) else {
            self.searched = window.len();
            if window.len() > bounds.inline_len_max {
                return Err(kind.too_long.clone());
            }
            return Ok(None);
        };
        self.searched = end;
        let Some(&behind) = line.get(end + 1) else {
            return Ok(None);
        };
        let found = line[0];
        if found != kind.sign {
            return Err(ParseError::ExpectedLength { found });
        }
        match number(&line[1..end]) {
            Some(number) if behind == b'\n' => Ok(Some((number, self.at + end + LINE_BREAK.len()))),
            _ => Err(kind.invalid.clone()),
        }
    }

    /// An inline command, if its line has ended.
    #[cold]
    fn inline_command(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Progress, ParseError> {
        let window = &bytes[..bytes.len().min(bounds.inline_len_max + 1)];
        let Some(end) = position(b'\n', window, self.searched) else {
            self.searched = window.len();
            if window.len() > bounds.inline_len_max {
                return Err(ParseError::InlineTooLong);
            }
            return Ok(Progress::Incomplete);
        };
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        let (arguments, spans) = (&mut self.inline, &mut self.spans);
        inline::split(line, arguments, |place| {
            spans.push(Span::Bytes {
                at: place.start as u32,
                len: place.len() as u32,
            });
        })
        .ok_or(ParseError::UnbalancedQuotes)?;
        self.at = end + 1;
        self.expected = Expected::Nothing { is_inline: true };
        Ok(Progress::Complete { consumed: self.at })
    }
}

/// A line with a number, and what is said of one that is none.
struct Line {
    sign: u8,
    too_long: ParseError,
    invalid: ParseError,
}

const COUNT: Line = Line {
    sign: b'*',
    too_long: ParseError::CountTooLong,
    invalid: ParseError::InvalidCount,
};
const LENGTH: Line = Line {
    sign: b'$',
    too_long: ParseError::LengthTooLong,
    invalid: ParseError::InvalidLength,
};

/// The number behind the sign at `at`, and where the next line begins: if it has one to eight digits, as Redis writes them, and the line is all there.
#[inline]
fn short_number(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let digits = bytes.get(at + 1..)?;
    let mut number = 0;
    for (count, &byte) in digits.iter().take(9).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let is_plain = count == 1 || (count > 1 && digits[0] != b'0');
            let ends = byte == b'\r' && digits.get(count + 1) == Some(&b'\n');
            return (is_plain && ends).then_some((number, at + 1 + count + LINE_BREAK.len()));
        }
        number = number * 10 + u32::from(digit);
    }
    None
}

/// A number as Redis writes it: no plus sign, no leading zeros, no negative zero.
fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = match digits {
        [] => false,
        [b'0', ..] => text.len() == 1,
        _ => digits.iter().all(u8::is_ascii_digit),
    };
    let text = std::str::from_utf8(text).ok().filter(|_| is_plain)?;
    text.parse().ok()
}

/// Where the byte is, from `from` on.
fn position(byte: u8, bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.iter().position(|it| *it == byte).map(|at| from + at)
}
