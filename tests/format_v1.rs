//! Version 1 of the on-disk format is read for ever: a small log that this version wrote is kept in
//! `tests/fixtures/format-v1/`, and this test reads it as a later release would.
//!
//! The files are a shard's segments without the zeros at their ends, which the test puts back. `listing.txt`
//! says what is in them, a line a record. A new version of the format adds a directory of its own; this one is
//! never written again.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use corduroy::limits::{SECTOR_LEN, SEGMENT_LEN_MIN};
use corduroy::storage::format::{
    BLOCK_HEADER_LEN, BlockHeader, BlockKind, ENTRY_HEADER_LEN, Entry, EntryHeader, EntryKind,
    FORMAT_VERSION, LogTag, Record, RecordAt, RecordKind, SEGMENT_HEADER_LEN, SegmentHeader,
    SegmentState, block_len,
};
use corduroy::storage::recovery::{Identity, Recovered, Repair, SegmentFile, Visitor, recover};
use corduroy::types::{KeyspaceId, PartitionId, Position, SegmentId, ShardId, Version, WallMillis};

const IDENTITY: Identity = Identity {
    node: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
    shard: ShardId(1),
    shard_count: 2,
};
const TAG: LogTag = LogTag(0x1357_9bdf);
const CREATED: WallMillis = WallMillis(1_767_225_600_000);

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-v1")
}

/// Lists what it sees.
#[derive(Default)]
struct Listing(String);

impl Visitor for Listing {
    fn entry(&mut self, entry: &Entry<'_>) {
        let EntryHeader {
            partition,
            records,
            len,
            term,
            index,
            ..
        } = entry.header;
        let (keyspace, partition) = (partition.keyspace.0, partition.index);
        let at = entry.position;
        writeln!(self.0, "{at} entry keyspace={keyspace} partition={partition} records={records} len={len} term={term} index={index}")
            .expect("a string takes all");
    }

    fn record(&mut self, _: PartitionId, at: &RecordAt<'_>) {
        let Record {
            kind,
            key,
            value,
            version,
            timestamp,
            expiry,
            ..
        } = at.record;
        let value = match value.iter().position(|byte| *byte != 0) {
            None if value.len() > 100 => format!("{} zeros", value.len()),
            _ => format!("\"{}\"", value.escape_ascii()),
        };
        let (position, version, timestamp) = (at.position, version.0, timestamp.0);
        let key = match key.len() {
            0..=100 => format!("\"{}\"", key.escape_ascii()),
            len => format!("{len} bytes"),
        };
        writeln!(self.0, "{position}   {kind:?} {key} {value} version={version} timestamp={timestamp} expiry={:?}", expiry.map(|expiry| expiry.0))
            .expect("a string takes all");
    }
}

fn list(files: &[(u64, Vec<u8>)]) -> (Recovered, String) {
    let names: Vec<String> = files.iter().map(|(id, _)| name(*id)).collect();
    let files: Vec<SegmentFile<'_>> = files
        .iter()
        .zip(&names)
        .map(|((id, bytes), name)| SegmentFile {
            id: SegmentId(*id),
            name,
            bytes,
        })
        .collect();
    let mut listing = Listing::default();
    let recovered =
        recover(&IDENTITY, false, &files, &mut listing).expect("the fixture is a sound log");
    (recovered, listing.0)
}

fn name(segment: u64) -> String {
    format!("{}.segment", SegmentId(segment))
}

