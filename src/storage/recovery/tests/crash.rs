//! Power loss and kill, in every order of sectors: nothing that was synced is lost, nothing is half there.

use proptest::prelude::*;

use super::*;

/// One thing that a writer does.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Vec<u8>>),
    Sync,
    Rotate,
    Seal,
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200),
        // Sectors that are zero by right, between others or at the end, next to those that a tear leaves.
        2 => (0..1500usize, 0..1500usize, 0..3usize).prop_map(|(head, zeros, tail)| {
            let mut value = vec![1; head];
            value.resize(head + zeros, 0);
            value.resize(head + zeros + tail, 1);
            value
        }),
        1 => prop::collection::vec(any::<u8>(), 1500..4000),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(value(), 1..4).prop_map(Step::Append),
        3 => Just(Step::Sync),
        1 => Just(Step::Rotate),
        1 => Just(Step::Seal),
    ]
}

fn take(writer: &mut Writer, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Append(values) => writer.append(values),
            Step::Sync => writer.sync(),
            // The shard begins a segment only to write into it, and not before the last one has been.
            Step::Rotate if writer.end > writer.base => writer.rotate(),
            Step::Rotate => {}
            Step::Seal => writer.seal(),
        }
    }
}

/// A crash may also come while the next segment is being made: any part of its file may be there.
fn half_prepare(image: &mut Image, dice: &mut Dice) {
    let Some((last, file)) = image.last_key_value() else {
        return;
    };
    let (last, len) = (*last, file.len());
    let mut file = vec![0; [0, 100, 512, 5000, len][dice.below(5)]];
    if file.len() >= SECTOR_LEN && dice.coin() {
        let header = Writer::header(last + 1, SegmentState::Prepared).encode();
        file[..SECTOR_LEN].copy_from_slice(&header);
    }
    if dice.coin() {
        image.insert(last + 1, file);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// The machine lost power with any number of blocks in flight, came up, lost power again in the middle of
    /// its repairs, came up, went on writing, and so on. Each time the log must be a prefix of what was
    /// written, with all that was synced in it. (Fails if the rest of a torn block's sector, its count of zero
    /// sectors, or the length of what is zeroed is wrong, if a later block in flight is taken for a witness,
    /// and if repairs are not enough: then an old block comes back in a later round.)
    #[test]
    fn a_crash_leaves_a_prefix_with_all_that_was_synced(
        rounds in prop::collection::vec((prop::collection::vec(step(), 0..12), any::<u64>()), 1..4),
    ) {
        let mut writer = Writer::new();
        for (steps, seed) in rounds {
            take(&mut writer, &steps);
            let mut dice = Dice(seed);
            let style = dice.below(4);
            let mut image = writer.crash(|all| match style {
                0 => all,
                1 => if dice.coin() { all } else { 0 },
                _ => dice.below(all + 1),
            });
            half_prepare(&mut image, &mut dice);
            let (recovered, seen) = run(&image, false).expect("a crash is not damage");
            prop_assert!(recovered.end.0 >= writer.durable, "what was synced is there");
            prop_assert_eq!(&seen, &writer.records_to(recovered.end.0), "and it is a prefix");

            let mut torn = image.clone();
            repair(&mut torn, &recovered.repairs, || dice.coin());
            let (again, seen_again) = run(&torn, false).expect("half a repair is not damage");
            prop_assert_eq!((again.end, again.next_sequence), (recovered.end, recovered.next_sequence));
            prop_assert_eq!(&seen_again, &seen, "the same log, however much of the repairs was done");

            repair(&mut torn, &again.repairs, || true);
            let (repaired, seen_repaired) = run(&torn, false).expect("a repaired log is sound");
            prop_assert_eq!(&repaired.repairs, &vec![], "and needs nothing more");
            prop_assert_eq!(&seen_repaired, &seen);
            let blocks = writer.blocks.iter().take_while(|(end, _)| *end <= recovered.end.0).cloned();
            writer = Writer::resume(torn, &repaired, blocks.collect(), writer.versions);
        }
    }

    /// What is beyond the end of the log is not trusted to be harmless: all of it, wherever the bytes came
    /// from, is gone after the repairs.
    #[test]
    fn repairs_leave_zeros_beyond_the_end(steps in prop::collection::vec(step(), 1..8), seed: u64) {
        let mut writer = Writer::new();
        take(&mut writer, &steps);
        let mut dice = Dice(seed);
        let mut image = writer.crash(|all| dice.below(all + 1));
        let (recovered, _) = run(&image, false).expect("a crash is not damage");
        repair(&mut image, &recovered.repairs, || true);
        let last = recovered.segments.last();
        prop_assert_eq!(image.keys().last().copied(), last.map(|last| last.id.0));
        if let Some(last) = last {
            let end = SEGMENT_HEADER_LEN + (last.end.0 - last.base.0) as usize;
            prop_assert!(image[&last.id.0][end..].iter().all(|byte| *byte == 0));
        }
    }
}

/// A write of several sectors was under way: any subset of them may have reached the disk, in any order. All 2ⁿ
/// are tried; the block is there only if all its sectors are, and the start never fails.
#[test]
fn a_block_with_any_of_its_sectors_missing_is_there_whole_or_not_at_all() {
    for value in [
        vec![7; 4000],
        vec![0; 4000],
        [vec![7; 900], vec![0; 2000], vec![7; 900]].concat(),
    ] {
        let mut writer = Writer::new();
        writer.append(&[vec![1; 100]]);
        writer.sync();
        let before = writer.end;
        writer.append(&[value]);
        let whole = writer.kill();
        let mut sectors = 0;
        writer.crash(|_| {
            sectors += 1;
            0
        });
        assert!(sectors >= 8, "the block is long enough to be torn");
        for subset in 0..1u32 << sectors {
            let mut sector = 0;
            let image = writer.crash(|all| {
                sector += 1;
                if subset >> (sector - 1) & 1 == 1 {
                    all
                } else {
                    0
                }
            });
            let (recovered, seen) = run(&image, false).expect("a torn write is not damage");
            let expected = if image == whole { writer.end } else { before };
            assert_eq!(recovered.end.0, expected, "subset {subset:b}");
            assert_eq!(seen, writer.records_to(expected));
        }
    }
}

/// `kill -9` takes nothing that was written: the page cache has it. Recovery must not be stricter than the kernel.
#[test]
fn a_kill_loses_nothing_that_was_written() {
    let mut writer = small_log();
    writer.append(&[vec![4; 2000]]);
    writer.append(&[vec![5; 10]]);
    let (recovered, seen) = run(&writer.kill(), false).expect("sound");
    assert_eq!(recovered.end.0, writer.end);
    assert_eq!(seen, writer.records_to(u64::MAX));
    assert_eq!(recovered.next_sequence, writer.sequence);
    assert_eq!(
        recovered.timestamp_max,
        WallMillis(1_700_000_000_000 + writer.versions)
    );
    assert!(!recovered.clean, "no seal");
}

/// After a clean stop the next start may skip what it does after a crash, so only a seal at the very end may
/// count as one.
#[test]
fn only_a_seal_at_the_end_is_a_clean_stop() {
    let mut writer = small_log();
    writer.seal();
    let (recovered, _) = run(&writer.kill(), false).expect("sound");
    assert!(recovered.clean);
    assert_eq!(recovered.end.0, writer.end);
    let sealed = writer.kill();
    for len in [1, 2000] {
        let mut writer = Writer::resume(sealed.clone(), &recovered, vec![], 100);
        writer.append(&[vec![1; len]]);
        assert!(
            !run(&writer.kill(), false).expect("sound").0.clean,
            "a block after the seal"
        );
        let lost = writer.crash(|_| 0);
        assert!(
            run(&lost, false).expect("sound").0.clean,
            "the block never reached the disk"
        );
        let mut sector = 0;
        let torn = writer.crash(|all| {
            sector += 1;
            if sector == 1 { all } else { 0 }
        });
        assert!(
            !run(&torn, false).expect("sound").0.clean,
            "a part of the block did"
        );
    }
}

/// Each record that recovery shows can later be fetched alone and pass its own checksum, or reads would fail
/// after a good start.
#[test]
fn a_recovered_record_passes_its_own_check() {
    let writer = small_log();
    let image = writer.kill();
    let (recovered, seen) = run(&image, false).expect("sound");
    assert_eq!(seen.len(), 9);
    for known in seen {
        let segment = recovered
            .segments
            .iter()
            .rfind(|segment| segment.base.0 <= known.position);
        let segment = segment.expect("a segment covers it");
        let offset = SEGMENT_HEADER_LEN + (known.position - segment.base.0) as usize;
        let bytes = &image[&segment.id.0][offset..offset + known.len as usize];
        let record = Record::check(bytes, Position(known.position)).expect("whole");
        assert_eq!(
            (record.key, record.value),
            (&known.key[..], &known.value[..])
        );
    }
}
