//! Damage: what was synced and is not there any more stops the start with the file and the place, whatever it
//! looks like.

use super::super::{Damage, Fault, Proof};
use super::*;

fn damage(image: &Image) -> Damage {
    match run(image, false) {
        Err(RecoveryError::Damaged(damage)) => *damage,
        other => panic!("not damage: {other:?}"),
    }
}

/// Overwrites a part of the log's last segment, from a position on.
fn overwrite(writer: &Writer, position: u64, bytes: &[u8]) -> Image {
    let mut image = writer.kill();
    let offset = writer.offset(position);
    let file = image.get_mut(&writer.segment).expect("there");
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    image
}

/// A disk returns one wrong byte. For each byte of a log, in each of two ways, the start must fail and name the
/// place, or the byte means nothing and every record is as it was written. (Fails if any checksum is left out.)
#[test]
fn every_flipped_byte_is_found_or_harmless() {
    let writer = small_log();
    let mut image = writer.kill();
    let records = writer.records_to(u64::MAX);
    let mut found = 0;
    let first_len = writer.base as usize + SEGMENT_HEADER_LEN;
    for (segment, len) in [
        (1, first_len),
        (2, writer.offset(writer.end) + 2 * SECTOR_LEN),
    ] {
        // The headers' pages are unused from their second sector on: some of that suffices.
        let unused = (SECTOR_LEN..SEGMENT_HEADER_LEN).step_by(500);
        for offset in (0..SECTOR_LEN).chain(unused).chain(SEGMENT_HEADER_LEN..len) {
            for flip in [0x01, 0xFF] {
                image.get_mut(&segment).expect("there")[offset] ^= flip;
                match run(&image, false) {
                    Ok((recovered, seen)) => {
                        assert_eq!(seen, records, "segment {segment}, offset {offset}");
                        assert_eq!(recovered.end.0, writer.end);
                    }
                    Err(RecoveryError::Damaged(damage)) => {
                        let near = damage.offset..damage.offset + damage.len.max(SECTOR_LEN as u64);
                        assert!(near.contains(&(offset as u64)), "offset {offset}: {damage}");
                        assert!(damage.file.contains(&SegmentId(segment).to_string()));
                        found += 1;
                    }
                    Err(error) => panic!("segment {segment}, offset {offset}: {error}"),
                }
                image.get_mut(&segment).expect("there")[offset] ^= flip;
            }
        }
    }
    // Nothing but the unused part of the headers' pages and what is behind the end may be flipped without being
    // found.
    let checked = writer.end as usize + 2 * SECTOR_LEN;
    assert!(found >= 2 * checked, "{found} of {}", 2 * checked);
}

/// The same on a log that a crash has torn: the flip must not make the cut reach into what was synced, nor let half a block in.
#[test]
fn a_flipped_byte_in_a_torn_log_costs_nothing_that_was_synced() {
    let mut writer = small_log();
    writer.append(&[vec![6; 900]]);
    writer.append(&[vec![7; 50]]);
    let mut sector = 0;
    let mut image = writer.crash(|all| {
        sector += 1;
        if sector == 2 { 0 } else { all }
    });
    assert_eq!(
        run(&image, false).expect("a torn write").0.end.0,
        writer.durable
    );
    for offset in SEGMENT_HEADER_LEN..writer.offset(writer.end) + SECTOR_LEN {
        for flip in [0x01, 0xFF] {
            image.get_mut(&2).expect("there")[offset] ^= flip;
            match run(&image, false) {
                Ok((recovered, seen)) => {
                    assert_eq!(recovered.end.0, writer.durable, "offset {offset}");
                    assert_eq!(seen, writer.records_to(writer.durable));
                }
                Err(error) => assert!(matches!(error, RecoveryError::Damaged(_)), "{error}"),
            }
            image.get_mut(&2).expect("there")[offset] ^= flip;
        }
    }
}

