//! Summaries against a model, and against everything that can happen to their bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::limits::SEGMENT_LEN_MIN;
use crate::storage::format::{
    BLOCK_HEADER_LEN, BlockHeader, BlockKind, ENTRY_HEADER_LEN, EntryHeader, EntryKind, LogTag,
    Record, RecordAt, RecordKind, SEGMENT_HEADER_LEN, SegmentHeader, SegmentState, block_len,
};
use crate::storage::hash::KeyIdentifier;
use crate::storage::recovery::Fault;
use crate::types::{KeyspaceId, PartitionId, ShardId, Version, WallMillis};

const TAG: LogTag = LogTag(0x5eed_1065);
const BASE: Position = Position(640);

fn identifier() -> KeyIdentifier {
    KeyIdentifier::new(&[5; 16])
}

fn partition(index: u16) -> PartitionId {
    PartitionId {
        keyspace: KeyspaceId::DEFAULT,
        index,
    }
}

/// One effect, as the model knows it.
#[derive(Clone, Debug)]
struct Effect {
    partition: u16,
    kind: RecordKind,
    key: u8,
    version: u64,
    expiry: Option<u64>,
}

fn entry_header(partition: PartitionId, index: u64) -> EntryHeader {
    EntryHeader {
        partition,
        kind: EntryKind::Effects,
        records: 1,
        len: 64,
        term: 0,
        index,
    }
}

/// Shows a builder one effect at a position.
fn show(builder: &mut Builder, effect: &Effect, position: Position, index: u64) {
    let key = [effect.key];
    let is_set = effect.kind == RecordKind::Set;
    let record = Record {
        kind: effect.kind,
        key: if effect.kind == RecordKind::Clear {
            &[]
        } else {
            &key
        },
        value: if is_set { b"value" } else { b"" },
        version: Version(effect.version),
        timestamp: WallMillis(7),
        expiry: effect.expiry.map(WallMillis).filter(|_| is_set),
        origin: None,
    };
    builder.entry(&entry_header(partition(effect.partition), index));
    let at = RecordAt {
        position,
        len: record.encoded_len() as u32,
        record,
    };
    builder.record(partition(effect.partition), &at);
}

fn effects() -> impl Strategy<Value = Vec<Effect>> {
    let kind = prop_oneof![
        12 => Just(RecordKind::Set),
        4 => Just(RecordKind::Delete),
        1 => Just(RecordKind::Clear),
    ];
    let effect = (
        0u16..3,
        kind,
        0u8..12,
        any::<bool>(),
        any::<prop::sample::Index>(),
    );
    prop::collection::vec(effect, 0..80).prop_map(|drawn| {
        let mut versions = [0u64; 3];
        let mut effects: Vec<Effect> = Vec::new();
        for (partition, kind, key, expires, earlier) in drawn {
            // Now and then something is there once more, further back, as compaction leaves it.
            if key == 0 && !effects.is_empty() {
                effects.push(earlier.get(&effects).clone());
                continue;
            }
            versions[usize::from(partition)] += 1;
            effects.push(Effect {
                partition,
                kind,
                key,
                version: versions[usize::from(partition)],
                expiry: expires.then_some(1000 + u64::from(key)),
            });
        }
        effects
    })
}

/// What is there in the end, by the rule alone: the highest version of a key wins, of two the later, and a clear takes away all that is not
/// above it. By partition and key: version, position, expiry.
fn model(effects: &[Effect]) -> BTreeMap<(u16, u8), (u64, u64, Option<u64>)> {
    let mut newest: BTreeMap<(u16, u8), (u64, u64, &Effect)> = BTreeMap::new();
    let mut clears: BTreeMap<u16, u64> = BTreeMap::new();
    for (number, effect) in effects.iter().enumerate() {
        if effect.kind == RecordKind::Clear {
            let clear = clears.entry(effect.partition).or_default();
            *clear = effect.version.max(*clear);
            continue;
        }
        let found = (effect.version, position(number).0, effect);
        let place = newest
            .entry((effect.partition, effect.key))
            .or_insert(found);
        if (found.0, found.1) >= (place.0, place.1) {
            *place = found;
        }
    }
    let lives = |((partition, _), (version, _, effect)): &(&(u16, u8), &(u64, u64, &Effect))| {
        let cleared = clears.get(partition).is_some_and(|clear| version <= clear);
        effect.kind == RecordKind::Set && !cleared
    };
    newest
        .iter()
        .filter(lives)
        .map(|(place, (version, at, effect))| (*place, (*version, *at, effect.expiry)))
        .collect()
}

