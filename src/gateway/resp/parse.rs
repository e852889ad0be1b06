//! From a Redis client's bytes to the arguments of its commands, however the bytes come in.
//!
//! ```text
//! *3\r\n $3\r\nSET\r\n $3\r\nkey\r\n $5\r\nvalue\r\n      a command: how many arguments, and each with its length
//! SET key value\r\n                                       the same inline, as a person types it (see `inline`)
//! ```
//!
//! The parser is given a command's bytes from its first one on, again and again as more of them are there, and goes on where it stopped: each byte
//! is looked at once. What it has understood it keeps as **spans**, places in those bytes, so nothing is copied. It
//! allocates for arguments that are there, never for those that a length promises.
//!
//! An argument over `large_len` bytes is not waited for in those bytes: the parser says where it begins and how long it is, and the caller receives it
//! elsewhere.
//!
//! Errors are worded as Redis words them; where a bound of this server is what is hit, its name and number follow.

use thiserror::Error;

use super::inline;

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
    /// Most arguments.
    pub args_max: usize,
    /// Longest argument, in bytes.
    pub bulk_len_max: usize,
    /// Most bytes of a command, without its large arguments.
    pub command_len_max: usize,
    /// Longest inline command, in bytes.
    pub inline_len_max: usize,
    /// Arguments over this many bytes are kept apart.
    pub large_len: usize,
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not all there.
    Incomplete,
    /// All there. A command without spans is an empty line, to be skipped.
    Complete {
        /// How many bytes it takes up.
        consumed: usize,
    },
    /// Its next argument is a large one. The caller takes it, and the line break behind it, out of the command's bytes, and then calls
    /// [`Parser::large_taken`].
    Large {
        /// Where it begins.
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
    /// No number of arguments, or one that can't be.
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    /// More arguments than there may be.
    #[error("Protocol error: invalid multibulk length: {count} is over resp_args_max, {most}")]
    TooManyArguments {
        /// How many there are to be.
        count: i64,
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
    /// No length, or one that can't be.
    #[error("Protocol error: invalid bulk length")]
    InvalidLength,
    /// An argument that is too long.
    #[error("Protocol error: invalid bulk length: {len} is over value_len_max, {most} bytes")]
    ArgumentTooLong {
        /// How long it is to be.
        len: i64,
        /// The bound.
        most: usize,
    },
    /// A command that is too long.
    #[error(
        "Protocol error: invalid bulk length: a command of over resp_command_bytes_max, {most} bytes, beside its large arguments"
    )]
    CommandTooLong {
        /// The bound.
        most: usize,
    },
    /// An inline command that does not end.
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    /// An inline command with a quote that is not closed.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// Behind an argument is no line break.
    #[error("Protocol error: expected a line break behind an argument")]
    ExpectedLineEnd,
}

/// What the parser looks for next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expected {
    /// The command's first byte.
    #[default]
    First,
    /// The end of an inline command.
    InlineEnd,
    /// The head of the next argument, of which so many are to come.
    Argument { left: u32 },
    /// The argument of this length, and so many with it.
    Bytes { len: u32, left: u32 },
    /// The caller takes a large argument, after which so many are to come.
    Large { left: u32 },
}

/// The state of one command that is coming in.
#[derive(Debug, Default)]
pub struct Parser {
    spans: Vec<Span>,
    expected: Expected,
    /// Where in the command's bytes to go on.
    at: usize,
    larges: u32,
    /// An inline command's arguments, one after the other.
    inline: Vec<u8>,
}

/// Longest line with a number, in bytes: as Redis has it, an inline command's bound.
const NUMBER_LINE_LEN_MAX: usize = 64 << 10;

/// Spans and bytes that a parser keeps memory for between commands.
const SPANS_KEPT: usize = 64;
const INLINE_KEPT: usize = 1024;

