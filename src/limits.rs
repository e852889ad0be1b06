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

/// A batch takes no more commands once its effects take this many bytes: the block that it becomes, with one more command
/// of the largest size, must fit into a segment.
pub const BATCH_ARENA_MAX: usize = 4 << 20;
/// What an emptied batch keeps of its memory, in bytes.
pub const BATCH_ARENA_KEEP: usize = 8 << 20;
/// A batch takes no more commands once it has this many replies waiting.
pub const BATCH_REPLIES_MAX: usize = 65_536;
/// Requests that wait for cold records in a shard, in bytes of requests and of records asked for.
pub const WAITING_BYTES_MAX: usize = 64 << 20;
/// Most cold records that one scan page reads.
pub const SCAN_COLD_READS_MAX: usize = 128;
/// A scan page stops once its keys and values take this many bytes.
pub const SCAN_PAGE_BYTES_MAX: usize = 1 << 20;
/// Most index entries that one step of a scan looks at.
pub const SCAN_STEP_ENTRIES_MAX: usize = 1024;
/// Most partitions that one scan page visits.
pub const SCAN_PAGE_STEPS_MAX: u32 = 256;
/// Keys that one turn takes away because they expired.
pub const EXPIRY_SLICE: usize = 512;
/// Bytes of dropped tables that one turn frees.
pub const FREE_SLICE_BYTES: usize = 4 << 20;
/// How long a failed preparation of a segment waits before it is tried again, in nanoseconds.
pub const PREPARE_RETRY_NS: u64 = 1_000_000_000;
/// How often at most a shard without writes notes the time in its log because keys expired, in nanoseconds.
pub const TIME_MARK_INTERVAL_NS: u64 = 1_000_000_000;