/// The disk returns zeros for a sector that was synced (a lost write, a discarded range). Where a later block
/// or segment testifies, the start must fail: to take the hole for a crash would cut all acknowledged writes
/// behind it. (Fails if `durable` is not looked at, or a later segment's base is not.)
#[test]
fn a_lost_sector_below_the_durable_position_is_damage() {
    let mut writer = small_log();
    writer.seal();
    let seal = writer.offset(writer.end) - BLOCK_HEADER_LEN;
    let first_end = writer.base as usize + SEGMENT_HEADER_LEN;
    let mut holes = 0;
    for (segment, end) in [(1, first_end), (2, seal)] {
        for start in (SEGMENT_HEADER_LEN..end).step_by(SECTOR_LEN) {
            let mut image = writer.kill();
            // All of the sector that lies before the seal.
            let hole =
                &mut image.get_mut(&segment).expect("there")[start..end.min(start + SECTOR_LEN)];
            if hole.iter().all(|byte| *byte == 0) {
                continue;
            }
            hole.fill(0);
            let damage = damage(&image);
            assert_eq!(damage.segment.0, segment);
            assert!(
                (start as u64) < damage.offset + damage.len
                    && damage.offset < (start + SECTOR_LEN) as u64
            );
            match damage.proof {
                Proof::LaterSegment { .. } => assert_eq!(segment, 1),
                Proof::LaterBlock { .. } => assert_eq!(segment, 2),
                proof => panic!("sector {start}: {proof}"),
            }
            holes += 1;
        }
    }
    assert!(holes > 5, "{holes}");
}

/// A block that was in flight is not a witness against the block that was in flight with it; but its header
/// alone is a witness for what was synced, even if its own payload is torn.
#[test]
fn a_torn_block_still_testifies_for_what_was_synced_before_it() {
    let mut writer = small_log();
    let start = writer.end;
    writer.append(&[vec![1; 600]]);
    writer.sync();
    writer.append(&[vec![2; 2000]]);
    let torn_block = writer.end - 1024;
    let mut image = overwrite(&writer, torn_block, &[0; 1024]);
    let (recovered, _) = run(&image, false).expect("the last block is torn, that is all");
    assert_eq!(recovered.segments[1].end.0, writer.durable);
    let hole = writer.offset(start);
    image.get_mut(&2).expect("there")[hole..hole + 64].fill(0);
    let damage = damage(&image);
    assert_eq!((damage.offset, damage.fault), (hole as u64, Fault::Missing));
    assert!(
        matches!(damage.proof, Proof::LaterBlock { durable, .. } if durable.0 == writer.durable)
    );
}

/// The last block, not yet followed by any witness: what no order of whole sectors can leave is damage even
/// there. (Each case fails if its shape is taken for a tear: half a header, a header that is gone while its
/// sector isn't, a flipped payload beside a sector of zeros that belong there.)
#[test]
fn what_no_torn_write_leaves_is_damage_at_the_very_end_too() {
    let mut writer = small_log();
    let start = writer.end;
    writer.append(&[[vec![7; 600], vec![0; 1024], vec![7; 600]].concat()]);
    writer.sync();
    let half_header = overwrite(&writer, start + 32, &[0; 32]);
    assert!(matches!(damage(&half_header).fault, Fault::BlockHeader(_)));
    let no_header = overwrite(&writer, start, &[0; 64]);
    assert_eq!(damage(&no_header).fault, Fault::Missing);
    let flipped = overwrite(&writer, writer.end - 200, &[8]);
    assert!(matches!(damage(&flipped).fault, Fault::Payload { .. }));
    for image in [half_header, no_header, flipped] {
        assert_eq!(damage(&image).proof, Proof::Sectors);
        assert_eq!(damage(&image).offset, writer.offset(start) as u64);
    }
}

