//! The bounds of the command line client, in one place.
//!
//! What the server bounds (keys, values, requests in flight on a connection) it says in its hello, and the client crate
//! checks that. Here is what this program alone decides: how much of a file it holds in memory at once, and how
//! often it makes progress durable.

use std::time::Duration;

/// Longest line of an import, in bytes. A value of 16 MiB takes at most six times as much as JSON (`\u0000` a byte), and the
/// key, its escapes and the field names fit in what is left.
pub(crate) const LINE_LEN_MAX: usize = 128 << 20;
/// Bytes the import's reader takes from its file at a time.
pub(crate) const READ_LEN: usize = 256 << 10;
/// Lines in one parcel from the reader to the sender, so that the channel between them is not paid for a line at a time.
pub(crate) const PARCEL_LINES_MAX: usize = 512;
/// Bytes after which the reader closes a parcel, however few lines are in it.
pub(crate) const PARCEL_LEN_MAX: usize = 1 << 20;
/// Parcels that wait between the reader and the sender.
pub(crate) const PARCELS_WAITING_MAX: usize = 4;
/// Requests that an import keeps in flight unless told otherwise.
pub(crate) const IN_FLIGHT_DEFAULT: usize = 256;
/// Most requests that an import may be told to keep in flight.
pub(crate) const IN_FLIGHT_MAX: usize = 65_536;
/// Bytes of keys and values that an import keeps in flight; a single larger record goes alone.
pub(crate) const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;
/// Lines that an import remembers beyond the oldest unacknowledged one. A request that hangs while all others are answered
/// stops the import here instead of growing the list without end.
pub(crate) const UNACKNOWLEDGED_LINES_MAX: usize = 1 << 20;
/// Bad lines that an import describes one by one; further ones are counted.
pub(crate) const BAD_LINES_SHOWN_MAX: u64 = 100;
/// Shortest and longest pause before an import or export asks again.
pub(crate) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// See [`RETRY_PAUSE_MIN`].
pub(crate) const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often an import or export writes its state file.
pub(crate) const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes before a checkpoint whose checksum is kept, to notice that a resumed import reads another file.
pub(crate) const FINGERPRINT_LEN: u64 = 4096;
/// Largest state file that is read: a prefix of the longest key, in base64, is the bulk of it.
pub(crate) const STATE_LEN_MAX: u64 = 256 << 10;
/// Keys in a page of `scan` without values.
pub(crate) const SCAN_PAGE_KEYS: u32 = 1000;
/// Keys in a page that carries values: a page is held in memory whole, here and on the server.
pub(crate) const SCAN_PAGE_KEYS_WITH_VALUES: u32 = 256;
/// Bytes of output that a scan or export gathers before it writes.
pub(crate) const WRITE_LEN: usize = 256 << 10;
/// Longest line of a script, in bytes, and so the longest key and value that fit into one.
pub(crate) const SCRIPT_LINE_LEN_MAX: usize = LINE_LEN_MAX;
/// Largest value that is read from standard input, in bytes. The server's own limit is lower (16 MiB at most); this one only
/// keeps a mistaken pipe from filling the memory before the server can refuse.
pub(crate) const STDIN_VALUE_LEN_MAX: u64 = 64 << 20;
/// Lines that the history of the interactive mode keeps.
pub(crate) const HISTORY_LINES_MAX: usize = 10_000;
/// Width of a table where standard output is not a terminal, or says that it is narrower than [`TABLE_WIDTH_MIN`], in columns.
pub(crate) const TABLE_WIDTH_DEFAULT: u16 = 100;
/// Narrowest terminal that a table is fitted to, in columns.
pub(crate) const TABLE_WIDTH_MIN: u16 = 40;
/// Characters of a value that a table shows; the rest is counted. `get -o raw` and `-o json` show all.
pub(crate) const CELL_CHARS_MAX: usize = 1000;

const _: () = assert!(TABLE_WIDTH_MIN <= TABLE_WIDTH_DEFAULT);
const _: () = assert!(READ_LEN <= PARCEL_LEN_MAX);
const _: () = assert!(IN_FLIGHT_DEFAULT <= IN_FLIGHT_MAX);
const _: () = assert!(IN_FLIGHT_MAX <= UNACKNOWLEDGED_LINES_MAX);
const _: () = assert!(SCAN_PAGE_KEYS_WITH_VALUES <= SCAN_PAGE_KEYS);
