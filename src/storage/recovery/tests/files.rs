//! Which files there are: segments that were being made, were about to begin, are missing, or belong elsewhere.

use super::super::{Fault, Proof};
use super::*;

/// Replaces a segment's header.
fn with_header(image: &Image, segment: u64, change: impl Fn(&mut SegmentHeader)) -> Image {
    let mut image = image.clone();
    let sector: &mut [u8; SECTOR_LEN] = image
        .get_mut(&segment)
        .and_then(|file| file.first_chunk_mut())
        .expect("there");
    let mut header = SegmentHeader::decode(sector).expect("whole");
    change(&mut header);
    *sector = header.encode();
    image
}

fn refusal(image: &Image) -> RecoveryError {
    let error = run(image, false).expect_err("not a log to start on");
    assert_eq!(run(image, true).expect_err("salvage doesn't help"), error);
    error
}

/// The first start: nothing is there, and nothing is wrong with that. Then a crash while the first segment is
/// being made.
#[test]
fn a_new_log_begins_at_zero() {
    let (recovered, seen) = run(&Image::new(), false).expect("an empty directory");
    assert_eq!(
        (recovered.end, recovered.next_sequence, recovered.log),
        (Position(0), 1, None)
    );
    assert!(recovered.clean && seen.is_empty() && recovered.repairs.is_empty());

    let mut prepared = vec![0; LEN];
    prepared[..SECTOR_LEN].copy_from_slice(&Writer::header(1, SegmentState::Prepared).encode());
    for len in [0, 100, SECTOR_LEN, SEGMENT_HEADER_LEN, LEN / 2, LEN] {
        for file in [vec![0; len], prepared[..len].to_vec()] {
            let is_half_a_sector = len == 100 && file[0] != 0;
            let image = Image::from([(1, file)]);
            if is_half_a_sector {
                assert!(run(&image, false).is_err(), "no crash writes half a sector");
                continue;
            }
            let (recovered, _) = run(&image, false).expect("a crash");
            assert_eq!(
                recovered.repairs,
                [Repair::Delete {
                    segment: SegmentId(1)
                }]
            );
            assert_eq!(recovered.log, None);
        }
    }
}

/// Prepared segments wait behind the last one, and a crash may have left holes among them and any part of a
/// first block in them. They are removed, highest first; the log is as long as it was.
#[test]
fn segments_that_have_not_begun_are_removed() {
    let mut writer = small_log();
    writer.prepare(5);
    let end = writer.end;
    writer.rotate();
    writer.append(&[vec![1; 2000]]);
    let mut sector = 0;
    // All of the first block has reached the disk, and the active header has not.
    let image = writer.crash(|all| {
        sector += 1;
        if sector == 1 { 0 } else { all }
    });
    let (recovered, seen) = run(&image, false).expect("a crash");
    assert_eq!(recovered.end.0, end);
    assert_eq!(seen, writer.records_to(end));
    let deletes = [5, 4, 3].map(|segment| Repair::Delete {
        segment: SegmentId(segment),
    });
    assert_eq!(recovered.repairs, deletes);
    assert_eq!(recovered.segments.last().map(|last| last.id.0), Some(2));
}

/// A segment's active header was synced and reads as prepared again: a lost write. Its blocks say that they
/// were synced after it, so to delete the file as unused would delete acknowledged writes. (Fails if unused
/// files are not searched for testimony.)
#[test]
fn a_segment_whose_activation_was_lost_is_damage() {
    let writer = small_log();
    for segment in [1, 2] {
        let image = with_header(&writer.kill(), segment, |header| {
            header.state = SegmentState::Prepared;
        });
        let Err(RecoveryError::Damaged(damage)) = run(&image, false) else {
            panic!("segment {segment} went unnoticed")
        };
        assert_eq!((damage.segment.0, damage.fault), (segment, Fault::NotBegun));
        let (_, seen) = run(&image, true).expect("its blocks are there");
        assert_eq!(seen, writer.records_to(u64::MAX));
    }
}

/// The first block of a segment that has not begun proves that all before it was synced, though it goes itself.
#[test]
fn a_block_in_an_unused_segment_testifies() {
    let mut writer = small_log();
    let last = writer.blocks[4].0;
    let hole = writer.offset(last);
    writer.rotate();
    writer.append(&[vec![1; 10]]);
    let mut image = writer.kill();
    image = with_header(&image, 3, |header| header.state = SegmentState::Prepared);
    assert!(run(&image, false).is_ok());
    image.get_mut(&2).expect("there")[hole..hole + 1024].fill(0);
    let Err(RecoveryError::Damaged(damage)) = run(&image, false) else {
        panic!("a hole went unnoticed")
    };
    assert_eq!(damage.offset, hole as u64);
    assert!(matches!(damage.proof, Proof::LaterBlock { .. }));
}

/// The same, and all that was in the segment before from some place on is gone: no block is left there that would end what is
/// given up. Salvage once went on by 64 bytes at a time, each with a look at all that follows.
#[test]
fn zeros_up_to_what_an_unused_segment_testifies_are_given_up_at_once() {
    let mut writer = small_log();
    let kept = writer.blocks[3].0;
    let hole = writer.offset(kept);
    let end = writer.end;
    writer.rotate();
    writer.append(&[vec![1; 10]]);
    let image = writer.kill();
    let mut image = with_header(&image, 3, |header| header.state = SegmentState::Prepared);
    image.get_mut(&2).expect("there")[hole..].fill(0);
    let (recovered, seen) = run(&image, true).expect("salvageable");
    assert_eq!(seen, writer.records_to(kept));
    assert_eq!(recovered.end.0, end);
    assert_eq!(recovered.damage.len(), 1);
    assert_eq!(recovered.damage[0].len, end - kept);
}

