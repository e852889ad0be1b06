//! A shard's writer on a disk that forgets, and what it takes to compare what it wrote with what recovery finds.
//!
//! [`Writer`] appends blocks as a shard does: contiguous positions, one write at a time, a new segment only
//! when all before is synced. Its disk keeps what was synced and the list of writes since. [`Writer::crash`]
//! gives an image in which each sector that was in flight holds its bytes as of some moment since the last
//! sync, chosen independently of all others: every order in which a disk may have written them.

mod crash;
mod damage;
mod files;
mod salvage;
mod saved;
mod stubs;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use super::{Identity, Recovered, RecoveryError, Repair, SegmentFile, Visitor, recover};
use crate::limits::{SECTOR_LEN, SEGMENT_LEN_MIN};
use crate::storage::format::{
    BLOCK_HEADER_LEN, BlockHeader, BlockKind, ENTRY_HEADER_LEN, Entry, EntryHeader, EntryKind,
    LogTag, Record, RecordAt, RecordKind, Records, SEGMENT_HEADER_LEN, SegmentHeader, SegmentState,
    block_len,
};
use crate::types::{KeyspaceId, PartitionId, Position, SegmentId, ShardId, Version, WallMillis};

const IDENTITY: Identity = Identity {
    node: 0x00c0_ffee,
    shard: ShardId(1),
    shard_count: 4,
};
const TAG: LogTag = LogTag(0x5eed_1065);
const LEN: usize = SEGMENT_LEN_MIN as usize;

/// Files by segment number.
type Image = BTreeMap<u64, Vec<u8>>;

/// A record as its writer or a visitor knew it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    partition: u16,
    position: u64,
    len: u32,
    kind: RecordKind,
    key: Vec<u8>,
    value: Vec<u8>,
    version: u64,
    expiry: Option<u64>,
}

impl Known {
    fn new(partition: PartitionId, at: &RecordAt<'_>) -> Known {
        Known {
            partition: partition.index,
            position: at.position.0,
            len: at.len,
            kind: at.record.kind,
            key: at.record.key.to_vec(),
            value: at.record.value.to_vec(),
            version: at.record.version.0,
            expiry: at.record.expiry.map(|expiry| expiry.0),
        }
    }
}

#[derive(Default)]
struct Seen(Vec<Known>);

impl Visitor for Seen {
    fn entry(&mut self, entry: &Entry<'_>) {
        assert_eq!(entry.header.partition.keyspace, KeyspaceId::DEFAULT);
    }

    fn record(&mut self, partition: PartitionId, record: &RecordAt<'_>) {
        self.0.push(Known::new(partition, record));
    }
}

/// What the files of an image are called.
fn names(image: &Image) -> Vec<String> {
    image
        .keys()
        .map(|id| format!("{}.segment", SegmentId(*id)))
        .collect()
}

/// The files of an image, as recovery takes them.
fn segment_files<'a>(image: &'a Image, names: &'a [String]) -> Vec<SegmentFile<'a>> {
    image
        .iter()
        .zip(names)
        .map(|((id, bytes), name)| SegmentFile {
            id: SegmentId(*id),
            name,
            bytes,
        })
        .collect()
}

/// Recovers an image.
fn run(image: &Image, salvage: bool) -> Result<(Recovered, Vec<Known>), RecoveryError> {
    let names = names(image);
    let files = segment_files(image, &names);
    let mut seen = Seen::default();
    let recovered = recover(&IDENTITY, salvage, &files, &mut seen)?;
    Ok((recovered, seen.0))
}

/// Carries out repairs; of those that write, only the sectors for which `keep` says so, and the same for deletions.
fn repair(image: &mut Image, repairs: &[Repair], mut keep: impl FnMut() -> bool) {
    let mut lost = BTreeSet::new();
    for repair in repairs {
        let (segment, offset, bytes) = match repair {
            Repair::Zero {
                segment,
                offset,
                len,
            } => (segment, *offset, vec![0; *len as usize]),
            Repair::Write {
                segment,
                offset,
                bytes,
            } => (segment, *offset, bytes.clone()),
            Repair::Extend { segment, len } => {
                let file = image
                    .get_mut(&segment.0)
                    .expect("repairs name files that are there");
                // It waits for what comes before it to be synced.
                if !lost.contains(segment) && keep() {
                    file.resize(*len as usize, 0);
                }
                continue;
            }
            Repair::Truncate { segment, len } => {
                let file = image
                    .get_mut(&segment.0)
                    .expect("repairs name files that are there");
                if !lost.contains(segment) && keep() {
                    file.truncate(*len as usize);
                }
                continue;
            }
            Repair::Create { segment } => {
                image.entry(segment.0).or_default();
                continue;
            }
            Repair::Delete { segment } => {
                // It is on disk before anything else is done.
                if !keep() {
                    return;
                }
                image.remove(&segment.0);
                continue;
            }
        };
        let file = image
            .get_mut(&segment.0)
            .expect("repairs name files that are there");
        let end = offset as usize + bytes.len();
        let mut at = offset as usize;
        while at < end {
            let sector_end = ((at + 1).next_multiple_of(SECTOR_LEN)).min(end);
            if keep() {
                let from = at - offset as usize;
                if file.len() < sector_end {
                    file.resize(sector_end, 0);
                }
                file[at..sector_end].copy_from_slice(&bytes[from..from + sector_end - at]);
            } else {
                lost.insert(segment);
            }
            at = sector_end;
        }
    }
}

