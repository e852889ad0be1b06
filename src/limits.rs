//! Every bound in one place, and the relations between them, asserted at compile time.

pub use corduroy_proto_wire::{
    APPEND_LEN_MAX, ATOMIC_LEN_MAX, BATCH_BYTES_MAX, BATCH_LEN_MAX, COMPARE_LEN_MAX, KEY_LEN_MAX,
    PARTITIONS_MAX,
};

/// Shortest key, in bytes.
pub const KEY_LEN_MIN: usize = 1;
/// Longest value that a configuration may allow, in bytes; also the default.
pub const VALUE_LEN_MAX: usize = 16 << 20;
/// Most shards in a node.
pub const SHARDS_MAX: usize = 256;
/// Most keyspaces in a node.
pub const KEYSPACES_MAX: usize = 1024;
/// A keyspace's partitions unless told otherwise.
pub const PARTITIONS_DEFAULT: u16 = 64;
/// Most partitions of all keyspaces of a node together: each takes memory, empty or not.
pub const PARTITIONS_TOTAL_MAX: u32 = 65_536;
/// Blocks begin at multiples of this in a segment, so that a block's header never crosses a sector.
pub const BLOCK_ALIGN: usize = 64;
/// What a disk writes wholly or not at all, in bytes.
pub const SECTOR_LEN: usize = 512;
/// Smallest and largest segment, in bytes.
pub const SEGMENT_LEN_MIN: u64 = 1 << 20;
/// Shortest segment file that is read, in bytes: the simulator's are shorter than any that a node makes.
pub const SEGMENT_LEN_READ_MIN: u64 = 64 << 10;
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
/// Most missing segments that `--salvage` makes up for: each takes a file of a segment's length.
pub const SALVAGE_MISSING_MAX: usize = 1024;
/// When records are looked for among bytes that were given up, checksums are computed over at most so many times their length, and
/// [`REMAINS_CHECKED_MIN`] bytes more: bytes that look like records on purpose would cost their square.
pub const REMAINS_CHECKED_TIMES: u64 = 32;
/// See [`REMAINS_CHECKED_TIMES`].
pub const REMAINS_CHECKED_MIN: u64 = 64 << 20;
/// Most records among those given up of which a repair looks up what becomes of their keys; of the rest it says only that they were there.
pub const REPAIR_KEYS_MAX: usize = 1 << 20;
/// Most places of damage that a check tells one by one, a shard.
pub const CHECK_DAMAGE_MAX: usize = 1000;
/// What a segment holds beside one of the longest values, in bytes: a block takes what a batch had staged
/// ([`BATCH_ARENA_MAX`]) and one more request, the largest put or the largest batch, and it must fit into an empty segment with its headers.
pub const SEGMENT_SLACK_LEN: u64 = 3 << 20;
/// Shortest segment that a configuration may ask for, in bytes. Logs with shorter ones, from [`SEGMENT_LEN_MIN`] on, are read.
pub const SEGMENT_LEN_ASKED_MIN: u64 = (SEGMENT_SLACK_LEN + 2).next_power_of_two();
/// Longest segment that is chosen when none is asked for, in bytes: preparing one is a write of that length.
pub const SEGMENT_LEN_AUTO_MAX: u64 = 64 << 20;
/// A segment that is chosen takes at most this part of a shard's memory, so that the tail moves in small steps.
pub const SEGMENTS_PER_SHARD_MEMORY: u64 = 16;
/// Segments for which a shard has memory at least: the one it fills, as much again for large values in that, and the next one.
pub const TAIL_SEGMENTS_MIN: u64 = 3;
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

const _: () = assert!(SEGMENT_LEN_MAX >= VALUE_LEN_MAX as u64 + SEGMENT_SLACK_LEN);
const _: () = assert!(SEGMENT_LEN_AUTO_MAX >= VALUE_LEN_MAX as u64 + SEGMENT_SLACK_LEN);
const _: () =
    assert!(SEGMENT_LEN_ASKED_MIN > SEGMENT_SLACK_LEN && SEGMENT_LEN_ASKED_MIN >= SEGMENT_LEN_MIN);