/// The newest segment that holds data was emptied, and the one prepared behind it was not. To take that for a crash would lose in silence
/// all that was in it.
#[test]
fn a_segment_that_was_emptied_is_damage_if_a_later_one_was_prepared() {
    let mut writer = small_log();
    // The first three blocks are in the first segment.
    let kept = writer.records_to(writer.blocks[2].0);
    writer.rotate();
    let image = writer.kill();
    let image = with_header(&image, 3, |header| header.state = SegmentState::Prepared);
    assert!(run(&image, false).is_ok());
    for len in [0, 100, 4096, LEN] {
        let mut image = image.clone();
        let file = image.get_mut(&2).expect("there");
        file.truncate(len);
        file.fill(0);
        assert!(
            matches!(run(&image, false), Err(RecoveryError::Damaged(damage)) if damage.segment == SegmentId(2)),
            "{len} bytes are left"
        );
        let (recovered, seen) = run(&image, true).expect("salvageable");
        assert_eq!(seen, kept);
        repair(&mut image, &recovered.repairs, || true);
        assert_eq!(run(&image, false).expect("repaired").1, kept);
    }
}

/// A segment in the middle was emptied, and so nothing says how long it was. Taken for the shortest there can be, the next one began beyond its end, and salvage
/// refused the whole log because of the gap.
#[test]
fn an_emptied_segment_was_as_long_as_the_others() {
    let mut writer = small_log();
    writer.rotate();
    let kept = writer.records_to(writer.blocks[2].0);
    let mut image = writer.kill();
    for segment in [1, 3] {
        image = with_header(&image, segment, |header| {
            header.segment_len = 2 * SEGMENT_LEN_MIN;
        });
        image.get_mut(&segment).expect("there").resize(2 * LEN, 0);
    }
    image.get_mut(&2).expect("there").clear();
    assert!(run(&image, false).is_err());
    let (recovered, seen) = run(&image, true).expect("salvageable");
    assert_eq!(recovered.segments[1].len, 2 * SEGMENT_LEN_MIN);
    assert_eq!(seen, kept);
    repair(&mut image, &recovered.repairs, || true);
    assert_eq!(image[&2].len(), 2 * LEN);
    assert_eq!(run(&image, false).expect("repaired").1, kept);
}

/// Something was appended to a file. Nothing of it is ever read, and nothing was lost: to call it damage would need a
/// salvage at this start and, since salvage cuts no file, at each one after it.
#[test]
fn a_file_that_is_too_long_has_lost_nothing() {
    let writer = small_log();
    for segment in [1, 2] {
        let mut image = writer.kill();
        image.get_mut(&segment).expect("there").extend([7; 700]);
        let (recovered, seen) = run(&image, false).expect("all is there");
        assert_eq!(seen, writer.records_to(u64::MAX));
        assert_eq!(recovered.end.0, writer.end);
        assert!(
            recovered
                .segments
                .iter()
                .all(|segment| segment.len == LEN as u64)
        );
    }
}

/// A file is missing, or one was added from elsewhere: each has its own sentence, names the file and is never
/// repaired.
#[test]
fn files_that_do_not_belong_together_are_refused() {
    let image = small_log().kill();
    let mut without_first = image.clone();
    without_first.remove(&1);
    assert!(matches!(
        refusal(&without_first),
        RecoveryError::MissingSegment {
            missing: SegmentId(1),
            ..
        }
    ));
    let mut third = small_log();
    third.rotate();
    third.append(&[vec![1]]);
    let mut without_second = third.kill();
    without_second.remove(&2);
    assert!(matches!(
        refusal(&without_second),
        RecoveryError::MissingSegment {
            missing: SegmentId(2),
            ..
        }
    ));

    let changed = |change: fn(&mut SegmentHeader)| refusal(&with_header(&image, 2, change));
    assert!(matches!(
        changed(|header| header.node += 1),
        RecoveryError::WrongNode { .. }
    ));
    assert!(matches!(
        changed(|header| header.shard = ShardId(0)),
        RecoveryError::WrongShard {
            found: 0,
            expected: 1,
            ..
        }
    ));
    assert!(matches!(
        changed(|header| header.shard_count = 8),
        RecoveryError::WrongShardCount { found: 8, .. }
    ));
    assert!(matches!(
        changed(|header| header.log = LogTag(9)),
        RecoveryError::OtherLog { .. }
    ));
    assert!(matches!(
        changed(|header| header.segment = SegmentId(9)),
        RecoveryError::WrongSegment { .. }
    ));
    let beyond = changed(|header| {
        header.state = SegmentState::Active {
            base: Position(1 << 40),
        }
    });
    assert!(matches!(beyond, RecoveryError::Gap { .. }));
    let inside = changed(|header| header.state = SegmentState::Active { base: Position(64) });
    assert!(matches!(
        inside,
        RecoveryError::Overlap {
            base: Position(64),
            ..
        }
    ));
    let first = refusal(&with_header(&image, 1, |header| {
        header.state = SegmentState::Active { base: Position(64) }
    }));
    assert!(matches!(first, RecoveryError::Gap { .. }));
    assert!(
        first.to_string().contains("0000000000000001.segment"),
        "{first}"
    );
}

/// A newer release wrote the files: "too new" is what helps, "damaged" would make somebody salvage them.
#[test]
fn a_newer_format_is_named_as_such() {
    let mut image = small_log().kill();
    let sector = &mut image.get_mut(&2).expect("there")[..SECTOR_LEN];
    sector[8] = 2;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sector[..12]);
    hasher.update(&sector[16..]);
    sector[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
    let error = refusal(&image);
    assert!(matches!(error, RecoveryError::Version { .. }));
    assert!(error.to_string().contains("format version 2"), "{error}");
}