impl Parser {
    /// Looks at a command's bytes, which begin with its first one, from where the last call stopped.
    ///
    /// # Errors
    /// [`ParseError`]: the connection is to be told and closed.
    #[inline]
    pub fn advance(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Progress, ParseError> {
        loop {
            match self.expected {
                Expected::First => {
                    let Some(&first) = bytes.first() else {
                        return Ok(Progress::Incomplete);
                    };
                    if first != b'*' {
                        self.expected = Expected::InlineEnd;
                        continue;
                    }
                    let Some((count, next)) =
                        number_line(bytes, 0, ParseError::CountTooLong, ParseError::InvalidCount)?
                    else {
                        return Ok(Progress::Incomplete);
                    };
                    self.at = next;
                    if count <= 0 {
                        return Ok(Progress::Complete { consumed: next });
                    }
                    if count > bounds.args_max as i64 {
                        return Err(if count > i64::from(i32::MAX) {
                            ParseError::InvalidCount
                        } else {
                            ParseError::TooManyArguments {
                                count,
                                most: bounds.args_max,
                            }
                        });
                    }
                    self.expected = Expected::Argument { left: count as u32 };
                }
                Expected::InlineEnd => return self.inline(bytes, bounds),
                Expected::Argument { left: 0 } => {
                    return Ok(Progress::Complete { consumed: self.at });
                }
                Expected::Argument { left } => {
                    let Some(&first) = bytes.get(self.at) else {
                        return Ok(Progress::Incomplete);
                    };
                    if first != b'$' {
                        return Err(ParseError::ExpectedLength { found: first });
                    }
                    let Some((len, next)) = number_line(
                        bytes,
                        self.at,
                        ParseError::LengthTooLong,
                        ParseError::InvalidLength,
                    )?
                    else {
                        return Ok(Progress::Incomplete);
                    };
                    let len = check_len(len, bounds)?;
                    self.at = next;
                    let left = left - 1;
                    if len > bounds.large_len {
                        self.expected = Expected::Large { left };
                        return Ok(Progress::Large { at: next, len });
                    }
                    if next + len > bounds.command_len_max {
                        let most = bounds.command_len_max;
                        return Err(ParseError::CommandTooLong { most });
                    }
                    let len = len as u32;
                    self.expected = Expected::Bytes { len, left };
                }
                Expected::Bytes { len, left } => {
                    let end = self.at + len as usize;
                    match bytes.get(end..end + 2) {
                        Some(b"\r\n") => {}
                        Some(_) => return Err(ParseError::ExpectedLineEnd),
                        None => return Ok(Progress::Incomplete),
                    }
                    self.spans.push(Span::Bytes {
                        at: self.at as u32,
                        len,
                    });
                    self.at = end + 2;
                    self.expected = Expected::Argument { left };
                }
                Expected::Large { .. } => return Ok(Progress::Incomplete),
            }
        }
    }

    /// The large argument was received, and taken out of the command's bytes.
    pub fn large_taken(&mut self) {
        let Expected::Large { left } = self.expected else {
            unreachable!("a large argument was announced");
        };
        self.spans.push(Span::Large(self.larges));
        self.larges += 1;
        self.expected = Expected::Argument { left };
    }

    /// The arguments, once the command is all there.
    #[inline]
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// An argument that is not a large one, given the command's bytes.
    #[inline]
    #[must_use]
    pub fn argument<'a>(&'a self, bytes: &'a [u8], span: &Span) -> &'a [u8] {
        let Span::Bytes { at, len } = *span else {
            unreachable!("large arguments are with the caller");
        };
        let (at, len) = (at as usize, len as usize);
        if self.expected == Expected::InlineEnd {
            &self.inline[at..at + len]
        } else {
            &bytes[at..at + len]
        }
    }

    /// Begins with the next command.
    #[inline]
    pub fn reset(&mut self) {
        self.expected = Expected::First;
        self.at = 0;
        self.larges = 0;
        self.spans.clear();
        if self.spans.capacity() > SPANS_KEPT {
            self.spans = Vec::new();
        }
        self.inline.clear();
        self.inline.shrink_to(INLINE_KEPT);
    }

    /// Whether nothing of a command has been understood.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.expected == Expected::First
    }

    fn inline(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Progress, ParseError> {
        let end = bytes[self.at..].iter().position(|&byte| byte == b'\n');
        let Some(end) = end.map(|end| self.at + end) else {
            self.at = bytes.len();
            if bytes.len() > bounds.inline_len_max {
                return Err(ParseError::InlineTooLong);
            }
            return Ok(Progress::Incomplete);
        };
        if end > bounds.inline_len_max {
            return Err(ParseError::InlineTooLong);
        }
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        let (inline, spans) = (&mut self.inline, &mut self.spans);
        inline::split(line, inline, |at, len| {
            spans.push(Span::Bytes {
                at: at as u32,
                len: len as u32,
            });
        })
        .ok_or(ParseError::UnbalancedQuotes)?;
        Ok(Progress::Complete { consumed: end + 1 })
    }
}

fn check_len(len: i64, bounds: &Bounds) -> Result<usize, ParseError> {
    match usize::try_from(len) {
        Ok(len) if len <= bounds.bulk_len_max => Ok(len),
        Ok(_) => Err(ParseError::ArgumentTooLong {
            len,
            most: bounds.bulk_len_max,
        }),
        Err(_) => Err(ParseError::InvalidLength),
    }
}

/// The number behind the sign at `at` and where the next line begins, if the line is all there.
#[inline]
fn number_line(
    bytes: &[u8],
    at: usize,
    too_long: ParseError,
    invalid: ParseError,
) -> Result<Option<(i64, usize)>, ParseError> {
    // Nearly all numbers have one or two digits.
    let rest = &bytes[at + 1..];
    match *rest {
        [a @ b'0'..=b'9', b'\r', b'\n', ..] => {
            return Ok(Some((i64::from(a - b'0'), at + 4)));
        }
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => {
            let number = i64::from(a - b'0') * 10 + i64::from(b - b'0');
            return Ok(Some((number, at + 5)));
        }
        _ => {}
    }
    let looked_at = &rest[..rest.len().min(NUMBER_LINE_LEN_MAX)];
    let Some(end) = looked_at.iter().position(|&byte| byte == b'\r') else {
        return if rest.len() > NUMBER_LINE_LEN_MAX {
            Err(too_long)
        } else {
            Ok(None)
        };
    };
    if end + 1 >= rest.len() {
        return Ok(None);
    }
    let text = std::str::from_utf8(&rest[..end]).ok();
    let number = text
        .filter(|text| is_number(text))
        .and_then(|text| text.parse().ok());
    match number {
        Some(number) => Ok(Some((number, at + 1 + end + 2))),
        None => Err(invalid),
    }
}

/// Whether Redis reads it as a number: no plus sign, no leading zeros.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0" || (!digits.starts_with(['0', '+', '-']) && !digits.is_empty())
}
