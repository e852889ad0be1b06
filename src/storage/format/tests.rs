//! What each structure promises: what is written is read back, at the offsets that are drawn, and no bytes
//! whatever make reading panic or give a value that was not written.

use proptest::prelude::*;

use super::*;
use crate::limits::SECTOR_LEN;
use crate::types::{KeyspaceId, PartitionId, SegmentId, ShardId, Version, WallMillis};

fn kind_and_body() -> impl Strategy<Value = (RecordKind, Vec<u8>, Vec<u8>, Option<u64>)> {
    let key = || prop::collection::vec(any::<u8>(), 1..70);
    let value = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        3 => (key(), value, any::<Option<u64>>()).prop_map(|(key, value, expiry)| (RecordKind::Set, key, value, expiry)),
        1 => (key(), any::<Option<u64>>()).prop_map(|(key, origin)| (RecordKind::Delete, key, Vec::new(), origin)),
        1 => any::<Option<u64>>().prop_map(|origin| (RecordKind::Clear, Vec::new(), Vec::new(), origin)),
    ]
}

fn encode(record: &Record<'_>, position: Position) -> Vec<u8> {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(bytes.len(), record.encoded_len());
    Record::seal(&mut bytes, position);
    bytes
}

proptest! {
    #[test]
    fn a_record_is_read_back_as_written(
        (kind, key, value, extra) in kind_and_body(),
        version: u64,
        timestamp: u64,
        place in 0..1u64 << 50,
        more in 0..20usize,
    ) {
        let position = Position(place * 8);
        let record = Record {
            kind,
            key: &key,
            value: &value,
            version: Version(version),
            timestamp: WallMillis(timestamp),
            expiry: extra.filter(|_| kind == RecordKind::Set).map(WallMillis),
            origin: extra.filter(|_| kind != RecordKind::Set).map(Position),
        };
        let mut bytes = encode(&record, position);
        let len = bytes.len();
        prop_assert_eq!(len % RECORD_ALIGN, 0);
        for cut in 0..len {
            // A reader that has too little is told how much more to fetch, and that it gets there in two steps.
            let Err(RecordError::Truncated { needed, available }) = Record::parse(&bytes[..cut]) else {
                panic!("cut to {cut}")
            };
            prop_assert_eq!(available, cut);
            prop_assert_eq!(needed, if cut < RECORD_LEN_MIN { RECORD_LEN_MIN } else { len });
        }
        bytes.resize(len + more, 0xEE);
        prop_assert_eq!(Record::check(&bytes, position), Ok(record));
        prop_assert_eq!(Record::parse(&bytes), Ok(record));
        prop_assert!(Record::check(&bytes, Position(position.0 + 8)).is_err(), "another place");
        // Padding included: what is beside the data is not free to carry anything either.
        for at in 0..len {
            bytes[at] ^= 1 << (at % 8);
            prop_assert!(Record::check(&bytes, position).is_err(), "byte {}", at);
            bytes[at] ^= 1 << (at % 8);
        }
    }

    /// Whatever is on a disk, decoding ends with an answer. (The structures begin as real ones half of the
    /// time, to get past the magic.)
    #[test]
    fn no_bytes_make_decoding_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 512..700),
        small: bool,
        kind in 0..5u8,
        key_len in 0..100u16,
    ) {
        if small {
            bytes[4..16].copy_from_slice(&[kind, 0, key_len as u8, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
        }
        let _ = Record::parse(&bytes);
        prop_assert!(Record::check(&bytes, Position(64)).is_err());
        prop_assert!(BlockHeader::decode(bytes.first_chunk().expect("512 bytes")).is_err());
        prop_assert!(SegmentHeader::decode(bytes.first_chunk().expect("512 bytes")).is_err());
        for entry in Entries::new(&bytes, Position(64)) {
            let Ok(entry) = entry else { break };
            entry.records().for_each(drop);
        }
    }

    #[test]
    fn an_entry_header_is_read_back_as_written(
        keyspace: u32,
        index: u16,
        records in 0..1000u32,
        more in 0..100u32,
        term: u64,
        entry: u64,
    ) {
        let header = EntryHeader {
            partition: PartitionId { keyspace: KeyspaceId(keyspace), index },
            kind: EntryKind::Effects,
            records,
            len: records * 32 + more * 8,
            term,
            index: entry,
        };
        let mut bytes = [0xEE; ENTRY_HEADER_LEN];
        header.encode(&mut bytes);
        prop_assert_eq!(EntryHeader::decode(&bytes), Ok(header));
    }

    #[test]
    fn a_block_header_is_read_back_as_written(
        place in 0..1u64 << 50,
        behind in 0..1u64 << 40,
        sequence: u64,
        written: u64,
        entries: u32,
        payload_len in 0..1u32 << 30,
        crc: u32,
        zeros: u32,
        log: u32,
    ) {
        let header = BlockHeader {
            kind: BlockKind::Data,
            log: LogTag(log),
            position: Position(place * 64),
            sequence,
            durable: Position((place * 64).saturating_sub(behind)),
            written: WallMillis(written),
            entries,
            payload_len,
            payload_crc: crc,
            zero_sectors: zeros,
        };
        let mut bytes = [0xEE; BLOCK_HEADER_LEN];
        header.encode(&mut bytes);
        prop_assert_eq!(BlockHeader::decode(&bytes), Ok(header));
        for at in 0..BLOCK_HEADER_LEN {
            bytes[at] ^= 1 << (at % 8);
            prop_assert!(BlockHeader::decode(&bytes).is_err(), "byte {}", at);
            bytes[at] ^= 1 << (at % 8);
        }
    }

    /// Counted at writing and at reading by the same function, so it must see sectors as the disk does: aligned
    /// in the file, not in the block.
    #[test]
    fn zero_sectors_are_those_of_the_file(
        start in 0..40u64,
        payload in prop::collection::vec(prop_oneof![8 => Just(0u8), 1 => any::<u8>()], 0..60),
    ) {
        // Each element stands for 64 bytes.
        let payload: Vec<u8> = payload.iter().flat_map(|byte| [vec![0; 63], vec![*byte]].concat()).collect();
        let mut file = vec![0xEE; start as usize * 64];
        file.extend_from_slice(&[0xEE; BLOCK_HEADER_LEN]);
        file.extend_from_slice(&payload);
        let first = start as usize * 64 / SECTOR_LEN;
        let others = file.chunks(SECTOR_LEN).skip(first + 1);
        let expected = others.filter(|sector| sector.iter().all(|byte| *byte == 0)).count();
        prop_assert_eq!(zero_sectors(&payload, start * 64) as usize, expected);
    }
}

fn header(state: SegmentState) -> SegmentHeader {
    SegmentHeader {
        node: 0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10,
        shard: ShardId(3),
        shard_count: 8,
        log: LogTag(0xAABB_CCDD),
        segment: SegmentId(5),
        segment_len: 64 << 20,
        created: WallMillis(9),
        state,
    }
}

#[test]
fn a_segment_header_is_read_back_and_any_flip_is_found() {
    for state in [
        SegmentState::Prepared,
        SegmentState::Active {
            base: Position(640),
        },
    ] {
        let mut sector = header(state).encode();
        assert_eq!(SegmentHeader::decode(&sector), Ok(header(state)));
        for bit in 0..SECTOR_LEN * 8 {
            sector[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&sector).is_err(), "bit {bit}");
            sector[bit / 8] ^= 1 << (bit % 8);
        }
    }
    assert_eq!(
        SegmentHeader::decode(&[0; SECTOR_LEN]),
        Err(SegmentError::Blank)
    );
}

