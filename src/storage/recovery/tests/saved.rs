//! Starts with saved indexes: what they stand for, and what they must never stand for.

use super::*;
use crate::storage::hash::KeyIdentifier;
use crate::storage::recovery::recover_with;
use crate::storage::summary::{Summary, make};

/// What a visitor is shown.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    records: Vec<Known>,
    summarized: Vec<u64>,
}

impl Visitor for Shown {
    fn entry(&mut self, _: &Entry<'_>) {}

    fn record(&mut self, partition: PartitionId, record: &RecordAt<'_>) {
        self.records.push(Known::new(partition, record));
    }

    fn summarized(&mut self, segment: SegmentId, _: usize) {
        self.summarized.push(segment.0);
    }
}

/// A log of three segments, the last with a seal.
fn log() -> Writer {
    let mut writer = small_log();
    writer.rotate();
    writer.append(&[vec![4; 100], vec![5; 50]]);
    writer.seal();
    writer
}

fn identifier() -> KeyIdentifier {
    KeyIdentifier::new(&[9; 16])
}

/// The summaries of these segments, as they are on disk.
fn saved(image: &Image, recovered: &Recovered, segments: &[u64]) -> Vec<Vec<u8>> {
    let end = |id: u64| {
        let mut found = recovered.segments.iter();
        found.find(|found| found.id.0 == id).expect("a segment").end
    };
    let saved = segments
        .iter()
        .map(|id| make(identifier(), &image[id], SegmentId(*id), end(*id)));
    saved.map(|saved| saved.expect("a sound segment")).collect()
}

fn parse(saved: &[Vec<u8>]) -> Vec<Summary<'_>> {
    let parsed = saved.iter().map(|bytes| Summary::parse(bytes));
    parsed
        .map(|parsed| parsed.expect("made just now"))
        .collect()
}