const _: () = assert!(SEGMENT_SLACK_LEN > 2 * KEY_LEN_MAX as u64);
const _: () = assert!(
    SEGMENT_LEN_ASKED_MIN <= SEGMENT_LEN_AUTO_MAX && SEGMENT_LEN_AUTO_MAX <= SEGMENT_LEN_MAX
);
const _: () = assert!(
    OUTPUT_BYTES_MAX >= VALUE_LEN_MAX as u64 + REPLY_SLACK_LEN
        && REPLY_SLACK_LEN > KEY_LEN_MAX as u64
);
const _: () = assert!(SECTOR_LEN.is_multiple_of(BLOCK_ALIGN));
const _: () = assert!(SEGMENT_LEN_MIN < SEGMENT_LEN_MAX);

/// Longest text of a number with a fraction, in bytes, as value and as increment.
pub const FLOAT_TEXT_LEN_MAX: usize = corduroy_proto_wire::INCREMENT_LEN_MAX;
/// A number with a fraction whose text is no longer than this, in bytes, and has no large exponent, is read and added in a microsecond or two.
pub const FLOAT_SHORT_LEN: usize = 64;
/// A longer one takes as long as copying about this many bytes.
pub const FLOAT_LONG_COST: usize = 256 << 10;

/// A batch takes no more commands once its effects take this many bytes: the block that it becomes, with one more command
/// of the largest size, must fit into a segment.
pub const BATCH_ARENA_MAX: usize = 1 << 20;
/// A batch takes no more commands once it has this many effects: appending and applying them must not stall the core.
pub const BATCH_EFFECTS_MAX: usize = 2048;
/// What an emptied batch keeps of its memory, in bytes.
pub const BATCH_ARENA_KEEP: usize = 2 << 20;
/// A batch takes no more commands once it has this many replies waiting.
pub const BATCH_REPLIES_MAX: usize = 8192;
/// Requests that wait for cold records in a shard, in bytes of requests and of records asked for.
pub const WAITING_BYTES_MAX: usize = 64 << 20;
/// Frames, and values in them, that are longer than this are kept where they were received and never copied: copying 16 MiB would hold a
/// core up for many milliseconds.
pub const LARGE_LEN: usize = 256 << 10;
/// Memory for large frames that are coming in on a shard's connections, in bytes: while more is asked for, those connections wait. One
/// frame of the largest size is always let in.
pub const LARGE_INPUT_BYTES_MAX: usize = 64 << 20;
/// Bytes of a large record whose checksum one turn goes over.
pub const CHECK_SLICE_BYTES: usize = 1 << 20;
/// Most cold records that one scan page reads.
pub const SCAN_COLD_READS_MAX: usize = 128;
/// A scan page stops once its keys and values take this many bytes; with one more key and value, and what the page says of
/// each, it fits into the smallest largest frame.
pub const SCAN_PAGE_BYTES_MAX: usize = 512 << 10;
/// Most index entries that one step of a scan looks at.
pub const SCAN_STEP_ENTRIES_MAX: usize = 1024;
/// Most partitions that one scan page visits.
pub const SCAN_PAGE_STEPS_MAX: u32 = 256;
/// Entries of the expiry queue that one turn looks at to drop stale ones.
pub const EXPIRY_CHECK_SLICE: usize = 2048;
/// Keys that one turn takes away because they expired.
pub const EXPIRY_SLICE: usize = 512;
/// Bytes of the file of a segment that is compacted that are read at a time; a longer block is read whole.
pub const COMPACT_READ_LEN: u64 = 1 << 20;
/// Bytes of a block in such a file whose checksum one step computes.
pub const COMPACT_CHECK_SLICE: usize = 1 << 20;
/// Records of a segment that is compacted that one turn looks at.
pub const COMPACT_SLICE_RECORDS: usize = 1024;
/// Bytes of them that it goes over, copied ones and others. The last one may be longer.
pub const COMPACT_SLICE_BYTES: u64 = 512 << 10;
/// To pass over a dead record is so many times less work than to copy it, as compaction reckons.
pub const COMPACT_PASSING_SHARE: u64 = 8;
/// The index is gone through for what lives in a segment if it has at most so many entries for each record of the segment.
pub const COMPACT_GATHER_RATIO: u64 = 8;
/// Entries of the index that one turn looks at for that, about.
pub const COMPACT_GATHER_SLICE: usize = 16 << 10;
/// Living records of a segment that are listed; if there are more, the segment is gone through.
pub const COMPACT_GATHER_FOUND_MAX: usize = 64 << 10;
/// Bytes of work that compaction may save up for later.
pub const COMPACT_CREDIT_MAX: u64 = 4 << 20;
/// The same, at least, while an operator waits for a round and clients write.
pub const COMPACT_ROUND_BYTES: u64 = 64 << 10;
/// How often compaction looks for something to do, in nanoseconds, beside when the log has grown by a segment.
pub const COMPACT_LOOK_NS: u64 = 100_000_000;
/// After clients have written nothing for so long the shard has nothing better to do than to compact.
pub const COMPACT_IDLE_NS: u64 = 50_000_000;
/// After a victim was given up for want of room, how long compaction waits.
pub const COMPACT_RETRY_NS: u64 = 1_000_000_000;
/// Bytes that the background scrub reads at a time, and whose checksums one turn computes.
pub const SCRUB_PIECE_BYTES: u64 = 256 << 10;
/// How long it rests after each, at least, in nanoseconds.
pub const SCRUB_REST_NS: u64 = 1_000_000;
/// How often it looks whether there is a log by now, in nanoseconds.
pub const SCRUB_LOOK_NS: u64 = 1_000_000_000;
/// Places of damage that it lists for each shard.
pub const SCRUB_PLACES_MAX: usize = 32;
/// Bytes of records that one block takes when data moves to another number of shards, unless one record alone is longer.
pub const RESHARD_BLOCK_BYTES: usize = 1 << 20;
/// Records of such a block.
pub const RESHARD_BLOCK_RECORDS: usize = 16 << 10;
/// What a delete takes that stands for a record whose time has passed, as compaction reckons.
pub const EXPIRED_TOMBSTONE_LEN: u32 = 64;
/// Bytes of dropped tables that one turn frees. Each entry in them is counted out of its segment.
pub const FREE_SLICE_BYTES: usize = 512 << 10;
/// How long a failed preparation of a segment waits before it is tried again, in nanoseconds.
pub const PREPARE_RETRY_NS: u64 = 1_000_000_000;
/// Of the active segment writes leave one part in so many, once the next segment could not be made: the reserve for a full disk.
pub const RESERVE_WRITE_SHARE: u64 = 2;
/// The same, while it is being made.
pub const RESERVE_UNKNOWN_SHARE: u64 = 4;
/// Of the reserve deletes leave this part of the segment, to compaction and a clean stop.
pub const RESERVE_DELETE_SHARE: u64 = 8;
/// What copying a segment takes at least beside what lives in it, in bytes, as compaction reckons on a full disk.
pub const RESERVE_COPY_SLACK: u64 = 4096;
/// How often at most a shard without writes notes the time in its log because keys expired, in nanoseconds.
pub const TIME_MARK_INTERVAL_NS: u64 = 1_000_000_000;
const _: () = assert!(INDEX_TABLE_SLOTS_MAX.is_power_of_two());
const _: () = assert!(
    RESERVE_WRITE_SHARE < RESERVE_UNKNOWN_SHARE && RESERVE_UNKNOWN_SHARE < RESERVE_DELETE_SHARE
);
// A slot of the directory names its node by 16 bits.
const _: () = assert!(INDEX_DIRECTORY_BITS_MAX <= 16);

