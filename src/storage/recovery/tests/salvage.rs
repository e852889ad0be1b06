//! Salvage: what is damaged is given up and said, all else stays, and the next start needs no salvage.

use proptest::prelude::*;

use super::super::Fault;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Ranges of the files are overwritten with zeros, garbage, or bytes that belong elsewhere in the log, several times.
    /// Whatever it is, a start without salvage either fails or shows what was written up to some block; salvage shows nothing
    /// that was not written, in order, and the start after it needs no salvage. (A panic or an overflow on any bytes fails this too.)
    #[test]
    fn whatever_is_overwritten_only_what_was_written_comes_back(
        wounds in prop::collection::vec((1..=3u64, 0..7000usize, 1..3000usize, 0..3u8, 0..4000usize), 1..4),
    ) {
        let mut writer = small_log();
        writer.seal();
        let sound = writer.kill();
        let mut image = sound.clone();
        for (segment, start, len, fill, from) in wounds {
            let from = SEGMENT_HEADER_LEN + from;
            let file = image.get_mut(&segment).expect("there");
            match fill {
                0 => file[start..start + len].fill(0),
                1 => file[start..start + len].iter_mut().zip(from..).for_each(|(byte, at)| *byte = (at * 131 % 251) as u8),
                _ => file[start..start + len].copy_from_slice(&sound[&2][from..from + len]),
            }
        }
        let all = writer.records_to(u64::MAX);
        if let Ok((_, seen)) = run(&image, false) {
            prop_assert!(all.starts_with(&seen));
        }
        if let Ok((recovered, seen)) = run(&image, true) {
            let mut rest = all.iter();
            prop_assert!(seen.iter().all(|known| rest.any(|written| written == known)), "in order");
            repair(&mut image, &recovered.repairs, || true);
            let (again, seen_again) = run(&image, false).expect("sound after a salvage");
            prop_assert_eq!(seen_again, seen);
            prop_assert_eq!((again.end, again.next_sequence), (recovered.end, recovered.next_sequence));
            prop_assert_eq!(again.repairs, vec![]);
        }
    }
}

/// Salvages, checks that only right records come back, carries out the repairs, and checks that the next start
/// finds the same without being asked to salvage.
fn salvage(image: &Image) -> (Recovered, Vec<Known>) {
    assert!(run(image, false).is_err(), "nothing to salvage");
    let (recovered, seen) = run(image, true).expect("salvageable");
    assert!(!recovered.damage.is_empty() && !recovered.clean);
    let mut repaired = image.clone();
    repair(&mut repaired, &recovered.repairs, || true);
    let (again, seen_again) = run(&repaired, false).expect("clean after a salvage");
    assert_eq!(seen_again, seen);
    assert_eq!(
        (again.end, again.segments),
        (recovered.end, recovered.segments.clone())
    );
    assert_eq!(again.next_sequence, recovered.next_sequence);
    assert_eq!((again.repairs, again.damage), (vec![], vec![]));
    (recovered, seen)
}

/// The records outside of a range of positions.
fn outside(writer: &Writer, from: u64, to: u64) -> Vec<Known> {
    let all = writer.records_to(u64::MAX);
    all.into_iter()
        .filter(|known| known.position < from || known.position >= to)
        .collect()
}

/// One byte of the log is wrong: salvage must cost the block that holds it and no other, wherever it is. Then
/// writing goes on.
#[test]
fn a_flipped_byte_costs_its_block_and_no_other() {
    let writer = small_log();
    let mut starts = vec![0];
    starts.extend(writer.blocks.iter().map(|(end, _)| *end));
    for pair in starts.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let (segment, base) = if from < writer.base {
            (1, 0)
        } else {
            (2, writer.base)
        };
        for position in (from..to).step_by(13) {
            let mut image = writer.kill();
            let offset = SEGMENT_HEADER_LEN + (position - base) as usize;
            image.get_mut(&segment).expect("there")[offset] ^= 0x10;
            let (recovered, seen) = salvage(&image);
            assert_eq!(seen, outside(&writer, from, to), "position {position}");
            assert_eq!(recovered.damage.len(), 1);
            assert_eq!(recovered.end.0, writer.end);

            repair(&mut image, &recovered.repairs, || true);
            let mut next = Writer::resume(image, &recovered, vec![], 100);
            next.append(&[vec![1; 100]]);
            let (_, mut seen_next) = run(&next.kill(), false).expect("sound");
            assert_eq!(seen_next.split_off(seen.len()), next.records_to(u64::MAX));
        }
    }
}

