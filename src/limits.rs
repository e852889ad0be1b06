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

const _: () = assert!(SECTOR_LEN.is_multiple_of(BLOCK_ALIGN));
const _: () = assert!(SEGMENT_LEN_MIN < SEGMENT_LEN_MAX);