/// Request bytes, and apart from them reply bytes, that one shard may have outstanding with another before it pauses.
pub const MESH_WINDOW_BYTES: usize = 512 << 10;
/// Internal commands that one batch to another shard holds before no more requests are taken.
pub const MESH_COMMANDS_MAX: usize = 4096;
/// Batches that a channel between two shards holds.
pub const MESH_CHANNEL_BATCHES: usize = 256;
/// What an emptied connection buffer keeps of its memory, in bytes.
pub const CONNECTION_BUFFER_KEEP: usize = 64 << 10;
/// Output that is sent and not removed from the buffer yet, at most about this many bytes or half of the buffer.
pub const OUTPUT_COMPACT_BYTES: usize = 256 << 10;
/// No more requests of a connection are worked off while this much of its output is unsent.
pub const OUTPUT_HIGH_WATER: usize = 1 << 20;
/// Most arguments of a RESP client's command.
pub const RESP_ARGS_MAX: usize = 65_536;
/// Most bytes of a RESP client's command beside its large arguments, and of its large arguments beside the first.
pub const RESP_COMMAND_BYTES_MAX: usize = 4 << 20;
/// Longest inline command, in bytes.
pub const RESP_INLINE_BYTES_MAX: usize = 64 << 10;
/// Room before a RESP client's large argument for the head of the native frame that it becomes, in bytes: the longest key, and a value to
/// compare with that is not long.
pub const RESP_HEAD_LEN: usize = 68 << 10;
/// The line break behind a RESP client's argument, in bytes.
pub const RESP_LINE_END_LEN: usize = 2;
const _: () = assert!(RESP_HEAD_LEN > KEY_LEN_MAX + 64);
/// Most bytes that one connection is offered to send in a turn: copying them into the kernel must not stall the core.
pub const SEND_SLICE_BYTES: usize = 256 << 10;
/// A client may take its patience again for each of this many bytes of a frame.
pub const SLOW_UPLOAD_BYTES: u64 = 256 << 10;
/// What a batch's answer takes beside its values, in bytes.
pub const BATCH_REPLY_SLACK: usize = 256 << 10;
/// Most bytes of values in a batch's answer, which must fit into the largest frame.
#[must_use]
pub fn batch_values_max(value_len_max: usize) -> usize {
    let frame_len_max = corduroy_proto_wire::frame_len_max_least(value_len_max as u32) as usize;
    BATCH_BYTES_MAX.min(frame_len_max - BATCH_REPLY_SLACK)
}
/// Multi-part requests that a shard coordinates at a time.
pub const GATHERS_MAX: usize = 65_536;
/// Frames of a connection whose keys are looked for in memory before the first of them is evaluated.
pub const LOOK_AHEAD_FRAMES: usize = 16;
/// How often connections are looked over for timeouts, in nanoseconds.
pub const HOUSEKEEPING_NS: u64 = 500_000_000;
/// Places of connections that one turn looks over.
pub const HOUSEKEEPING_SLICE: usize = 1024;
/// Input that a connection may leave unread in memory beside one frame of the largest size.
pub const RECEIVE_SLICE_BYTES: usize = 64 << 10;