/// A crash in the middle of a salvage must not lose more than the salvage did.
#[test]
fn a_salvage_that_was_interrupted_can_be_repeated() {
    let mut writer = small_log();
    writer.append(&[vec![1; 3000]]);
    let mut sectors = 0;
    let mut image = writer.crash(|all| {
        sectors += 1;
        if sectors == 3 { 0 } else { all }
    });
    image.get_mut(&1).expect("there")[SEGMENT_HEADER_LEN + 70] ^= 1;
    image.get_mut(&2).expect("there")[SEGMENT_HEADER_LEN + 70] ^= 1;
    image.get_mut(&2).expect("there")[20] ^= 1;
    let (recovered, seen) = salvage(&image);
    assert_eq!(
        recovered.repairs.len(),
        5,
        "two skips, a header, a cut, an unused segment"
    );
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut half = image.clone();
        repair(&mut half, &recovered.repairs, || dice.coin());
        let (again, seen_again) = run(&half, true).expect("salvageable");
        assert_eq!(seen_again, seen, "seed {seed}");
        assert_eq!(
            (again.end, again.segments),
            (recovered.end, recovered.segments.clone())
        );
    }
}

/// After a kill, blocks that were never synced are still in the page cache, and salvage puts a skip behind
/// them. The power goes before the salvage is synced: the skip is on disk and a block before it is not. That is
/// a tear like any other, so the skip must not testify that the block was synced.
#[test]
fn a_skip_does_not_testify_for_what_was_in_flight_before_it() {
    let mut writer = small_log();
    let synced = writer.end;
    writer.append(&[vec![1; 2000]]);
    let bad = writer.offset(writer.end);
    writer.append(&[vec![2; 10]]);
    let mut image = writer.kill();
    image.get_mut(&2).expect("there")[bad + 8..bad + 16].fill(0xEE);
    let (recovered, seen) = salvage(&image);
    assert_eq!(seen, writer.records_to(writer.blocks[6].0));
    repair(&mut image, &recovered.repairs, || true);
    let torn = (bad - 1024).next_multiple_of(SECTOR_LEN);
    image.get_mut(&2).expect("there")[torn..torn + SECTOR_LEN].fill(0);
    let (recovered, seen) = run(&image, false).expect("a torn write is not damage");
    assert_eq!(recovered.end.0, synced);
    assert_eq!(seen, writer.records_to(synced));
}

/// Behind a skip any higher number is right, so a block may come with the highest there is. It has no successor: to count on
/// from it would begin again at zero.
#[test]
fn the_highest_number_is_no_blocks() {
    let writer = small_log();
    let mut image = writer.kill();
    let (second, third) = (
        writer.offset(writer.blocks[3].0),
        writer.offset(writer.blocks[4].0),
    );
    let file = image.get_mut(&2).expect("there");
    file[second + 70] ^= 1;
    let place = file[third..].first_chunk_mut().expect("a header");
    let mut header = BlockHeader::decode(place).expect("whole");
    header.sequence = u64::MAX;
    header.encode(place);
    let (recovered, seen) = salvage(&image);
    assert_eq!(seen, writer.records_to(writer.blocks[3].0));
    assert!(recovered.next_sequence < 20, "{}", recovered.next_sequence);
}

/// The sector of a segment's header is gone. All its blocks are still there and say where they belong; not one
/// record may be lost.
#[test]
fn a_lost_segment_header_costs_nothing() {
    let writer = small_log();
    for segments in [vec![1], vec![2], vec![1, 2]] {
        for byte in [0, 0xA5] {
            let mut image = writer.kill();
            for segment in &segments {
                image.get_mut(segment).expect("there")[..SECTOR_LEN].fill(byte);
            }
            // With no header left to compare with, only blocks can tell which log this is.
            if segments.len() == 2 {
                image.remove(&3);
            }
            let (recovered, seen) = salvage(&image);
            assert_eq!(seen, writer.records_to(u64::MAX));
            assert!(
                recovered
                    .damage
                    .iter()
                    .all(|damage| damage.offset == 0 && damage.len == 0)
            );
            assert!(matches!(recovered.damage[0].fault, Fault::SegmentHeader(_)));
        }
    }
}

/// The same, and its first block with it.
#[test]
fn a_lost_segment_header_and_first_block_cost_that_block() {
    let writer = small_log();
    let mut image = writer.kill();
    image.get_mut(&2).expect("there")[..SEGMENT_HEADER_LEN + 128].fill(0xA5);
    let (_, seen) = salvage(&image);
    assert_eq!(seen, outside(&writer, writer.base, writer.blocks[3].0));
}

