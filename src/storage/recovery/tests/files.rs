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
            assert_eq!(recovered.repairs, [], "the file stays, to be made anew");
            assert_eq!(recovered.log, None);
        }
    }
}

/// Prepared segments wait behind the last one, and a crash may have left any part of a first block in them. They are removed, highest first; the log is as long as it was.
#[test]
fn segments_that_have_not_begun_are_removed() {
    let mut writer = small_log();
    writer.prepare(4);
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
            matches!(run(&image, false), Err(RecoveryError::Damaged(damage)) if damage.segment == SegmentId(2)
                // Where not even a header is left, the first sentence tells how much is lost.
                && (damage.len > 0) == (len < SECTOR_LEN)),
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

/// Files are gone: the first, some in the middle, or the newest with data, of which only the file prepared behind it is left to tell. The start names
/// the first that is missing. With salvage the node has all that is in the others, says what it gave up, and needs no salvage again, also
/// if it was interrupted.
#[test]
fn missing_segments_are_named_and_salvage_goes_on_without_them() {
    let mut writer = small_log();
    for _ in 0..3 {
        writer.rotate();
        writer.append(&[vec![7; 600_000]]);
    }
    writer.prepare(6);
    let base = |segment: u64| match SegmentHeader::decode(
        writer.kill()[&segment].first_chunk().expect("there"),
    ) {
        Ok(SegmentHeader {
            state: SegmentState::Active { base },
            ..
        }) => base.0,
        other => panic!("{other:?}"),
    };
    for lost in [
        &[1][..],
        &[2],
        &[4],
        &[5],
        &[2, 3],
        &[1, 2, 3, 4],
        &[2, 4, 5],
    ] {
        let mut image = writer.kill();
        image.retain(|segment, _| !lost.contains(segment));
        let missing = SegmentId(lost[0]);
        assert!(
            matches!(run(&image, false), Err(RecoveryError::MissingSegment { missing: named, .. }) if named == missing),
            "{lost:?}"
        );
        let kept: Vec<Known> = (1..=5)
            .filter(|segment| !lost.contains(segment))
            .flat_map(|segment| {
                let to = if segment == 5 {
                    u64::MAX
                } else {
                    base(segment + 1)
                };
                writer
                    .records_to(to)
                    .split_off(writer.records_to(base(segment)).len())
            })
            .collect();
        let (recovered, seen) = run(&image, true).expect("salvageable");
        assert_eq!(seen, kept, "{lost:?}");
        for segment in lost {
            let name = format!("{}.segment", SegmentId(*segment));
            let mut damage = recovered.damage.iter().filter(|damage| damage.file == name);
            assert_eq!(
                damage.next().map(|damage| &damage.fault),
                Some(&Fault::FileMissing)
            );
            assert_eq!(damage.next(), None, "one sentence a file");
        }
        let given_up: u64 = recovered.damage.iter().map(|damage| damage.len).sum();
        // Where no later base is known, a segment may have been full.
        let full = LEN as u64 - 4096;
        let lost_bytes: u64 = match lost {
            [2, 4, 5] => base(3) - base(2) + 2 * full,
            [5] => full,
            _ => lost
                .iter()
                .map(|segment| base(segment + 1) - base(*segment))
                .sum(),
        };
        assert_eq!(given_up, lost_bytes, "{lost:?}");
        for done in 0..recovered.repairs.len() {
            let mut interrupted = image.clone();
            repair(&mut interrupted, &recovered.repairs[..done], || true);
            let (again, seen) = run(&interrupted, true).expect("salvageable again");
            assert_eq!(
                (seen, again.end),
                (kept.clone(), recovered.end),
                "{lost:?}, {done} repairs"
            );
        }
        repair(&mut image, &recovered.repairs, || true);
        let (again, seen) = run(&image, false).expect("repaired");
        assert_eq!(
            (seen, again.end, again.damage),
            (kept, recovered.end, vec![])
        );
    }
}

/// The file was elsewhere after all. What salvage made in its place says nothing but how much is given up, so the file itself may come back over it, and with it
/// all that is in it.
#[test]
fn a_segment_that_turns_up_again_takes_its_place() {
    let mut writer = small_log();
    writer.rotate();
    writer.append(&[vec![1]]);
    let whole = writer.kill();
    let mut image = whole.clone();
    image.remove(&2);
    let (recovered, _) = run(&image, true).expect("salvageable");
    repair(&mut image, &recovered.repairs, || true);
    image.insert(2, whole[&2].clone());
    assert_eq!(
        run(&image, false).expect("whole again").1,
        writer.records_to(u64::MAX)
    );
}

/// The segment that was lost was longer than what is left of the others: nothing says so but where the next one begins. (Salvage refused the log because of a gap.)
#[test]
fn a_lost_segment_was_as_long_as_the_next_ones_base_says() {
    let mut writer = small_log();
    writer.rotate();
    let mut image = with_header(&writer.kill(), 3, |header| {
        header.state = SegmentState::Active {
            base: Position(writer.blocks[3].0 + 2 * SEGMENT_LEN_MIN),
        };
    });
    image.remove(&2);
    let (recovered, seen) = run(&image, true).expect("salvageable");
    assert_eq!(seen, writer.records_to(writer.blocks[2].0));
    repair(&mut image, &recovered.repairs, || true);
    assert_eq!(run(&image, false).expect("repaired").1, seen);
}

/// A file with the number of no segment that there ever was: to make up for all before it would fill the disk. One that is blank was never used, whatever its number.
#[test]
fn too_many_missing_segments_are_refused() {
    let mut image = small_log().kill();
    image.insert(u64::MAX, Vec::new());
    assert!(run(&image, false).is_ok());
    image.insert(u64::MAX, vec![7; LEN]);
    assert!(matches!(
        run(&image, false),
        Err(RecoveryError::MissingSegment {
            missing: SegmentId(4),
            ..
        })
    ));
    assert!(matches!(
        run(&image, true),
        Err(RecoveryError::TooManyMissing { .. })
    ));
}

/// A file was added from elsewhere: each case has its own sentence, names the file and is never repaired.
#[test]
fn files_that_do_not_belong_together_are_refused() {
    let image = small_log().kill();
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