/// Bytes of waiting connections' input that one turn works off before it lets others run.
pub const TURN_INPUT_BYTES: usize = 128 << 10;
/// Bytes that a shard receives, of all its connections, before it ends the turn.
pub const TURN_RECEIVE_BYTES: usize = 64 << 10;
/// Operations of a batch that one turn works off before it lets others run.
pub const BATCH_SLICE_LEN: usize = 256;
/// Bytes of other shards' requests that one turn works off before it lets others run. It is a small part of [`MESH_WINDOW_BYTES`], because
/// answers are longer than requests, and a shard whose turn fills the window waits for the other's next turn, which then does the same.
pub const TURN_MESH_BYTES: usize = 64 << 10;
/// How long answers to a connection wait for those to its gets that other shards have in hand, in nanoseconds, so that they leave together.
pub const HOLD_NS: u64 = 1_000_000;
/// Answers that wait for others take at most this many bytes.
pub const HOLD_BYTES_MAX: usize = 16 << 10;
/// Connections that one turn offers output to before it lets others run.
pub const TURN_SENDS_MAX: usize = 128;
/// Bytes that one turn sends, of all its connections, before it lets others run: the kernel copies them.
pub const TURN_SEND_BYTES: usize = 512 << 10;
/// Bytes of cold records that one turn asks the disk for before it lets others run: what is in the page cache the kernel copies at once.
pub const TURN_READ_BYTES: usize = 1 << 20;

