//! Every bound in one place, and the relations between them, asserted at compile time.

/// Shortest key, in bytes.
pub const KEY_LEN_MIN: usize = 1;
/// Longest key, in bytes.
pub const KEY_LEN_MAX: usize = 65_535;
/// Longest value that a configuration may allow, in bytes; also the default.
pub const VALUE_LEN_MAX: usize = 16 << 20;
/// Most shards in a node.
pub const SHARDS_MAX: usize = 256;
/// Most keyspaces in a node.
pub const KEYSPACES_MAX: usize = 1024;
/// A keyspace's partitions unless told otherwise.
pub const PARTITIONS_DEFAULT: u16 = 64;
/// Most partitions of a keyspace.
pub const PARTITIONS_MAX: u16 = 16_384;
/// Most operations in a batch, and most keys in a scan page.
pub const BATCH_LEN_MAX: usize = 4096;
/// Blocks begin at multiples of this in a segment, so that a block's header never crosses a sector.
pub const BLOCK_ALIGN: usize = 64;
/// What a disk writes wholly or not at all, in bytes.
pub const SECTOR_LEN: usize = 512;
/// Smallest and largest segment, in bytes.
pub const SEGMENT_LEN_MIN: u64 = 1 << 20;
/// See [`SEGMENT_LEN_MIN`].
pub const SEGMENT_LEN_MAX: u64 = 1 << 30;
/// What a segment holds beside two of the longest values: its header, block headers, keys, padding; in bytes.
pub const SEGMENT_SLACK_LEN: u64 = 256 << 10;
/// Longest segment that is chosen when none is asked for, in bytes: preparing one is a write of that length.
pub const SEGMENT_LEN_AUTO_MAX: u64 = 256 << 20;
/// A segment that is chosen takes at most this part of a shard's memory, so that the tail moves in small steps.
pub const SEGMENTS_PER_SHARD_MEMORY: u64 = 16;
/// Segments that a shard keeps in memory at least: the one it fills and the one before it.
pub const TAIL_SEGMENTS_MIN: u64 = 2;
/// What a shard needs beside its tail, in bytes: executor, rings, buffers, the first pages of the index.
pub const SHARD_MEMORY_BASE: u64 = 16 << 20;
/// Least memory that can be asked for, in bytes.
pub const MEMORY_MIN: u64 = 16 << 20;
/// Most memory that can be asked for, in bytes. The machine's is checked besides.
pub const MEMORY_MAX: u64 = 1 << 46;
/// Most connections of a node.
pub const CONNECTIONS_MAX: usize = 1_000_000;
/// Most requests in flight of a connection.
pub const IN_FLIGHT_MAX: usize = 65_536;
/// What a reply holds beside its value, in bytes: key, version, frame.
pub const REPLY_SLACK_LEN: u64 = 128 << 10;
/// Most bytes of replies that may wait for a connection.
pub const OUTPUT_BYTES_MAX: u64 = 1 << 30;
/// Longest configuration file, in bytes.
pub const CONFIG_FILE_LEN_MAX: u64 = 1 << 20;

const _: () = assert!(SEGMENT_LEN_MAX >= 2 * VALUE_LEN_MAX as u64 + SEGMENT_SLACK_LEN);
const _: () = assert!(SEGMENT_LEN_AUTO_MAX >= 2 * VALUE_LEN_MAX as u64 + SEGMENT_SLACK_LEN);
const _: () =
    assert!(SEGMENT_LEN_MIN > SEGMENT_SLACK_LEN && SEGMENT_SLACK_LEN > 2 * KEY_LEN_MAX as u64);
const _: () =
    assert!(SEGMENT_LEN_MIN <= SEGMENT_LEN_AUTO_MAX && SEGMENT_LEN_AUTO_MAX <= SEGMENT_LEN_MAX);
const _: () = assert!(
    OUTPUT_BYTES_MAX >= VALUE_LEN_MAX as u64 + REPLY_SLACK_LEN
        && REPLY_SLACK_LEN > KEY_LEN_MAX as u64
);
const _: () = assert!(SECTOR_LEN.is_multiple_of(BLOCK_ALIGN));
const _: () = assert!(SEGMENT_LEN_MIN < SEGMENT_LEN_MAX);