/// A small generator of numbers that a seed repeats (SplitMix64: Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

struct Write {
    file: u64,
    offset: usize,
    bytes: Vec<u8>,
}

struct Writer {
    /// What a power loss can't take.
    synced: Image,
    /// Since then, in order.
    in_flight: Vec<Write>,
    segment: u64,
    base: u64,
    end: u64,
    sequence: u64,
    durable: u64,
    /// The records of each block with them, in order, and where the block ends.
    blocks: Vec<(u64, Vec<Known>)>,
    versions: u64,
}

impl Writer {
    /// A new log: the first segment is active, the second prepared.
    fn new() -> Writer {
        let mut writer = Writer {
            synced: Image::new(),
            in_flight: Vec::new(),
            segment: 0,
            base: 0,
            end: 0,
            sequence: 1,
            durable: 0,
            blocks: Vec::new(),
            versions: 0,
        };
        writer.prepare(1);
        writer.rotate();
        writer.sync();
        writer
    }

    /// Goes on where a recovery ended, on a disk that has carried out its repairs and synced them.
    fn resume(
        image: Image,
        recovered: &Recovered,
        blocks: Vec<(u64, Vec<Known>)>,
        versions: u64,
    ) -> Writer {
        let mut writer = Writer {
            synced: image,
            in_flight: Vec::new(),
            segment: 0,
            base: 0,
            end: recovered.end.0,
            sequence: recovered.next_sequence,
            durable: recovered.end.0,
            blocks,
            versions,
        };
        match recovered.segments.last() {
            Some(last) => {
                (writer.segment, writer.base) = (last.id.0, last.base.0);
                writer.prepare(last.id.0 + 1);
            }
            None => {
                writer.prepare(1);
                writer.rotate();
            }
        }
        writer
    }

    fn header(segment: u64, state: SegmentState) -> SegmentHeader {
        SegmentHeader {
            node: IDENTITY.node,
            shard: IDENTITY.shard,
            shard_count: IDENTITY.shard_count,
            log: TAG,
            segment: SegmentId(segment),
            segment_len: SEGMENT_LEN_MIN,
            created: WallMillis(1_700_000_000_000),
            state,
        }
    }

    fn prepare(&mut self, segment: u64) {
        let mut file = vec![0; LEN];
        file[..SECTOR_LEN]
            .copy_from_slice(&Writer::header(segment, SegmentState::Prepared).encode());
        self.synced.insert(segment, file);
    }

    /// Begins the next segment. Everything before is synced first; the active header is in flight with the
    /// first block.
    fn rotate(&mut self) {
        self.sync();
        self.segment += 1;
        self.base = self.end;
        let header = Writer::header(
            self.segment,
            SegmentState::Active {
                base: Position(self.base),
            },
        );
        self.write(self.segment, 0, header.encode().to_vec());
        self.prepare(self.segment + 1);
    }

    fn write(&mut self, file: u64, offset: usize, bytes: Vec<u8>) {
        self.in_flight.push(Write {
            file,
            offset,
            bytes,
        });
    }

    fn sync(&mut self) {
        for write in self.in_flight.drain(..) {
            let file = self
                .synced
                .get_mut(&write.file)
                .expect("segments are prepared");
            file[write.offset..write.offset + write.bytes.len()].copy_from_slice(&write.bytes);
        }
        self.durable = self.end;
    }