/// Records of one partition that a start merges at a time, about: they shall stay in a core's cache.
pub const SUMMARY_MERGE_RECORDS: usize = 1 << 15;
/// Where there is compaction, a segment's summary waits until more than so many younger segments were left, or clients are quiet.
pub const SUMMARY_AGE_SEGMENTS: u64 = 2;
/// A left segment is read for its summary, and into memory, in pieces of this many bytes, or of a block if that is longer.
pub const CONTENT_PIECE_BYTES: usize = 1 << 20;

/// Segment files that a shard keeps open.
pub const SEGMENT_FILES_OPEN_MAX: usize = 256;
/// The threads that write to the log and make segments ready do so in slices of this many bytes, and let others have their core in between.
pub const WRITE_SLICE_BYTES: usize = 128 << 10;
/// Where nobody waits for their sync, blocks are written past the page cache from this mean length on, until it has fallen to half of that.
pub const DIRECT_FROM_MEAN: usize = 24 << 10;
/// An executor that finds nothing to do blocks its thread for so long at most before it lets glommio sleep.
pub const NAP_NS: u64 = 1_000_000;
/// Bytes of a shard's log that may be in memory that outlives the process and not in the file yet, where nobody waits for syncs.
pub const WRITE_BEHIND_LEN: usize = 2 << 20;
/// From so many of them on they are written to the file at once,
pub const WRITE_BEHIND_FLUSH_LEN: u64 = 512 << 10;
/// and after this time in any case, in nanoseconds.
pub const WRITE_BEHIND_NS: u64 = 10_000_000;
const _: () = assert!(WRITE_BEHIND_FLUSH_LEN < WRITE_BEHIND_LEN as u64);
const _: () = assert!(WRITE_BEHIND_LEN as u64 <= SHARD_MEMORY_BASE / 4);
/// Bytes that are written past the page cache at a time.
pub const DIRECT_SLICE_BYTES: usize = 256 << 10;
/// A new segment is filled with zeros in writes of this many bytes.
pub const PREPARE_SLICE_BYTES: u64 = WRITE_SLICE_BYTES as u64;
/// A new segment is synced whenever this many bytes more are written, so that the shard's own syncs don't wait for all of it.
pub const PREPARE_SYNC_BYTES: u64 = 4 << 20;
/// How soon a batch is offered again to a shard whose channel was full, in nanoseconds.
pub const MESH_RETRY_NS: u64 = 1_000_000;
/// Connections that wait to be accepted by the node, in the kernel.
pub const ACCEPT_BACKLOG: i32 = 4096;
/// Most connections that one look at an executor's epoll set answers for.
pub const READY_EVENTS_MAX: usize = 256;
/// How long a connection that the node has closed may go on sending before its socket is closed, in nanoseconds.
pub const LINGER_NS: u64 = 1_000_000_000;
/// How much it may send until then, in bytes.
pub const LINGER_BYTES: usize = 1 << 20;
/// Connections of the admin HTTP at a time; one more takes the place of the one that came first.
pub const ADMIN_CONNECTIONS_MAX: usize = 32;
/// Longest request line and headers of the admin HTTP, in bytes, and most headers.
pub const ADMIN_REQUEST_LEN_MAX: usize = 16 << 10;
/// See [`ADMIN_REQUEST_LEN_MAX`].
pub const ADMIN_HEADERS_MAX: usize = 64;
/// Longest status that the admin HTTP takes from its own node, in bytes.
pub const ADMIN_STATUS_LEN_MAX: u32 = 64 << 20;
/// Longest manifest of a backup that is read, in bytes.
pub const BACKUP_MANIFEST_LEN_MAX: u64 = 256 << 20;
/// Most backups of a series that can be asked to be kept.
pub const BACKUPS_KEPT_MAX: usize = 1_000_000;
/// How long a node waits before it tries again to take a backup that was due and failed, in nanoseconds.
pub const BACKUP_RETRY_NS: u64 = 60_000_000_000;
/// Backups that wait for their turn.
pub const BACKUPS_WAITING_MAX: usize = 16;
/// Bytes of a file that a backup reads at a time.
pub const BACKUP_PIECE_BYTES: usize = 1 << 20;
/// How many bytes a backup copies before it has them synced: neither the page cache nor the disk's queue fills up with them.
pub const BACKUP_SYNC_BYTES: u64 = 8 << 20;
/// Most nanoseconds that a backup rests after a piece. It rests for as long as the piece took: half of what the disk gives stays for the node.
pub const BACKUP_REST_NS_MAX: u64 = 50_000_000;
/// Longest manifest that is read, in bytes.
pub const MANIFEST_LEN_MAX: u64 = 64 << 10;
/// Descriptors that a node needs beside its shards and connections: listeners, lock, log, signals, the admin HTTP's connections, each with one to the
/// node itself, and some to spare.
pub const NODE_DESCRIPTORS: u64 = 40 + 2 * ADMIN_CONNECTIONS_MAX as u64;
/// Descriptors that a shard needs beside its connections: rings, notifier, segment files.
pub const SHARD_DESCRIPTORS: u64 = SEGMENT_FILES_OPEN_MAX as u64 + 16;
// A unit has two effects a request at most, a move's.
const _: () = assert!(2 * ATOMIC_LEN_MAX <= BATCH_LEN_MAX);
// A block of what was staged and one more batch fits beside one of the longest values.
const _: () = assert!(
    SEGMENT_SLACK_LEN
        > (BATCH_ARENA_MAX + BATCH_BYTES_MAX) as u64
            + (BATCH_LEN_MAX as u64 + BATCH_EFFECTS_MAX as u64) * 128
);

