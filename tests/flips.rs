//! Every byte of a small log is flipped in turn, and nothing that is read afterwards may be wrong.
//!
//! A disk that returns a byte other than the one that was written is believed by everything above it unless somebody looks. So each byte of the log in
//! `tests/fixtures/format-v1/` (every kind of block, entry and record, three segments) is changed, and then the log is recovered as a start does it, as
//! a start with `--salvage` does it, and each record is read as a read from disk does it. The answer must be an error or what was written. And
//! `corduroy check`'s verdict must be *damaged*, but where the byte means nothing: those places are listed here, to the byte.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use corduroy::limits::{SECTOR_LEN, SEGMENT_LEN_MIN};
use corduroy::server::tools::{Verdict, judge};
use corduroy::storage::format::{Entry, Record, RecordAt, SEGMENT_HEADER_LEN};
use corduroy::storage::recovery::{Identity, Recovered, SegmentFile, Visitor, recover};
use corduroy::types::{PartitionId, Position, SegmentId, ShardId};

const IDENTITY: Identity = Identity {
    node: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
    shard: ShardId(1),
    shard_count: 2,
};

/// Of the zeros behind the log's end every byte up to there is flipped, and then one in so many: a prime, so that all places in a sector have their turn.
const ZEROS_LEN: usize = 4 * SECTOR_LEN;
const ZEROS_STEP: usize = 251;

/// A record, owned, with all that a reader could see of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    position: u64,
    partition: (u32, u16),
    text: String,
}

#[derive(Default)]
struct Seen {
    records: Vec<Known>,
    lens: Vec<u32>,
}

impl Visitor for Seen {
    fn entry(&mut self, _: &Entry<'_>) {}

    fn record(&mut self, partition: PartitionId, at: &RecordAt<'_>) {
        self.lens.push(at.len);
        self.records.push(known(partition, at.position, &at.record));
    }
}

fn known(partition: PartitionId, position: Position, record: &Record<'_>) -> Known {
    Known {
        position: position.0,
        partition: (partition.keyspace.0, partition.index),
        text: format!("{record:?}"),
    }
}

type Image = Vec<(SegmentId, Vec<u8>)>;

fn image() -> Image {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-v1");
    (1..=3)
        .map(|segment| {
            let id = SegmentId(segment);
            let mut bytes = fs::read(directory.join(format!("{id}.segment"))).unwrap();
            bytes.resize(SEGMENT_LEN_MIN as usize, 0);
            (id, bytes)
        })
        .collect()
}

/// What a start finds, and what it is shown.
fn read(image: &Image, salvage: bool) -> (Option<(Recovered, Verdict)>, Seen) {
    let names: Vec<String> = image.iter().map(|(id, _)| format!("{id}.seg")).collect();
    let files: Vec<SegmentFile<'_>> = image
        .iter()
        .zip(&names)
        .map(|((id, bytes), name)| SegmentFile {
            id: *id,
            name,
            bytes,
        })
        .collect();
    let mut seen = Seen::default();
    let outcome = recover(&IDENTITY, salvage, &files, &mut seen);
    let judged = outcome.ok().map(|recovered| {
        let verdict = judge(&recovered, &files);
        (recovered, verdict)
    });
    (judged, seen)
}

/// What the log holds, and where each segment's last block ends in its file.
struct Whole {
    image: Image,
    records: Vec<Known>,
    /// File, place in it and length of each record.
    places: Vec<(usize, Range<usize>)>,
    ends: [usize; 3],
}

fn whole() -> Whole {
    let image = image();
    let (judged, seen) = read(&image, false);
    let (recovered, verdict) = judged.expect("the fixture is a sound log");
    assert_eq!(verdict, Verdict::Clean);
    let mut ends = [SEGMENT_HEADER_LEN; 3];
    for (file, segment) in recovered.segments.iter().enumerate() {
        ends[file] += (segment.end.0 - segment.base.0) as usize;
    }
    let places = seen.records.iter().zip(&seen.lens).map(|(record, len)| {
        let file = recovered
            .segments
            .iter()
            .rposition(|segment| segment.base.0 <= record.position)
            .unwrap();
        let base = recovered.segments[file].base.0;
        let from = SEGMENT_HEADER_LEN + (record.position - base) as usize;
        (file, from..from + *len as usize)
    });
    Whole {
        places: places.collect(),
        records: seen.records,
        ends,
        image,
    }
}

/// The verdict that a flip must get. All that is not *damaged* is listed here.
fn expected(whole: &Whole, file: usize, offset: usize) -> Verdict {
    let end = whole.ends[file];
    match (file, offset) {
        // The first sector has a checksum; the rest of the header's page is reserved, and nobody looks at it.
        (_, 0..SECTOR_LEN) => Verdict::Damaged,
        (_, SECTOR_LEN..SEGMENT_HEADER_LEN) => Verdict::Clean,
        // What a repair gave up means nothing any more.
        (0, _) if skipped(whole).contains(&offset) => Verdict::Clean,
        (_, _) if offset < end => Verdict::Damaged,
        // Behind the last block of a segment that was left nobody looks either.
        (0, _) => Verdict::Clean,
        // The log's end: no crash writes into the rest of a sector without what comes before it.
        (1, _) if offset < (end + 1).next_multiple_of(SECTOR_LEN) => Verdict::Damaged,
        // Further on it looks like a write that was cut short, and so it does in a segment that has not begun.
        _ => Verdict::Torn,
    }
}

/// The payload of the fixture's skip block, padding included, in the first file.
fn skipped(whole: &Whole) -> Range<usize> {
    // It is the last block of that segment: a header, and 200 bytes padded to 256.
    whole.ends[0] - 256..whole.ends[0]
}

/// Every place that is flipped.
fn places(whole: &Whole) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    for file in 0..whole.image.len() {
        let near = whole.ends[file] + ZEROS_LEN;
        let far = (near..whole.image[file].1.len()).step_by(ZEROS_STEP);
        places.extend((0..near).chain(far).map(|offset| (file, offset)));
    }
    places
}