    /// Appends a block with one set for each value.
    fn append(&mut self, values: &[Vec<u8>]) {
        let mut block = vec![0; BLOCK_HEADER_LEN];
        let position = self.end;
        let mut known = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let partition = PartitionId {
                keyspace: KeyspaceId::DEFAULT,
                index: index as u16,
            };
            let start = block.len() + ENTRY_HEADER_LEN;
            block.resize(start, 0);
            self.versions += 1;
            let key = format!("key {}", self.versions);
            let record = Record {
                kind: RecordKind::Set,
                key: key.as_bytes(),
                value,
                version: Version(self.versions),
                timestamp: WallMillis(1_700_000_000_000 + self.versions),
                expiry: (value.len() % 2 == 1).then_some(WallMillis(1_800_000_000_000)),
                origin: None,
            };
            record.encode(&mut block);
            Record::seal(&mut block[start..], Position(position + start as u64));
            let header = EntryHeader {
                partition,
                kind: EntryKind::Effects,
                records: 1,
                len: (block.len() - start) as u32,
                term: 0,
                index: self.versions,
            };
            let at = &mut block[start - ENTRY_HEADER_LEN..];
            header.encode(at.first_chunk_mut().expect("room was made"));
            let mut records = Records::new(&block[start..], Position(position + start as u64));
            let record = records.next().expect("one record").expect("just written");
            known.push(Known::new(partition, &record));
        }
        self.append_block(BlockKind::Data, values.len() as u32, block);
        self.blocks.push((self.end, known));
    }

    /// Ends as a clean stop does.
    fn seal(&mut self) {
        self.sync();
        self.append_block(BlockKind::Seal, 0, vec![0; BLOCK_HEADER_LEN]);
        self.sync();
    }

    fn append_block(&mut self, kind: BlockKind, entries: u32, mut block: Vec<u8>) {
        let payload_len = block.len() - BLOCK_HEADER_LEN;
        block.resize(block_len(payload_len), 0);
        let header = BlockHeader {
            kind,
            log: TAG,
            position: Position(self.end),
            sequence: self.sequence,
            durable: Position(self.durable),
            written: WallMillis(1_700_000_000_000),
            entries,
            payload_len: payload_len as u32,
            payload_crc: 0,
            zero_sectors: 0,
        };
        header.seal(&mut block, Position(self.base));
        assert!(self.end + block.len() as u64 <= self.base + (LEN - SEGMENT_HEADER_LEN) as u64);
        let offset = SEGMENT_HEADER_LEN + (self.end - self.base) as usize;
        self.end += block.len() as u64;
        self.sequence += 1;
        self.write(self.segment, offset, block);
    }

    /// What a power loss leaves. `moment` says for a sector how many of the writes in flight it has seen: 0 to
    /// its argument.
    fn crash(&self, mut moment: impl FnMut(usize) -> usize) -> Image {
        let mut image = self.synced.clone();
        let sectors: BTreeSet<(u64, usize)> = self
            .in_flight
            .iter()
            .flat_map(|write| {
                let last = (write.offset + write.bytes.len() - 1) / SECTOR_LEN;
                (write.offset / SECTOR_LEN..=last).map(|sector| (write.file, sector))
            })
            .collect();
        for (file, sector) in sectors {
            let seen = moment(self.in_flight.len());
            let start = sector * SECTOR_LEN;
            let bytes = image.get_mut(&file).expect("segments are prepared");
            for write in self.in_flight[..seen]
                .iter()
                .filter(|write| write.file == file)
            {
                let from = start.max(write.offset);
                let to = (start + SECTOR_LEN).min(write.offset + write.bytes.len());
                if from < to {
                    bytes[from..to]
                        .copy_from_slice(&write.bytes[from - write.offset..to - write.offset]);
                }
            }
        }
        image
    }

    /// What `kill -9` leaves: the kernel still has everything.
    fn kill(&self) -> Image {
        self.crash(|all| all)
    }

    /// All records up to a position.
    fn records_to(&self, end: u64) -> Vec<Known> {
        let blocks = self
            .blocks
            .iter()
            .take_while(|(block_end, _)| *block_end <= end);
        blocks.flat_map(|(_, records)| records.clone()).collect()
    }

    /// The offset in the last segment's file of a position.
    fn offset(&self, position: u64) -> usize {
        SEGMENT_HEADER_LEN + (position - self.base) as usize
    }
}

/// A log of two segments with three synced blocks each and no seal, with values short and long, random and zero.
fn small_log() -> Writer {
    let mut writer = Writer::new();
    for (len, byte) in [(10, 1), (700, 0), (33, 7)] {
        writer.append(&[vec![byte; len], vec![3; 20]]);
        writer.sync();
    }
    writer.rotate();
    for (len, byte) in [(1200, 9), (0, 0), (90, 5)] {
        writer.append(&[vec![byte; len]]);
        writer.sync();
    }
    writer
}
