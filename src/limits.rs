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
/// Most slots of one table of the index, unless its hashes are all equal. The time of the slowest insert is in proportion to it.
pub const INDEX_TABLE_SLOTS_MAX: usize = 2048;
/// Most hash bits that one level of the index's directory looks at.
pub const INDEX_DIRECTORY_BITS_MAX: u32 = 10;
/// Most tables of the index that one page of a scan looks into, empty ones included.
pub const INDEX_PAGE_TABLES_MAX: usize = 64;
/// Most tables with entries of the index that one page of a scan looks into.
pub const INDEX_PAGE_TABLES_FULL_MAX: usize = 2;
/// Most entries of one bucket of the expiry queue; the time of its slowest insert is in proportion to it.
pub const EXPIRY_BUCKET_LEN_MAX: usize = 256;
/// Below this many entries, stale ones stay in the expiry queue until they are due.
pub const EXPIRY_PASS_LEN_MIN: usize = 1 << 16;
/// How many entries of the expiry queue a shard has checked for each one that it inserts, while a pass is under way.
pub const EXPIRY_CHECKS_PER_INSERT: usize = 4;

const _: () = assert!(SECTOR_LEN.is_multiple_of(BLOCK_ALIGN));
const _: () = assert!(SEGMENT_LEN_MIN < SEGMENT_LEN_MAX);
const _: () = assert!(INDEX_TABLE_SLOTS_MAX.is_power_of_two());
// A slot of the directory names its node by 16 bits.
const _: () = assert!(INDEX_DIRECTORY_BITS_MAX <= 16);