/// A misdirected write puts a block, checksums and all, where another belongs; a lost write leaves an older one
/// in its place. Each is whole, and must not be taken for what belongs there.
#[test]
fn a_whole_block_in_the_wrong_place_is_refused() {
    let mut writer = Writer::new();
    for byte in 0..3 {
        writer.append(&[vec![byte; 10]]);
        writer.sync();
    }
    let len = writer.end / 3;
    let offset = writer.offset(0);
    let block = writer.kill()[&1][offset..offset + len as usize].to_vec();
    let image = overwrite(&writer, len, &block);
    assert_eq!(
        damage(&image).fault,
        Fault::Misplaced { found: Position(0) }
    );

    let renamed = |change: fn(&mut BlockHeader)| {
        let mut block = block.clone();
        let bytes: &mut [u8; BLOCK_HEADER_LEN] = block.first_chunk_mut().expect("a header");
        let mut header = BlockHeader::decode(bytes).expect("whole");
        change(&mut header);
        header.encode(bytes);
        overwrite(&writer, 0, &block)
    };
    assert_eq!(
        damage(&renamed(|header| header.log = LogTag(1))).fault,
        Fault::OtherLog
    );
    let wrong_number = damage(&renamed(|header| header.sequence = 2)).fault;
    assert_eq!(
        wrong_number,
        Fault::Sequence {
            expected: 1,
            found: 2
        }
    );
    let too_long = damage(&renamed(|header| {
        header.payload_len = SEGMENT_LEN_MIN as u32;
    }))
    .fault;
    assert!(matches!(too_long, Fault::TooLong { .. }));
    let miscounted = damage(&renamed(|header| header.entries = 2)).fault;
    assert!(matches!(miscounted, Fault::Content(_)), "{miscounted}");
}

/// A client stores values that look like blocks, to have them taken for real when the block around them is
/// torn: as a witness (the start fails) or as data (salvage lets them in). Without the log's tag they are
/// values.
#[test]
fn a_value_that_looks_like_a_block_is_not_taken_for_one() {
    let mut writer = Writer::new();
    writer.append(&[vec![1; 10]]);
    writer.sync();
    let start = writer.end;
    // Where the value's bytes will lie, so that every forged header can name its true position.
    let value_at = start + (BLOCK_HEADER_LEN + ENTRY_HEADER_LEN + 32 + "key 2".len()) as u64;
    let first = value_at.next_multiple_of(64);
    let mut value = vec![1; (first - value_at) as usize];
    for index in 0..40 {
        let position = Position(first + index * 64);
        let mut header = [0; BLOCK_HEADER_LEN];
        BlockHeader {
            kind: BlockKind::Seal,
            log: LogTag(0),
            position,
            sequence: 3 + index,
            durable: position,
            written: WallMillis(0),
            entries: 0,
            payload_len: 0,
            payload_crc: 0,
            zero_sectors: 0,
        }
        .encode(&mut header);
        value.extend_from_slice(&header);
    }
    if value.len() % 2 == 1 {
        // The writer gives values of odd length an expiry, which would move the headers.
        value.push(1);
    }
    writer.append(&[value]);
    let mut sector = 0;
    let torn = writer.crash(|all| {
        sector += 1;
        if sector == 1 { 0 } else { all }
    });
    let forged = writer.offset(first + 20 * 64);
    assert!(BlockHeader::decode(torn[&1][forged..].first_chunk().expect("64 bytes")).is_ok());
    let (recovered, seen) = run(&torn, false).expect("a torn write is not damage");
    assert_eq!(recovered.end.0, start);
    assert_eq!(seen, writer.records_to(start));
}

/// A file that was copied half is shorter than its header says. No crash does that, since the length is synced
/// before a segment begins, so it must not pass for a torn tail.
#[test]
fn a_truncated_file_is_damage_at_any_length() {
    let writer = small_log();
    let whole = writer.kill();
    for segment in [1, 2] {
        for len in (0..8192).step_by(97).chain([LEN - 4096, LEN - 1]) {
            let mut image = whole.clone();
            image.get_mut(&segment).expect("there").truncate(len);
            match run(&image, false) {
                Err(RecoveryError::Damaged(damage)) => assert_eq!(damage.segment.0, segment),
                // So little is left that the last segment looks as if it were being made; but the blocks before
                // it are all there.
                Ok((recovered, seen)) => {
                    assert!(segment == 2 && len == 0, "segment {segment} cut to {len}");
                    assert_eq!(recovered.end.0, writer.base);
                    assert_eq!(seen, writer.records_to(writer.base));
                }
                Err(error) => panic!("segment {segment} cut to {len}: {error}"),
            }
        }
    }
}