/// The page in `docs/` draws these offsets, and other programs will read by them: a change here is a new format
/// version.
#[test]
fn structures_lie_as_they_are_drawn() {
    let record = Record {
        kind: RecordKind::Set,
        key: b"key",
        value: b"value",
        version: Version(0x1112_1314_1516_1718),
        timestamp: WallMillis(0x2122_2324_2526_2728),
        expiry: Some(WallMillis(0x3132_3334_3536_3738)),
        origin: None,
    };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    let expected = [
        &[0, 0, 0, 0, 1, 1, 3, 0, 5, 0, 0, 0, 0, 0, 0, 0][..],
        &[0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11],
        &[0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21],
        &[0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31],
        b"keyvalue",
    ]
    .concat();
    assert_eq!(bytes, expected);
    assert_eq!(record_len(16, 32, false), 80);

    let mut entry = [0; ENTRY_HEADER_LEN];
    let partition = PartitionId {
        keyspace: KeyspaceId(0x0A0B_0C0D),
        index: 0x0E0F,
    };
    EntryHeader {
        partition,
        kind: EntryKind::Effects,
        records: 1,
        len: 80,
        term: 2,
        index: 3,
    }
    .encode(&mut entry);
    assert_eq!(entry[..8], [0x0D, 0x0C, 0x0B, 0x0A, 0x0F, 0x0E, 1, 0]);
    assert_eq!((entry[8], entry[12], entry[16], entry[24]), (1, 80, 2, 3));

    let mut block = [0; BLOCK_HEADER_LEN];
    BlockHeader {
        kind: BlockKind::Data,
        log: LogTag(9),
        position: Position(64),
        sequence: 2,
        durable: Position(3),
        written: WallMillis(4),
        entries: 7,
        payload_len: 5,
        payload_crc: 6,
        zero_sectors: 8,
    }
    .encode(&mut block);
    assert_eq!(block[..4], *b"CBLK");
    assert_eq!(
        [8, 16, 24, 32, 40, 44, 48, 52, 56, 60].map(|at| block[at]),
        [64, 2, 3, 4, 5, 6, 7, 8, 9, 1]
    );

    let sector = header(SegmentState::Active {
        base: Position(0x40),
    })
    .encode();
    assert_eq!(sector[..12], *b"CORDUROY\x01\0\0\0");
    assert_eq!(
        [16, 31, 32, 43, 48, 56, 64, 66, 68, 72].map(|at| sector[at]),
        [0x10, 1, 5, 4, 9, 0x40, 3, 8, 0xDD, 2]
    );
}

