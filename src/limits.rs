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
/// Entries of the expiry queue that one turn looks at to drop stale ones.
pub const EXPIRY_CHECK_SLICE: usize = 4096;
/// Keys that one turn takes away because they expired.
pub const EXPIRY_SLICE: usize = 512;
/// Bytes of dropped tables that one turn frees.
pub const FREE_SLICE_BYTES: usize = 4 << 20;
/// How long a failed preparation of a segment waits before it is tried again, in nanoseconds.
pub const PREPARE_RETRY_NS: u64 = 1_000_000_000;
/// How often at most a shard without writes notes the time in its log because keys expired, in nanoseconds.
pub const TIME_MARK_INTERVAL_NS: u64 = 1_000_000_000;
const _: () = assert!(INDEX_TABLE_SLOTS_MAX.is_power_of_two());
// A slot of the directory names its node by 16 bits.
const _: () = assert!(INDEX_DIRECTORY_BITS_MAX <= 16);
