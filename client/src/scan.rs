//! All keys, or those with a prefix, a page at a time.
//!
//! A scan promises: a key that is there from its beginning to its end is returned at least once. A key that comes, goes or
//! changes meanwhile may be returned or not, and a key may be returned more than once. In return a scan costs the server
//! bounded work a page and no memory between pages, and may go on from its cursor after any pause, by another process too.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use corduroy_proto_wire as wire;
use corduroy_proto_wire::{Body, Request, ScanItem, Status};
use thiserror::Error;

use crate::call::Reply;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::limits::PAGE_SIZE_DEFAULT;

/// Where a scan goes on. Valid as long as the server's data directory lives; written as 32 hexadecimal digits.
///
/// ```
/// use corduroy_client::Cursor;
///
/// let cursor: Cursor = "000102030405060708090a0b0c0d0e0f".parse()?;
/// assert_eq!(cursor.to_string(), "000102030405060708090a0b0c0d0e0f");
/// # Ok::<(), corduroy_client::CursorParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(wire::Cursor);

impl Cursor {
    /// The beginning.
    pub const START: Cursor = Cursor(wire::Cursor::START);

    /// From what [`Cursor::to_bytes`] gave.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(wire::Cursor(bytes))
    }

    /// To be kept somewhere.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.to_bytes()))
    }
}

/// The text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a cursor is 32 hexadecimal digits")]
pub struct CursorParseError;

impl FromStr for Cursor {
    type Err = CursorParseError;

    fn from_str(text: &str) -> Result<Self, CursorParseError> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(CursorParseError);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| CursorParseError)?;
        Ok(Self::from_bytes(number.to_be_bytes()))
    }
}

/// One key that a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanEntry {
    /// The key.
    pub key: Bytes,
    /// Its value, if the scan asked for values.
    pub value: Option<Bytes>,
    /// Only grows for a key.
    pub version: u64,
    /// When it was written, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// When it expires, in milliseconds since 1970; `None` if it does not.
    pub expires_at_ms: Option<u64>,
}

/// A scan that is under way. Take it by pages or by entries; both may be mixed.
///
/// A call that is dropped before it is done loses nothing: the next one asks for the same page.
///
/// ```no_run
/// # async fn example(keyspace: corduroy_client::Keyspace) -> corduroy_client::Result<()> {
/// let mut scan = keyspace.scan("user:").with_values(true).page_size(500);
/// while let Some(entry) = scan.next().await? {
///     println!("{:?} = {:?}", entry.key, entry.value);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Scan {
    keyspace: Keyspace,
    prefix: Bytes,
    with_values: bool,
    page_size: u32,
    /// Entries of the current page that [`Scan::next`] has not handed out.
    page: VecDeque<ScanEntry>,
    /// Where the current page began.
    page_start: wire::Cursor,
    /// Where the page after it begins; `None` if there is none.
    next_page: Option<wire::Cursor>,
}

impl Scan {
    pub(crate) fn new(keyspace: Keyspace, prefix: Bytes) -> Self {
        Self {
            keyspace,
            prefix,
            with_values: false,
            page_size: PAGE_SIZE_DEFAULT,
            page: VecDeque::new(),
            page_start: wire::Cursor::START,
            next_page: Some(wire::Cursor::START),
        }
    }

    /// Whether to return values too; by default only keys.
    #[must_use]
    pub fn with_values(mut self, wanted: bool) -> Self {
        self.with_values = wanted;
        self
    }

    /// Most keys in a page: at least 1, and never more than the server allows. A page may hold fewer keys, or none, without
    /// being the last.
    #[must_use]
    pub fn page_size(mut self, keys: u32) -> Self {
        self.page_size = keys.max(1);
        self
    }

    /// Goes on where another scan of the same keyspace and prefix stopped.
    #[must_use]
    pub fn from_cursor(mut self, cursor: Cursor) -> Self {
        self.page.clear();
        self.page_start = cursor.0;
        self.next_page = Some(cursor.0);
        self
    }

    /// Where to go on after everything that has been handed out so far; `None` at the end, when there is nothing to go on to. In
    /// the middle of a page that is the page's beginning, so that nothing is lost, and some keys come again.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        if self.page.is_empty() {
            self.next_page.map(Cursor)
        } else {
            Some(Cursor(self.page_start))
        }
    }

    /// The next page, which may be empty; `None` after the last one.
    ///
    /// # Errors
    ///
    /// See [`crate::Error`]. The same page may be asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ScanEntry>>> {
        if !self.page.is_empty() {
            return Ok(Some(self.page.drain(..).collect()));
        }
        let Some(cursor) = self.next_page else {
            return Ok(None);
        };
        let (entries, next) = self.fetch(cursor).await?;
        self.page_start = cursor;
        self.next_page = (next != wire::Cursor::START).then_some(next);
        Ok(Some(entries))
    }

    /// The next entry; `None` after the last one.
    ///
    /// # Errors
    ///
    /// See [`crate::Error`]. The same entry may be asked for again.
    pub async fn next(&mut self) -> Result<Option<ScanEntry>> {
        loop {
            if let Some(entry) = self.page.pop_front() {
                return Ok(Some(entry));
            }
            match self.next_page().await? {
                Some(entries) => self.page = entries.into(),
                None => return Ok(None),
            }
        }
    }

    async fn fetch(&self, cursor: wire::Cursor) -> Result<(Vec<ScanEntry>, wire::Cursor)> {
        let limit = self.page_size.min(self.keyspace.page_size_max());
        let build = |keyspace| Request::Scan {
            keyspace,
            prefix: &self.prefix,
            cursor,
            limit,
            with_values: self.with_values,
        };
        self.keyspace.call(None, build, page).await
    }
}

fn page(reply: &Reply<'_>) -> Option<(Vec<ScanEntry>, wire::Cursor)> {
    match (&reply.response.status, &reply.response.body) {
        (Status::Ok, Body::Scan { cursor, items }) => Some((
            items.iter().map(|item| entry(reply, item)).collect(),
            *cursor,
        )),
        _ => None,
    }
}

fn entry(reply: &Reply<'_>, item: &ScanItem<'_>) -> ScanEntry {
    ScanEntry {
        key: reply.slice(item.key),
        value: item.value.map(|value| reply.slice(value)),
        version: item.version,
        timestamp_ms: item.timestamp_ms,
        expires_at_ms: item.expires_at_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cursor goes through files and command lines; a digit lost on the way must be noticed, not scanned from.
    #[test]
    fn cursors_survive_being_written_down() {
        for bytes in [[0; 16], [255; 16], *b"0123456789abcdef"] {
            let cursor = Cursor::from_bytes(bytes);
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
            assert_eq!(cursor.to_bytes(), bytes);
        }
        let mut text = Cursor::START.to_string();
        for wrong in [
            "",
            "0",
            "+0000000000000000000000000000000",
            "0000000000000000000000000000000g",
        ] {
            assert_eq!(wrong.parse::<Cursor>(), Err(CursorParseError));
        }
        text.pop();
        assert_eq!(text.parse::<Cursor>(), Err(CursorParseError));
    }
}