/// A record whose fields contradict each other was not written by us, even if its checksum holds: it must not
/// reach the index.
#[test]
fn a_record_that_makes_no_sense_is_refused() {
    let record = Record {
        kind: RecordKind::Delete,
        key: b"k",
        value: b"",
        version: Version(1),
        timestamp: WallMillis(1),
        expiry: None,
        origin: None,
    };
    let bytes = encode(&record, Position(64));
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes.resize(200, 0);
        bytes[at] = byte;
        Record::parse(&bytes).expect_err("makes no sense")
    };
    assert_eq!(changed(4, 9), RecordError::Kind(9));
    assert_eq!(changed(5, 4), RecordError::Flags(4));
    assert!(matches!(
        changed(5, 1),
        RecordError::Lengths {
            has_expiry: true,
            ..
        }
    ));
    assert!(matches!(
        changed(8, 1),
        RecordError::Lengths { value_len: 1, .. }
    ));
    assert!(matches!(
        changed(6, 0),
        RecordError::Lengths { key_len: 0, .. }
    ));
    assert!(matches!(
        changed(4, 3),
        RecordError::Lengths {
            kind: RecordKind::Clear,
            ..
        }
    ));
    assert_eq!(changed(12, 1), RecordError::Reserved);
    let mut set = bytes.clone();
    set[4] = 1;
    set[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(
        matches!(Record::parse(&set), Err(RecordError::Lengths { .. })),
        "over the limit, not merely truncated"
    );
}
