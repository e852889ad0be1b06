//! Segments that compaction has removed: gaps that are right, gaps that are not, and removals that a crash cut short.

use super::*;
use crate::storage::format::{Given, RemovedRange};

/// A log of four segments with blocks in each; the fourth is the active one. Where each begins, and with which number.
fn log_of_four() -> (Writer, Vec<(u64, u64)>) {
    let mut writer = Writer::new();
    let mut begins = vec![(0, 1)];
    for segment in 1..=4 {
        for number in 0..3_u8 {
            writer.append(&[vec![segment; 700], vec![number; 30]]);
        }
        writer.sync();
        if segment < 4 {
            writer.rotate();
            begins.push((writer.base, writer.sequence));
        }
    }
    (writer, begins)
}

/// The header of a stub that stands for segments `first..=last`.
fn stub(begins: &[(u64, u64)], first: u64, last: u64) -> Vec<u8> {
    let (end, sequence) = begins[last as usize];
    let range = RemovedRange {
        first: SegmentId(first),
        base: Position(begins[first as usize - 1].0),
        end: Position(end),
        sequence,
        given: Given {
            versions: Version(1000),
            system_versions: Version(7),
            entries: 50,
        },
    };
    let header = Writer::header(last, SegmentState::Removed(range)).encode();
    [header, header].concat()
}

fn put_header(image: &mut Image, segment: u64, header: &[u8]) {
    image.get_mut(&segment).expect("it is there")[..header.len()].copy_from_slice(header);
}

/// The records that lie outside a range of positions.
fn records_outside(writer: &Writer, gone: std::ops::Range<u64>) -> Vec<Known> {
    let all = writer.blocks.iter().flat_map(|(_, records)| records);
    all.filter(|record| !gone.contains(&record.position))
        .cloned()
        .collect()
}

/// The header says that it is gone, and a crash came before the rest: nothing of it may come up, for deletes that hid what is in it may be gone
/// too. A start finishes the removal, and the next one finds nothing to do.
#[test]
fn what_is_removed_is_passed_over_whatever_is_left_of_it() {
    let (writer, begins) = log_of_four();
    for (first, last) in [(1, 1), (2, 2), (2, 3), (1, 3)] {
        let gone = begins[first as usize - 1].0..begins[last as usize].0;
        let expected = records_outside(&writer, gone);
        let mut image = writer.kill();
        put_header(&mut image, last, &stub(&begins, first, last));
        for _ in 0..2 {
            let (recovered, seen) = run(&image, false).expect("a removal is no damage");
            assert_eq!(seen, expected, "{first}..={last}");
            assert_eq!(recovered.end.0, writer.end);
            assert_eq!(recovered.next_sequence, writer.sequence);
            let stubs: Vec<u64> = recovered.removed.iter().map(|one| one.stub.0).collect();
            assert_eq!(stubs, [last]);
            // The prepared one goes as ever.
            let mut tidied = image.clone();
            repair(&mut tidied, &recovered.repairs, || true);
            assert!((first..last).all(|covered| !tidied.contains_key(&covered)));
            assert_eq!(tidied[&last].len(), SEGMENT_HEADER_LEN);
            image = tidied;
        }
        let (recovered, _) = run(&image, false).expect("it is tidy");
        assert_eq!(recovered.repairs, []);
        // Any part of the repairs may be done.
        let mut dice = Dice(first * 10 + last);
        for _ in 0..20 {
            let mut image = writer.kill();
            put_header(&mut image, last, &stub(&begins, first, last));
            for _ in 0..3 {
                let (recovered, seen) = run(&image, false).expect("no damage");
                assert_eq!(seen, expected);
                repair(&mut image, &recovered.repairs, || dice.coin());
            }
        }
    }
}

/// The stub's file is synced before anything that it stands for is deleted: after `kill -9` its header may be in the page cache alone, and a power
/// loss would leave neither the segments nor what says that they are gone.
#[test]
fn the_stub_is_synced_before_what_it_stands_for_goes() {
    let (writer, begins) = log_of_four();
    let mut image = writer.kill();
    put_header(&mut image, 3, &stub(&begins, 2, 3));
    image
        .get_mut(&3)
        .expect("there")
        .truncate(SEGMENT_HEADER_LEN);
    let (recovered, _) = run(&image, false).expect("no damage");
    let place = |wanted: &Repair| recovered.repairs.iter().position(|one| one == wanted);
    let synced = place(&Repair::Truncate {
        segment: SegmentId(3),
        len: SEGMENT_HEADER_LEN as u64,
    });
    let deleted = place(&Repair::Delete {
        segment: SegmentId(2),
    });
    assert!(
        synced.is_some() && synced < deleted,
        "{:?}",
        recovered.repairs
    );
}

/// Nothing else tells a removed range from a lost one, so the header is there twice. One of them may rot.
#[test]
fn a_stub_is_known_by_either_of_its_headers() {
    let (writer, begins) = log_of_four();
    let mut image = writer.kill();
    put_header(&mut image, 2, &stub(&begins, 2, 2));
    let expected = run(&image, false).expect("a removal").1;
    for rotten in [100, SECTOR_LEN + 100] {
        let mut image = image.clone();
        image.get_mut(&2).expect("there")[rotten] ^= 1;
        let (recovered, seen) = run(&image, false).expect("the other one is whole");
        assert_eq!(seen, expected);
        repair(&mut image, &recovered.repairs, || true);
        let header = stub(&begins, 2, 2);
        assert_eq!(
            image[&2][..header.len()],
            header[..],
            "both are whole again"
        );
    }
    // A segment that lives is not believed to be removed because of what is behind its header.
    let mut image = writer.kill();
    let header = stub(&begins, 2, 2);
    image.get_mut(&2).expect("there")[SECTOR_LEN..2 * SECTOR_LEN]
        .copy_from_slice(&header[SECTOR_LEN..]);
    let seen = run(&image, false).expect("the first header is whole").1;
    assert_eq!(seen, records_outside(&writer, 0..0));
}

/// A gap that no stub stands for is a lost file, as it was before there were stubs; and so is a lost stub.
#[test]
fn a_gap_without_a_stub_is_a_lost_file() {
    let (writer, begins) = log_of_four();
    let mut image = writer.kill();
    put_header(&mut image, 2, &stub(&begins, 2, 2));
    for lost in [1, 2, 3] {
        let mut image = image.clone();
        image.remove(&lost);
        match run(&image, false) {
            Err(RecoveryError::MissingSegment { missing, .. }) => assert_eq!(missing.0, lost),
            other => panic!("{lost} is missing, and that is {other:?}"),
        }
    }
    // A stub whose range is not where it stands: what is missing before it was synced, for a later segment has begun.
    let mut image = writer.kill();
    let mut moved = begins.clone();
    moved[1].0 += 64;
    put_header(&mut image, 3, &stub(&moved, 2, 3));
    assert!(matches!(
        run(&image, false),
        Err(RecoveryError::Damaged(damage)) if damage.segment == SegmentId(1)
    ));
}
