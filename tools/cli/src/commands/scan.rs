//! `scan`: the keys of a keyspace, a page at a time, until the end, the limit, or Ctrl-C.

use super::Session;
use super::keys::bytes;
use crate::arguments::{ScanArguments, SessionArguments};
use crate::error::Error;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::limits::{SCAN_PAGE_KEYS, SCAN_PAGE_KEYS_WITH_VALUES};
use crate::output::keys::ListedKey;
use crate::output::{Output, Stamp, note};
use corduroy_client::{Cursor, Keyspace, ScanEntry};

pub(super) async fn scan(
    session: &mut Session,
    context: &SessionArguments,
    arguments: ScanArguments,
    output: &mut Output,
) -> Result<Exit, Error> {
    let prefix = bytes("PREFIX", &arguments.prefix, context)?;
    let keyspace = session.keyspace(context).await?;
    let (mut interrupt, _listening) = Interrupt::listen();
    let begin = arguments.cursor.unwrap_or(Cursor::START);
    let mut cursor = begin;
    let mut left = arguments.limit;
    let mut first = true;
    loop {
        let page = tokio::select! {
            biased;
            () = interrupt.wait() => {
                say_cursor(cursor);
                return Ok(Exit::Interrupted);
            }
            page = page(&keyspace, &prefix, arguments.values, page_size(arguments.values, left), cursor) => page,
        };
        let (entries, next) = page.inspect_err(|_| {
            // Before the first page there is nothing to go on after, and a cursor that was given may be what is wrong.
            if cursor != begin {
                say_cursor(cursor);
            }
        })?;
        let keys: Vec<ListedKey> = entries.into_iter().map(ListedKey::from).collect();
        output
            .listed_keys(&keys, arguments.values, first)
            .map_err(Error::Stdout)?;
        first = first && keys.is_empty();
        left = left.map(|left| left.saturating_sub(keys.len() as u64));
        let Some(next) = next else {
            return Ok(Exit::Done);
        };
        cursor = next;
        if left == Some(0) {
            say_cursor(cursor);
            return Ok(Exit::Done);
        }
    }
}

/// A page's keys, never more than are still wanted: the cursor points behind the page, so nothing in it may be left out.
fn page_size(with_values: bool, left: Option<u64>) -> u32 {
    let most = if with_values {
        SCAN_PAGE_KEYS_WITH_VALUES
    } else {
        SCAN_PAGE_KEYS
    };
    left.and_then(|left| u32::try_from(left).ok())
        .map_or(most, |left| left.min(most))
}

async fn page(
    keyspace: &Keyspace,
    prefix: &[u8],
    with_values: bool,
    page_size: u32,
    cursor: Cursor,
) -> Result<(Vec<ScanEntry>, Option<Cursor>), corduroy_client::Error> {
    let mut scan = keyspace
        .scan(prefix)
        .with_values(with_values)
        .page_size(page_size)
        .from_cursor(cursor);
    let entries = scan.next_page().await?.unwrap_or_default();
    Ok((entries, scan.cursor()))
}

/// As a flag, ready to be added to the same command.
fn say_cursor(cursor: Cursor) {
    note(format_args!("there is more: --cursor {cursor}"));
}

impl From<ScanEntry> for ListedKey {
    fn from(entry: ScanEntry) -> Self {
        Self {
            key: entry.key,
            value: entry.value,
            stamp: Stamp {
                version: entry.version,
                timestamp_ms: entry.timestamp_ms,
            },
            expires_at_ms: entry.expires_at_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with more keys than were wanted would be cut, and the cursor would step over what was cut off.
    #[test]
    fn pages_never_exceed_the_limit() {
        assert_eq!(page_size(false, None), SCAN_PAGE_KEYS);
        assert_eq!(page_size(true, None), SCAN_PAGE_KEYS_WITH_VALUES);
        assert_eq!(page_size(false, Some(3)), 3);
        assert_eq!(page_size(false, Some(u64::MAX)), SCAN_PAGE_KEYS);
    }
}