/// Bytes that the commands of one open transaction take at most. Their number is bounded by [`ATOMIC_LEN_MAX`].
pub const TRANSACTION_BYTES_MAX: usize = 1 << 20;
/// Most keys that one connection watches.
pub const WATCHED_KEYS_MAX: usize = ATOMIC_LEN_MAX;
/// Most bytes of keys that one connection watches.
pub const WATCHED_BYTES_MAX: usize = 1 << 20;
/// Longest name of a client, of its library and of that library's version, in bytes.
pub const CLIENT_TEXT_LEN_MAX: usize = 1024;
/// Longest argument of a Redis client, in bytes, as CONFIG GET proto-max-bulk-len says it. What a value may hold is `value_len_max`.
pub const BULK_LEN_MAX: usize = 512 << 20;
/// Longest pause that DEBUG SLEEP makes, in nanoseconds.
pub const DEBUG_SLEEP_NS_MAX: u64 = 3600 * 1_000_000_000;
/// Ends of DEBUG SLEEPs that a shard is woken for.
pub const DEBUG_SLEEPS_MAX: usize = 1024;
/// Connections of a shard that CLIENT LIST tells of and CLIENT KILL looks at.
pub const CLIENT_LIST_MAX: usize = 1000;
/// Entries of the slow log unless told otherwise.
pub const SLOWLOG_LEN: u64 = 128;
/// Redis clients' commands that take longer are in the slow log unless told otherwise, in microseconds.
pub const SLOWLOG_SLOWER_THAN_US: i64 = 10_000;
/// Most entries of a slow log: all of them are told of in one turn.
pub const SLOWLOG_LEN_MAX: usize = 1024;
/// Bytes of a command without an answer that are kept for the slow log.
pub const SLOWLOG_KEPT_LEN_MAX: usize = 1 << 10;
/// The same of all commands of a connection. Where that is full, the slow log shows a command's name alone.
pub const SLOWLOG_KEPT_BYTES_MAX: usize = 64 << 10;
const _: () = assert!(TRANSACTION_BYTES_MAX <= BATCH_BYTES_MAX);