/// Of a record that is longer than all others together, one byte in so many is enough for salvage, which takes its block as a whole.
const SALVAGE_STEP: usize = 61;

fn is_salvaged(whole: &Whole, file: usize, offset: usize) -> bool {
    let is_long = |(place, range): &&(usize, Range<usize>)| {
        *place == file && range.contains(&offset) && range.len() > 10_000
    };
    !whole.places.iter().any(|place| is_long(&place)) || offset.is_multiple_of(SALVAGE_STEP)
}

fn check(whole: &Whole, flipped: &mut Image, file: usize, offset: usize, bits: u8) {
    let at = format!("file {file}, offset {offset}, flipped by {bits:#04x}");
    let expected = expected(whole, file, offset);
    flipped[file].1[offset] ^= bits;

    // A start: all, or a sentence.
    let (judged, seen) = read(flipped, false);
    match judged {
        Some((_, verdict)) => {
            assert_ne!(expected, Verdict::Damaged, "it went unnoticed: {at}");
            assert_eq!(verdict, expected, "{at}");
            assert!(
                seen.records == whole.records,
                "a wrong record was shown: {at}"
            );
        }
        None => assert_eq!(expected, Verdict::Damaged, "{at}"),
    }
    // With --salvage, and check and repair by it: fewer perhaps, wrong ones never.
    if expected == Verdict::Damaged && is_salvaged(whole, file, offset) {
        let (judged, seen) = read(flipped, true);
        if let Some((_, verdict)) = judged {
            assert_eq!(verdict, Verdict::Damaged, "{at}");
        }
        let all: BTreeSet<&Known> = whole.records.iter().collect();
        assert!(
            seen.records.iter().all(|record| all.contains(record)),
            "salvage showed a wrong record: {at}"
        );
    }
    // Reads of one record from disk: of those that the byte lies in, and of their neighbours.
    for ((place, range), record) in whole.places.iter().zip(&whole.records) {
        let is_near = *place == file && (range.start..range.end + 64).contains(&offset);
        if !is_near {
            continue;
        }
        let bytes = &flipped[file].1[range.clone()];
        let partition = PartitionId {
            keyspace: corduroy::types::KeyspaceId(record.partition.0),
            index: record.partition.1,
        };
        let position = Position(record.position);
        match Record::check(bytes, position) {
            Ok(read) => {
                assert!(!range.contains(&offset), "a read noticed nothing: {at}");
                assert_eq!(&known(partition, position, &read), record, "{at}");
            }
            Err(_) => assert!(range.contains(&offset), "{at}"),
        }
    }
    flipped[file].1[offset] ^= bits;
}

#[test]
fn no_flipped_byte_is_ever_believed() {
    let whole = whole();
    let places = places(&whole);
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut flipped = whole.image.clone();
                loop {
                    let Some(&(file, offset)) = places.get(next.fetch_add(1, Ordering::Relaxed))
                    else {
                        return;
                    };
                    // One bit, each in its turn.
                    check(&whole, &mut flipped, file, offset, 1 << (offset % 8));
                }
            });
        }
    });
    let log: usize = whole.ends.iter().sum();
    assert!(
        next.load(Ordering::Relaxed) > log,
        "all of the log had its turn"
    );
}
