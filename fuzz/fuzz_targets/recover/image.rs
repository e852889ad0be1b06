//! A sound log, written as a shard writes it: contiguous blocks, a new segment when one is left.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use corduroy::limits::SEGMENT_LEN_MIN;
use corduroy::storage::format::{
    BLOCK_HEADER_LEN, BlockHeader, BlockKind, ENTRY_HEADER_LEN, EntryHeader, EntryKind, LogTag,
    Record, RecordKind, SEGMENT_HEADER_LEN, SegmentHeader, SegmentState, block_len,
};
use corduroy::storage::recovery::{Identity, Recovered};
use corduroy::types::{KeyspaceId, PartitionId, Position, SegmentId, ShardId, Version, WallMillis};

pub(crate) const IDENTITY: Identity = Identity {
    node: 0x00c0_ffee,
    shard: ShardId(1),
    shard_count: 4,
};
pub(crate) const TAG: LogTag = LogTag(0x5eed_1065);
const LEN: usize = SEGMENT_LEN_MIN as usize;
/// More than this is not more kinds of log.
const STEPS_MAX: usize = 24;

/// Files by segment number.
pub(crate) type Image = BTreeMap<u64, Vec<u8>>;

/// What the writer does next.
#[derive(Arbitrary, Debug)]
pub(crate) enum Step {
    /// Appends a block with an entry for each of these.
    Append(Vec<Effects>),
    /// All that was appended is on disk; later blocks say so.
    Sync,
    /// Goes on in the next segment.
    Rotate,
    /// A clean stop.
    Seal,
    /// Prepares one more segment.
    Prepare,
}

/// An entry.
#[derive(Arbitrary, Debug)]
pub(crate) struct Effects {
    partition: u8,
    records: Vec<Effect>,
}

#[derive(Arbitrary, Debug)]
enum Effect {
    Set {
        key_len: u8,
        value_len: u16,
        fill: u8,
        expires: bool,
    },
    Delete {
        key_len: u8,
    },
    Clear,
}

/// A record as its writer or a visitor knew it: its place, partition and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) position: u64,
    pub(crate) partition: PartitionId,
    pub(crate) bytes: Vec<u8>,
}

/// Writes a log.
pub(crate) struct Writer {
    pub(crate) image: Image,
    pub(crate) known: Vec<Known>,
    segment: u64,
    base: u64,
    end: u64,
    sequence: u64,
    durable: u64,
    version: u64,
    log: LogTag,
}

impl Writer {
    pub(crate) fn write(steps: &[Step]) -> Writer {
        let mut writer = Writer {
            image: Image::new(),
            known: Vec::new(),
            segment: 0,
            base: 0,
            end: 0,
            sequence: 1,
            durable: 0,
            version: 0,
            log: TAG,
        };
        if !steps.is_empty() {
            writer.rotate();
        }
        for step in steps.iter().take(STEPS_MAX) {
            match step {
                Step::Append(entries) => writer.append(entries),
                Step::Sync => writer.durable = writer.end,
                // Three are enough for a first, a middle and a last.
                Step::Rotate if writer.segment < 3 => writer.rotate(),
                Step::Rotate => {}
                Step::Seal => {
                    writer.durable = writer.end;
                    writer.block(BlockKind::Seal, 0, vec![0; BLOCK_HEADER_LEN]);
                }
                Step::Prepare => writer.prepare(writer.segment + 1),
            }
        }
        writer
    }

    /// Takes up a log where recovery says that it ends; none if there is none.
    pub(crate) fn resume(image: Image, recovered: &Recovered) -> Result<Writer, Image> {
        let Some((last, log)) = recovered.segments.last().zip(recovered.log) else {
            return Err(image);
        };
        Ok(Writer {
            image,
            known: Vec::new(),
            segment: last.id.0,
            base: last.base.0,
            end: recovered.end.0,
            sequence: recovered.next_sequence,
            durable: recovered.end.0,
            version: 0,
            log,
        })
    }

    /// Appends a block with one small record, if there is room.
    pub(crate) fn append_one(&mut self) {
        self.append(&[Effects {
            partition: 1,
            records: vec![Effect::Delete { key_len: 3 }],
        }]);
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    fn append(&mut self, entries: &[Effects]) {
        let mut block = vec![0; BLOCK_HEADER_LEN];
        let mut records = Vec::new();
        for effects in entries.iter().take(4) {
            let header_at = block.len();
            block.resize(header_at + ENTRY_HEADER_LEN, 0);
            let partition = PartitionId {
                keyspace: KeyspaceId::DEFAULT,
                index: u16::from(effects.partition),
            };
            let effects = &effects.records[..effects.records.len().min(8)];
            for effect in effects {
                let start = block.len();
                self.version += 1;
                effect.encode(self.version, &mut block);
                Record::seal(&mut block[start..], Position(self.end + start as u64));
                records.push(Known {
                    position: self.end + start as u64,
                    partition,
                    bytes: block[start..].to_vec(),
                });
            }
            let header = EntryHeader {
                partition,
                kind: EntryKind::Effects,
                records: effects.len() as u32,
                len: (block.len() - header_at - ENTRY_HEADER_LEN) as u32,
                term: 0,
                index: self.sequence,
            };
            let place = block[header_at..].first_chunk_mut().expect("made room for");
            header.encode(place);
        }
        if self.block(BlockKind::Data, entries.len().min(4) as u32, block) {
            self.known.append(&mut records);
        }
    }

    /// Whether there was room for it.
    fn block(&mut self, kind: BlockKind, entries: u32, mut block: Vec<u8>) -> bool {
        let payload_len = block.len() - BLOCK_HEADER_LEN;
        block.resize(block_len(payload_len), 0);
        let at = SEGMENT_HEADER_LEN + (self.end - self.base) as usize;
        let file = self.image.get_mut(&self.segment).expect("was begun");
        let Some(place) = file.get_mut(at..at + block.len()) else {
            return false;
        };
        let header = BlockHeader {
            kind,
            log: self.log,
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
        place.copy_from_slice(&block);
        self.end += block.len() as u64;
        self.sequence += 1;
        true
    }

    fn rotate(&mut self) {
        self.segment += 1;
        self.base = self.end;
        self.durable = self.end;
        self.prepare(self.segment);
        let base = Position(self.base);
        let sector = header(self.segment, SegmentState::Active { base }).encode();
        let file = self.image.get_mut(&self.segment).expect("just prepared");
        file[..sector.len()].copy_from_slice(&sector);
    }

    fn prepare(&mut self, segment: u64) {
        let mut file = vec![0; LEN];
        let sector = header(segment, SegmentState::Prepared).encode();
        file[..sector.len()].copy_from_slice(&sector);
        self.image.insert(segment, file);
    }
}

impl Effect {
    fn encode(&self, version: u64, out: &mut Vec<u8>) {
        let (kind, key_len, value, expiry) = match *self {
            Effect::Set {
                key_len,
                value_len,
                fill,
                expires,
            } => {
                let value = vec![fill; usize::from(value_len % 5000)];
                let expiry = expires.then_some(WallMillis(1_800_000_000_000));
                (RecordKind::Set, usize::from(key_len) + 1, value, expiry)
            }
            Effect::Delete { key_len } => {
                (RecordKind::Delete, usize::from(key_len) + 1, vec![], None)
            }
            Effect::Clear => (RecordKind::Clear, 0, vec![], None),
        };
        let record = Record {
            kind,
            key: &vec![b'k'; key_len],
            value: &value,
            version: Version(version),
            timestamp: WallMillis(1_700_000_000_000),
            expiry,
            origin: None,
        };
        record.encode(out);
    }
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