/// Somebody upgrades. Every record of the old log must be there, and the log must go on where it ended.
#[test]
fn a_log_of_version_1_is_read() {
    let files: Vec<(u64, Vec<u8>)> = (1..=3)
        .map(|segment| {
            let mut bytes = fs::read(directory().join(name(segment)))
                .expect("the fixture is part of the repository");
            bytes.resize(SEGMENT_LEN_MIN as usize, 0);
            (segment, bytes)
        })
        .collect();
    let (recovered, listing) = list(&files);
    let expected = fs::read_to_string(directory().join("listing.txt"))
        .expect("the fixture is part of the repository");
    assert_eq!(listing, expected);
    assert_eq!(recovered.log, Some(TAG));
    assert_eq!(
        recovered
            .segments
            .iter()
            .map(|segment| segment.id.0)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(recovered.next_sequence, 8);
    assert_eq!(recovered.timestamp_max, WallMillis(CREATED.0 + 106));
    assert!(recovered.clean);
    assert_eq!(
        recovered.repairs,
        [Repair::Delete {
            segment: SegmentId(3)
        }]
    );
}

/// As long as this program writes version 1, it writes exactly these bytes: else logs exist that claim to be
/// version 1 and that older releases can't read.
#[test]
fn version_1_is_still_written_as_it_was() {
    assert_eq!(FORMAT_VERSION, 1);
    for (segment, written) in log() {
        let kept = fs::read(directory().join(name(segment)))
            .expect("the fixture is part of the repository");
        assert!(kept == trim(&written), "segment {segment} differs");
    }
}

#[test]
#[ignore = "writes the fixture: only for a version that was not released yet"]
fn write_the_fixture() {
    fs::create_dir_all(directory()).expect("a directory");
    let files = log();
    for (segment, bytes) in &files {
        fs::write(directory().join(name(*segment)), trim(bytes)).expect("a file");
    }
    fs::write(directory().join("listing.txt"), list(&files).1).expect("a file");
}

fn trim(bytes: &[u8]) -> &[u8] {
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    &bytes[..used]
}

/// All that version 1 can hold, once: every kind of block, entry and record, keys and values at their limits, a
/// range given up.
fn log() -> Vec<(u64, Vec<u8>)> {
    let mut log = Log {
        files: Vec::new(),
        base: 0,
        end: 0,
        sequence: 1,
        durable: 0,
        index: 0,
    };
    log.begin_segment();
    log.data(&[(0, 0, vec![(RecordKind::Set, b"keyspace", b"orders", None)])]);
    log.data(&[
        (
            1,
            3,
            vec![
                (RecordKind::Set, b"key", b"value", None),
                (RecordKind::Set, b"session", b"abc", Some(1_767_225_660_000)),
            ],
        ),
        (1, 63, vec![(RecordKind::Delete, b"gone", b"", None)]),
    ]);
    log.data(&[(
        1,
        3,
        vec![
            (RecordKind::Set, b"\x00\xff binary", b"", None),
            (RecordKind::Set, b"zeros", &[0; 2000], None),
        ],
    )]);
    log.skip(200);
    log.durable = log.end;
    log.begin_segment();
    log.data(&[(7, 16_383, vec![(RecordKind::Clear, b"", b"", None)])]);
    log.durable = log.end;
    log.data(&[(
        1,
        0,
        vec![(RecordKind::Set, &[b'k'; 65_535], b"the longest key", None)],
    )]);
    log.durable = log.end;
    log.block(BlockKind::Seal, 0, vec![0; BLOCK_HEADER_LEN]);
    log.prepare(3);
    log.files
}

type Effects<'a> = Vec<(RecordKind, &'a [u8], &'a [u8], Option<u64>)>;

struct Log {
    files: Vec<(u64, Vec<u8>)>,
    base: u64,
    end: u64,
    sequence: u64,
    durable: u64,
    index: u64,
}

impl Log {
    fn header(segment: u64, state: SegmentState) -> [u8; SECTOR_LEN] {
        SegmentHeader {
            node: IDENTITY.node,
            shard: IDENTITY.shard,
            shard_count: IDENTITY.shard_count,
            log: TAG,
            segment: SegmentId(segment),
            segment_len: SEGMENT_LEN_MIN,
            created: CREATED,
            state,
        }
        .encode()
    }

    fn prepare(&mut self, segment: u64) {
        let mut file = vec![0; SEGMENT_LEN_MIN as usize];
        file[..SECTOR_LEN].copy_from_slice(&Log::header(segment, SegmentState::Prepared));
        self.files.push((segment, file));
    }

    fn begin_segment(&mut self) {
        let segment = self.files.len() as u64 + 1;
        self.prepare(segment);
        self.base = self.end;
        let header = Log::header(
            segment,
            SegmentState::Active {
                base: Position(self.base),
            },
        );
        self.files.last_mut().expect("just made").1[..SECTOR_LEN].copy_from_slice(&header);
    }

    fn data(&mut self, entries: &[(u32, u16, Effects<'_>)]) {
        let mut block = vec![0; BLOCK_HEADER_LEN];
        for (keyspace, partition, effects) in entries {
            self.index += 1;
            let start = block.len();
            block.resize(start + ENTRY_HEADER_LEN, 0);
            for (kind, key, value, expiry) in effects {
                let at = block.len();
                let version = Version(self.index * 10);
                let timestamp = WallMillis(CREATED.0 + 100 + self.index);
                Record {
                    kind: *kind,
                    key,
                    value,
                    version,
                    timestamp,
                    expiry: expiry.map(WallMillis),
                    origin: None,
                }
                .encode(&mut block);
                Record::seal(&mut block[at..], Position(self.end + at as u64));
            }
            let header = EntryHeader {
                partition: PartitionId {
                    keyspace: KeyspaceId(*keyspace),
                    index: *partition,
                },
                kind: EntryKind::Effects,
                records: effects.len() as u32,
                len: (block.len() - start - ENTRY_HEADER_LEN) as u32,
                term: 0,
                index: self.index,
            };
            header.encode(block[start..].first_chunk_mut().expect("room was made"));
        }
        self.block(BlockKind::Data, entries.len() as u32, block);
    }

    /// A range that was given up: what is in it doesn't matter.
    fn skip(&mut self, len: usize) {
        let start = self.end;
        self.block(BlockKind::Skip, 0, vec![0; BLOCK_HEADER_LEN + len]);
        let offset = SEGMENT_HEADER_LEN + (start - self.base) as usize + BLOCK_HEADER_LEN;
        self.files.last_mut().expect("begun").1[offset..offset + len].fill(0xBA);
    }

    fn block(&mut self, kind: BlockKind, entries: u32, mut block: Vec<u8>) {
        let payload_len = block.len() - BLOCK_HEADER_LEN;
        block.resize(block_len(payload_len), 0);
        let header = BlockHeader {
            kind,
            log: TAG,
            position: Position(self.end),
            sequence: self.sequence,
            durable: Position(self.durable),
            written: WallMillis(CREATED.0 + self.sequence),
            entries,
            payload_len: payload_len as u32,
            payload_crc: 0,
            zero_sectors: 0,
        };
        header.seal(&mut block, Position(self.base));
        let offset = SEGMENT_HEADER_LEN + (self.end - self.base) as usize;
        self.files.last_mut().expect("begun").1[offset..offset + block.len()]
            .copy_from_slice(&block);
        self.end += block.len() as u64;
        self.sequence += 1;
    }
}