/// A file was copied half: what is in the part that is left must be had, at any length, and never more than was
/// written. (Where it was cut inside the header's sector, filling it up once cleared the header that had just been written.)
#[test]
fn a_truncated_last_file_gives_back_what_it_holds() {
    let writer = small_log();
    for len in (1..writer.offset(writer.end) + 600).step_by(61) {
        let mut image = writer.kill();
        image.get_mut(&2).expect("there").truncate(len);
        let (recovered, seen) = salvage(&image);
        let left = writer.base + len.saturating_sub(SEGMENT_HEADER_LEN) as u64;
        let whole = writer
            .blocks
            .iter()
            .rfind(|(end, _)| *end <= left)
            .expect("the first segment");
        assert_eq!(seen, writer.records_to(whole.0), "cut to {len}");
        assert_eq!(recovered.segments[1].len, SEGMENT_LEN_MIN);
    }
}

/// The last file lost its end, and how much had been in it nobody can know. Taken for the log's end, the next writes would get the versions that were
/// given to what is lost. So all that the segment can have held from there on is given up, said and covered; but nothing if what is left shows
/// that the log had ended before.
#[test]
fn a_truncated_last_file_gives_up_all_that_can_have_been_in_it() {
    let writer = small_log();
    let reach = writer.base + (LEN - SEGMENT_HEADER_LEN) as u64;
    for len in (SECTOR_LEN..writer.offset(writer.end) + 600).step_by(61) {
        let mut image = writer.kill();
        image.get_mut(&2).expect("there").truncate(len);
        let (recovered, _) = salvage(&image);
        let [damage] = &recovered.damage[..] else {
            panic!("cut to {len}: {:?}", recovered.damage);
        };
        assert!(matches!(damage.fault, Fault::FileLength { actual, .. } if actual == len as u64));
        if len >= writer.offset(writer.end) + BLOCK_HEADER_LEN {
            assert_eq!((damage.len, damage.offset), (0, len as u64));
            assert_eq!(recovered.end.0, writer.end);
            continue;
        }
        assert_eq!(recovered.end.0, reach, "cut to {len}");
        let given_up = writer.base + damage.offset - SEGMENT_HEADER_LEN as u64;
        assert_eq!(given_up + damage.len, reach, "cut to {len}");
    }
}

/// The file is filled up last, and only when the skip over what it lost is on disk. The other way round, a crash in between would leave a log that
/// ends early and nothing that says so.
#[test]
fn a_truncated_file_is_damage_until_what_it_lost_is_covered() {
    let writer = small_log();
    let mut image = writer.kill();
    let cut = writer.offset(writer.blocks[4].0) + 30;
    image.get_mut(&2).expect("there").truncate(cut);
    let (recovered, seen) = salvage(&image);
    let [skip, Repair::Extend { .. }, Repair::Delete { .. }] = &recovered.repairs[..] else {
        panic!("{:?}", recovered.repairs);
    };
    for seed in 0..50 {
        let mut dice = Dice(seed);
        let mut half = image.clone();
        repair(&mut half, &recovered.repairs, || dice.coin());
        match run(&half, false) {
            Ok((again, seen_again)) => {
                assert_eq!(
                    (again.end, &seen_again),
                    (recovered.end, &seen),
                    "seed {seed}"
                );
            }
            Err(error) => {
                let RecoveryError::Damaged(damage) = error else {
                    panic!("seed {seed}: {error}");
                };
                assert!(
                    matches!(damage.fault, Fault::FileLength { .. }),
                    "seed {seed}"
                );
                let (again, seen_again) = run(&half, true).expect("salvageable");
                assert_eq!(
                    (again.end, &seen_again),
                    (recovered.end, &seen),
                    "seed {seed}"
                );
            }
        }
    }
    // With the skip there and nothing else, the same is given up again, and no more.
    repair(&mut image, std::slice::from_ref(skip), || true);
    let (again, _) = run(&image, true).expect("salvageable");
    let range = |recovered: &Recovered| {
        let ranges = recovered.damage.iter();
        ranges
            .map(|damage| (damage.offset, damage.len))
            .collect::<Vec<_>>()
    };
    assert_eq!(range(&again), range(&recovered));
}

/// Salvage is for damage. Files of another node are not damage, and giving them up would throw somebody's data away.
#[test]
fn salvage_gives_up_no_file_of_another_log() {
    let mut image = small_log().kill();
    let stranger = SegmentHeader {
        node: 7,
        ..Writer::header(2, SegmentState::Active { base: Position(0) })
    };
    image.get_mut(&2).expect("there")[..SECTOR_LEN].copy_from_slice(&stranger.encode());
    assert!(matches!(
        run(&image, true),
        Err(RecoveryError::WrongNode { found: 7, .. })
    ));
}