fn position(number: usize) -> Position {
    Position(BASE.0 + 64 * number as u64)
}

proptest! {
    /// A record that a summary leaves out, or that a merge takes for an older one, is a lost write; one too many brings a deleted key back. However
    /// the log is cut into segments, and whichever order they are given in, the outcome is that of the rule.
    #[test]
    fn what_is_newest_does_not_depend_on_segments(
        effects in effects(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        bits in 0u32..4,
        backwards in any::<bool>(),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(effects.len() + 1)).collect();
        cuts.extend([0, effects.len()]);
        cuts.sort_unstable();
        let mut bodies = Vec::new();
        for segment in cuts.windows(2) {
            let mut builder = Builder::new(identifier(), position(segment[0]));
            let range = segment[0]..segment[1];
            for (number, effect) in range.clone().zip(&effects[range]) {
                show(&mut builder, effect, position(number), number as u64);
            }
            bodies.push((builder.base(), builder.finish()));
        }
        if backwards {
            bodies.reverse();
        }
        let bodies: Vec<(Position, Body<'_>)> = bodies
            .iter()
            .map(|(base, bytes)| (*base, Body::parse(bytes).expect("what was built is sound")))
            .collect();
        let mut found = BTreeMap::new();
        for index in 0..3 {
            let runs: Vec<Run<'_>> = bodies
                .iter()
                .flat_map(|(base, body)| {
                    let of_partition = body.groups().iter().filter(|group| group.partition == partition(index));
                    of_partition.map(|group| Run { base: *base, group: *group })
                })
                .collect();
            let mut before = None;
            newest(&runs, bits, |items| {
                for item in items {
                    let key = (0u8..12).find(|key| identifier().identify(&[*key]) == item.key()).expect("a key of ours");
                    assert!(before < Some(item.key()), "they come in order");
                    before = Some(item.key());
                    let expiry = item.expiry().map(|expiry| expiry.0);
                    found.insert((index, key), (item.version().0, item.position().0, expiry));
                }
            });
            let of_partition = effects.iter().filter(|effect| effect.partition == index);
            let version_max = of_partition.map(|effect| effect.version).max();
            let groups = runs.iter().map(|run| run.group.version_max.0);
            prop_assert_eq!(groups.max(), version_max);
        }
        prop_assert_eq!(found, model(&effects));
    }
}

/// A segment's file with these blocks: each the values of its sets, or none for a seal.
fn segment(blocks: &[&[&[u8]]]) -> (Vec<u8>, Position) {
    let mut file = vec![0; SEGMENT_LEN_MIN as usize];
    let header = SegmentHeader {
        node: 0x00c0_ffee,
        shard: ShardId(1),
        shard_count: 4,
        log: TAG,
        segment: SegmentId(3),
        segment_len: SEGMENT_LEN_MIN,
        created: WallMillis(1_700_000_000_000),
        state: SegmentState::Active { base: BASE },
    };
    file[..512].copy_from_slice(&header.encode());
    let mut end = BASE;
    let mut version = 0;
    for (number, values) in blocks.iter().enumerate() {
        let mut block = vec![0; BLOCK_HEADER_LEN];
        for value in *values {
            version += 1;
            let start = block.len() + ENTRY_HEADER_LEN;
            block.resize(start, 0);
            let record = Record {
                kind: RecordKind::Set,
                key: &[version as u8],
                value,
                version: Version(version),
                timestamp: WallMillis(1_700_000_000_000 + version),
                expiry: (version % 3 == 0).then_some(WallMillis(1_800_000_000_000)),
                origin: None,
            };
            record.encode(&mut block);
            Record::seal(&mut block[start..], Position(end.0 + start as u64));
            let mut header = entry_header(partition((version % 2) as u16), version);
            header.len = (block.len() - start) as u32;
            let at = &mut block[start - ENTRY_HEADER_LEN..];
            header.encode(at.first_chunk_mut().expect("room was made"));
        }
        let payload_len = block.len() - BLOCK_HEADER_LEN;
        block.resize(block_len(payload_len), 0);
        let header = BlockHeader {
            kind: if values.is_empty() {
                BlockKind::Seal
            } else {
                BlockKind::Data
            },
            log: TAG,
            position: end,
            sequence: 5 + number as u64,
            durable: end,
            written: WallMillis(1_700_000_000_000),
            entries: values.len() as u32,
            payload_len: payload_len as u32,
            payload_crc: 0,
            zero_sectors: 0,
        };
        header.seal(&mut block, BASE);
        let at = SEGMENT_HEADER_LEN + (end.0 - BASE.0) as usize;
        file[at..at + block.len()].copy_from_slice(&block);
        end = Position(end.0 + block.len() as u64);
    }
    (file, end)
}

fn sample() -> (Vec<u8>, Position) {
    segment(&[&[b"one", b"two"], &[], &[&[7; 3000], b""], &[b"five"]])
}

/// Everything that a start would learn from the segment is in its summary.
#[test]
fn a_summary_says_what_the_segment_says() {
    let (file, end) = sample();
    let bytes = make(identifier(), &file, SegmentId(3), end).unwrap();
    let summary = Summary::parse(&bytes).unwrap();
    let header = &summary.header;
    assert_eq!((header.base, header.end), (BASE, end));
    assert_eq!((header.first_sequence, header.next_sequence), (5, 9));
    assert_eq!(header.timestamp_max, WallMillis(1_700_000_000_005));
    assert_eq!(header.last, BlockKind::Data);
    assert_eq!(header.fingerprint, identifier().fingerprint());
    assert_eq!(summary.body.len(), 5);
    let segment = SegmentHeader::decode(file.first_chunk().unwrap()).unwrap();
    assert!(summary.is_of(&segment, BASE, end));
    for group in summary.body.groups() {
        for item in group.items(BASE) {
            let at = SEGMENT_HEADER_LEN + (item.position().0 - BASE.0) as usize;
            let record = Record::check(&file[at..], item.position()).unwrap();
            assert_eq!(identifier().identify(record.key), item.key());
            assert_eq!(record.version, item.version());
            assert_eq!(record.encoded_len() as u32, item.record_len());
            assert_eq!(record.expiry, item.expiry());
            assert!(!item.is_delete() && record.version <= group.version_max);
        }
    }
}

/// A summary with one wrong bit makes another index. Whichever byte it is, and wherever the file ends, it must be seen.
#[test]
fn no_wrong_bit_and_no_lost_end_goes_unseen() {
    let (file, end) = sample();
    let bytes = make(identifier(), &file, SegmentId(3), end).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(Summary::parse(&flipped).is_err(), "byte {at}");
        assert!(Summary::parse(&bytes[..at]).is_err(), "{at} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(Summary::parse(&longer).is_err());
    let mut newer = bytes;
    newer[8] = 2;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&newer[..12]);
    hasher.update(&newer[16..SUMMARY_HEADER_LEN]);
    newer[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
    assert_eq!(
        Summary::parse(&newer).unwrap_err(),
        SummaryError::Version(2),
        "another release's is told apart from damage"
    );
}

/// A file is read in pieces, and a block may be longer than one. Whatever the pieces, the summary is the same.
#[test]
fn pieces_of_any_size_make_the_same_summary() {
    let (file, end) = sample();
    let whole = make(identifier(), &file, SegmentId(3), end).unwrap();
    for piece in [1, 63, 64, 65, 500, 4096, 100_000] {
        let sector = file.first_chunk().unwrap();
        let mut maker = Maker::new(identifier(), sector, SegmentId(3), end).unwrap();
        let content = &file[SEGMENT_HEADER_LEN..];
        let (mut at, mut len) = (0, piece);
        loop {
            match maker
                .feed(&content[at..(at + len).min(content.len())])
                .unwrap()
            {
                Fed::Took(taken) => (at, len) = (at + taken, piece),
                Fed::Needs(needed) => {
                    assert!(needed > len, "it asks for more than it was given");
                    len = needed;
                }
                Fed::Done => break,
            }
        }
        assert_eq!(maker.finish(), whole, "pieces of {piece} bytes");
    }
}

/// The summary outlives what it was made of: what is damaged must not get into it. And where salvage has given something up, versions depend on
/// what lies before and behind, which a summary can't say.
#[test]
fn no_summary_is_made_of_what_is_not_sound() {
    let (file, end) = sample();
    for at in (SEGMENT_HEADER_LEN..SEGMENT_HEADER_LEN + (end.0 - BASE.0) as usize).step_by(7) {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        let made = make(identifier(), &damaged, SegmentId(3), end);
        assert!(matches!(made, Err(MakeError::Damaged(_))), "byte {at}");
    }
    let mut salvaged = file.clone();
    let skip = BlockHeader {
        kind: BlockKind::Skip,
        log: TAG,
        position: BASE,
        sequence: 5,
        durable: Position(0),
        written: WallMillis(0),
        entries: 0,
        payload_len: 128,
        payload_crc: 0,
        zero_sectors: 0,
    };
    let at = &mut salvaged[SEGMENT_HEADER_LEN..];
    skip.encode(at.first_chunk_mut().unwrap());
    assert_eq!(
        make(identifier(), &salvaged, SegmentId(3), end),
        Err(MakeError::Salvaged)
    );
    let other = make(identifier(), &file, SegmentId(4), end);
    assert_eq!(other, Err(MakeError::OtherSegment));
    let further = make(identifier(), &file, SegmentId(3), Position(end.0 + 64));
    assert_eq!(further, Err(MakeError::Damaged(Fault::Missing)));
}

/// A start merges what is sorted. If bytes with a right checksum were not, the index would be cut in the wrong places.
#[test]
fn a_body_that_contradicts_itself_is_refused() {
    let mut builder = Builder::new(identifier(), BASE);
    for number in 0..4u8 {
        let effect = Effect {
            partition: u16::from(number % 2),
            kind: RecordKind::Set,
            key: number,
            version: u64::from(number) + 1,
            expiry: (number == 3).then_some(9),
        };
        show(&mut builder, &effect, position(usize::from(number)), 1);
    }
    let body = builder.finish();
    assert!(Body::parse(&body).is_ok());
    let records = 8 + 2 * 40;
    assert_eq!(
        body.len(),
        records + 4 * 32 + 8,
        "the layout as it is drawn"
    );
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = body.clone();
        change(&mut changed);
        Body::parse(&changed).is_err()
    };
    assert!(refused(&|body| {
        let (first, second) = body[records..].split_at_mut(32);
        first.swap_with_slice(&mut second[..32]);
    }));
    assert!(refused(
        &|body| body.copy_within(records..records + 32, records + 32)
    ));
    assert!(refused(&|body| {
        let (first, second) = body[8..].split_at_mut(40);
        first.swap_with_slice(&mut second[..40]);
    }));
    assert!(refused(&|body| body[0] = 3));
    assert!(refused(&|body| body[4] = 1));
    assert!(refused(&|body| body[8 + 6] = 2));
    assert!(refused(&|body| body[8 + 7] = 1));
    assert!(refused(&|body| body[8 + 8] = 3));
    assert!(refused(&|body| body[8 + 8..8 + 12].fill(255)));
    assert!(refused(&|body| body[records + 24] = 7));
    assert!(refused(&|body| body[records + 28] = 9));
    assert!(refused(&|body| body.truncate(body.len() - 8)));
    assert!(refused(&|body| body.push(0)));
}