fn start(
    image: &Image,
    summaries: &[Summary<'_>],
    salvage: bool,
) -> Result<(Recovered, Shown), RecoveryError> {
    let names = names(image);
    let files = segment_files(image, &names);
    let mut shown = Shown::default();
    let recovered = recover_with(&IDENTITY, salvage, &files, summaries, &mut shown)?;
    Ok((recovered, shown))
}

/// A start that read what it has saved indexes of would be as slow as one without; one that took the log to be another than it is would
/// write over it.
#[test]
fn summaries_stand_for_left_segments() {
    let writer = log();
    let image = writer.kill();
    let (plain, seen) = run(&image, false).unwrap();
    let saved = saved(&image, &plain, &[1, 2]);
    for (given, used) in [
        (&saved[..], &[1, 2][..]),
        (&saved[..1], &[1]),
        (&saved[1..], &[2]),
        (&[], &[]),
    ] {
        let (recovered, shown) = start(&image, &parse(given), false).unwrap();
        assert_eq!(recovered, plain);
        assert_eq!(shown.summarized, used);
        let is_read = |known: &&Known| {
            let mut segments = plain.segments.iter();
            let segment = segments.rfind(|segment| segment.base.0 <= known.position);
            !used.contains(&segment.expect("a segment").id.0)
        };
        let read: Vec<Known> = seen.iter().filter(is_read).cloned().collect();
        assert_eq!(shown.records, read);
    }
}

/// The segment in which the log ends is read whatever is beside it: only its blocks tell what was acknowledged, and what was torn.
#[test]
fn the_last_segment_is_read() {
    let mut writer = log();
    let image = writer.kill();
    let (plain, _) = run(&image, false).unwrap();
    let saved = saved(&image, &plain, &[1, 2, 3]);
    writer.append(&[vec![6; 900]]);
    let longer = writer.kill();
    let torn = writer.crash(|writes| writes - 1);
    for image in [image, longer, torn] {
        let (plain, _) = run(&image, false).unwrap();
        let (recovered, shown) = start(&image, &parse(&saved), false).unwrap();
        assert_eq!(shown.summarized, [1, 2]);
        assert_eq!(recovered, plain);
    }
    let mut damaged = writer.kill();
    let at = writer.offset(plain.segments[2].base.0) + BLOCK_HEADER_LEN + 60;
    damaged.get_mut(&3).unwrap()[at] ^= 1;
    let error = start(&damaged, &parse(&saved), false).unwrap_err();
    assert!(matches!(error, RecoveryError::Damaged(_)), "{error}");
}

/// A segment that has grown since its summary was made, after a crash had taken the begin of the next one, has records that the summary doesn't know.
#[test]
fn a_summary_from_before_the_segment_grew_is_not_used() {
    let writer = small_log();
    let image = writer.kill();
    let (plain, _) = run(&image, false).unwrap();
    let early = saved(&image, &plain, &[2]);
    let mut writer = writer;
    writer.append(&[vec![8; 40]]);
    writer.rotate();
    writer.append(&[vec![9; 40]]);
    writer.sync();
    let image = writer.kill();
    let (plain, _) = run(&image, false).unwrap();
    let (recovered, shown) = start(&image, &parse(&early), false).unwrap();
    assert_eq!((recovered, shown.summarized), (plain, vec![]));
    assert_eq!(shown.records, writer.records_to(u64::MAX));
}

/// Whatever a summary says of its segment must be so: each of these is of another segment, log, node, time or place in the log.
#[test]
fn a_summary_that_does_not_fit_is_not_used() {
    let image = log().kill();
    let (plain, _) = run(&image, false).unwrap();
    let saved = saved(&image, &plain, &[1, 2]);
    type Change = fn(&mut Summary<'_>);
    let changes: [Change; 13] = [
        |summary| summary.header.segment.segment = SegmentId(2),
        |summary| summary.header.segment.node += 1,
        |summary| summary.header.segment.shard = ShardId(0),
        |summary| summary.header.segment.shard_count = 3,
        |summary| summary.header.segment.log = LogTag(7),
        |summary| summary.header.segment.segment_len += 512,
        |summary| summary.header.segment.created = WallMillis(1),
        |summary| summary.header.segment.state = SegmentState::Prepared,
        |summary| summary.header.base = Position(64),
        |summary| summary.header.end = Position(summary.header.end.0 - 64),
        |summary| summary.header.end = Position(summary.header.end.0 + 64),
        |summary| summary.header.first_sequence += 1,
        |summary| summary.header.first_sequence -= 1,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut summaries = parse(&saved[..1]);
        change(&mut summaries[0]);
        let (recovered, shown) = start(&image, &summaries, false).unwrap();
        assert_eq!(recovered, plain, "change {number}");
        assert!(shown.summarized.is_empty(), "change {number}");
    }
    // What is said of the end of one is what the next one is held against.
    let mut summaries = parse(&saved);
    summaries[0].header.next_sequence += 1;
    let error = start(&image, &summaries, false);
    assert!(error.is_err(), "the next segment does not follow");
}

/// What a saved index can't know, the start still finds: a file that is missing or has lost its end, and a header that is wrong. And salvage
/// reads everything, for whoever asks for it wants to be rid of all damage.
#[test]
fn a_summary_hides_no_lost_file() {
    let image = log().kill();
    let (plain, seen) = run(&image, false).unwrap();
    let saved = saved(&image, &plain, &[1, 2]);
    let summaries = parse(&saved);
    let mut cut = image.clone();
    cut.get_mut(&1).unwrap().truncate(LEN - 512);
    let mut short = image.clone();
    short
        .get_mut(&1)
        .unwrap()
        .truncate(SEGMENT_HEADER_LEN + 640);
    let mut gone = image.clone();
    gone.remove(&1);
    let mut headless = image.clone();
    headless.get_mut(&2).unwrap()[20] ^= 1;
    for image in [&cut, &short, &gone, &headless] {
        let error = run(image, false).unwrap_err();
        assert_eq!(start(image, &summaries, false).unwrap_err(), error);
    }
    let mut flipped = image;
    flipped.get_mut(&1).unwrap()[SEGMENT_HEADER_LEN + 70] ^= 1;
    let (recovered, shown) = start(&flipped, &summaries, false).unwrap();
    assert_eq!(recovered, plain, "inside the segment nobody has looked");
    assert_eq!(shown.summarized, [1, 2]);
    let (salvaged, shown) = start(&flipped, &summaries, true).unwrap();
    assert_eq!(salvaged.damage.len(), 1);
    assert!(shown.summarized.is_empty());
    assert!(shown.records.len() < seen.len());
}
