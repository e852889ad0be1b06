//! Looking into damaged files: every byte is accounted for, and whatever is still whole is found.

use super::{Known, SECTOR_LEN, SEGMENT_HEADER_LEN, Writer, small_log};
use crate::storage::format::{
    BLOCK_HEADER_LEN, BlockKind, ENTRY_HEADER_LEN, Entries, RecordKind, SegmentState,
};
use crate::storage::recovery::{Piece, Remain, Remains, Walk};
use crate::types::{PartitionId, Position};

/// A record among damage, whose it is, and whether it is whole.
type Found = (Known, Option<PartitionId>, bool);

/// The records of all blocks that are whole, and the remains in what is not.
fn found(file: &[u8]) -> (Vec<Known>, Vec<Found>) {
    let (mut whole, mut remains) = (Vec::new(), Vec::new());
    let mut at = SEGMENT_HEADER_LEN as u64;
    for piece in Walk::new(file) {
        match piece {
            Piece::Block {
                offset,
                header,
                payload,
            } => {
                assert_eq!(offset, at);
                at += header.block_len();
                let position = Position(header.position.0 + BLOCK_HEADER_LEN as u64);
                for entry in Entries::new(payload, position).flatten() {
                    let records = entry.records().flatten();
                    whole.extend(records.map(|record| Known::new(entry.header.partition, &record)));
                }
            }
            Piece::Broken {
                offset,
                position,
                bytes,
                ..
            } => {
                assert_eq!(offset, at);
                at += bytes.len() as u64;
                remains.extend(Remains::new(bytes, position).map(|remain: Remain<'_>| {
                    let nobody = PartitionId {
                        keyspace: crate::types::KeyspaceId(0),
                        index: 0,
                    };
                    let partition = remain.partition.unwrap_or(nobody);
                    (
                        Known::new(partition, &remain.at),
                        remain.partition,
                        remain.is_whole,
                    )
                }));
            }
            Piece::Zeros { offset, len } => {
                assert_eq!(offset, at);
                at += len;
            }
        }
    }
    assert_eq!(at, file.len() as u64, "every byte is in one piece");
    (whole, remains)
}

/// One bad byte, at every place of a segment: all other blocks are shown, and in the block that is hit all other records are found as what they are.
#[test]
fn a_flipped_byte_hides_one_record_at_most() {
    let writer = small_log();
    let first_end = SEGMENT_HEADER_LEN as u64 + writer.base;
    let all = writer.records_to(writer.base);
    let mut file = writer.kill().remove(&1).expect("the first segment");
    assert_eq!(found(&file), (all.clone(), Vec::new()));
    for offset in SEGMENT_HEADER_LEN..first_end as usize {
        file[offset] ^= 0x40;
        let (whole, remains) = found(&file);
        let mut seen = whole.clone();
        for (known, partition, is_whole) in &remains {
            if *is_whole {
                // Without its entry's header nobody can tell whose it is.
                let index = all.iter().find(|one| one.position == known.position);
                let index = index
                    .unwrap_or_else(|| panic!("{offset}: {known:?} was never written"))
                    .partition;
                let in_file = SEGMENT_HEADER_LEN + known.position as usize;
                let says_whose = in_file - ENTRY_HEADER_LEN..in_file;
                let is_told = !says_whose.contains(&offset);
                assert!(
                    !is_told || partition.is_none_or(|partition| partition.index == index),
                    "{offset}"
                );
                seen.push(Known {
                    partition: index,
                    ..known.clone()
                });
            }
        }
        seen.sort_by_key(|known| known.position);
        assert!(
            seen.len() + 1 >= all.len(),
            "{offset}: {} are left",
            seen.len()
        );
        assert!(seen.iter().all(|known| all.contains(known)), "{offset}");
        file[offset] ^= 0x40;
    }
}

/// A lost header hides nothing: the blocks tell where they belong.
#[test]
fn a_lost_header_is_made_up_for() {
    let writer = small_log();
    let mut file = writer.kill().remove(&2).expect("the second segment");
    let all: Vec<Known> = writer
        .records_to(writer.end)
        .into_iter()
        .filter(|known| known.position >= writer.base)
        .collect();
    file[..SECTOR_LEN].fill(0xA5);
    assert!(Walk::new(&file).header().is_err());
    assert_eq!(found(&file), (all, Vec::new()));
}

/// What is no segment at all, and what is not all there.
#[test]
fn any_bytes_are_walked_to_their_end() {
    for file in [&[][..], &[0; 100], &[7; 100], &[0; 5000], &[9; 10_000]] {
        let len: u64 = Walk::new(file)
            .map(|piece| match piece {
                Piece::Block { header, .. } => header.block_len(),
                Piece::Broken { bytes, .. } => bytes.len() as u64,
                Piece::Zeros { len, .. } => len,
            })
            .sum();
        assert_eq!(len, file.len().saturating_sub(SEGMENT_HEADER_LEN) as u64);
    }
    let mut writer = Writer::new();
    writer.append(&[vec![1; 5000]]);
    writer.seal();
    let file = writer.kill().remove(&1).expect("the first segment");
    let cut = &file[..SEGMENT_HEADER_LEN + 300];
    let pieces: Vec<Piece<'_>> = Walk::new(cut).collect();
    assert!(
        matches!(pieces[..], [Piece::Broken { offset: 4096, .. }]),
        "{pieces:?}"
    );
    let header = Walk::new(cut).header().cloned().expect("it is whole");
    assert_eq!(header.state, SegmentState::Active { base: Position(0) });
    let kinds: Vec<BlockKind> = Walk::new(&file)
        .filter_map(|piece| match piece {
            Piece::Block { header, .. } => Some(header.kind),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [BlockKind::Data, BlockKind::Seal]);
}

/// Clients choose the bytes of values. A value that is made of the beginnings of long records would make the search compute a checksum over
/// megabytes for every sixteen bytes of it, for hours.
#[test]
fn bytes_that_look_like_records_cost_no_more_than_a_bound() {
    let mut head = [0; 16];
    head[4] = RecordKind::Set as u8;
    head[6] = 1;
    head[8..12].copy_from_slice(&(4_u32 << 20).to_le_bytes());
    let bytes = head.repeat((8 << 20) / head.len());
    let mut remains = Remains::new(&bytes, Position(64));
    assert_eq!(remains.by_ref().count(), 0);
    assert!(remains.was_broken_off());
}
