//! What a check must catch, at every length where the layout changes.

use super::*;

const LENGTHS: [u32; 22] = [
    1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 19, 20, 23, 24, 25, 31, 32, 33, 64, 100, 1000,
];

fn value(key: u64, stamp: u64, len: u32) -> Vec<u8> {
    let mut bytes = b"before".to_vec();
    Values::new(Depth::Whole).append(key, stamp, len, &mut bytes);
    assert_eq!(bytes.len(), 6 + len as usize);
    bytes.split_off(6)
}

fn check(key: u64, bytes: &[u8]) -> Result<Written, Wrong> {
    Values::new(Depth::Whole).check(key, bytes)
}

fn stamp(writer: u32, sequence: u64) -> u64 {
    Stamp { writer, sequence }.pack()
}

#[test]
fn a_value_says_which_write_it_is() {
    let stamp = stamp(77, 123_456_789_012);
    assert_eq!(
        Stamp::unpack(stamp),
        Stamp {
            writer: 77,
            sequence: 123_456_789_012
        }
    );
    for len in LENGTHS.into_iter().chain([0, 300_000, 1 << 20]) {
        let written = check(42, &value(42, stamp, len)).unwrap();
        assert!(written.may_be(stamp), "{len} bytes: {written:?}");
        assert_eq!(written.stamp_bits == 64, len >= 12, "{len} bytes");
    }
}

// The generator's bytes are a format: a later version must be able to verify what an earlier one has written.
#[test]
fn the_layout_is_as_documented() {
    let bytes = value(0x0102_0304_0506_0708, 0x1112_1314_1516_1718, 26);
    assert_eq!(bytes[..4], crc32fast::hash(&bytes[4..24]).to_le_bytes());
    assert_eq!(
        bytes[4..12],
        [0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]
    );
    assert_eq!(bytes[12..20], [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(bytes[20..24], [26, 0, 0, 0]);
    let known = value(1, 2, 40);
    assert_eq!(crc32fast::hash(&known), 2_831_534_394);
    assert_eq!(value(1, 2, 9)[4..], [2, 0, 0, 0, 0]);
    assert_eq!(value(1, 0x0302_0104, 4)[1..], [4, 1, 2]);
}

// A store that turns a bit over anywhere in a value must be found out, whatever the length.
#[test]
fn any_flipped_bit_is_found() {
    for len in LENGTHS {
        let right = value(9, stamp(3, 1 << 33 | 5), len);
        for at in 0..right.len() {
            for bit in 0..8 {
                let mut wrong = right.clone();
                wrong[at] ^= 1 << bit;
                let error = check(9, &wrong).unwrap_err();
                if at >= HEADER_LEN {
                    assert_eq!(error, Wrong::Filler { at });
                } else {
                    assert_eq!(error, Wrong::Header);
                }
            }
        }
    }
}

// A reply that belongs to another request is the commonest way in which a client or a server is wrong.
#[test]
fn another_keys_value_is_found_and_named() {
    for len in LENGTHS {
        let stamp = stamp(3, 8);
        let missed = (1..=1000)
            .filter(|other| check(0, &value(*other, stamp, len)).is_ok())
            .count();
        match len {
            // One in 256, more or less.
            ..8 => assert!(missed < 20, "{missed} of 1000 with {len} bytes"),
            _ => assert_eq!(missed, 0, "{len} bytes"),
        }
        if len >= HEADER_LEN as u32 {
            let error = check(0, &value(5, stamp, len)).unwrap_err();
            assert_eq!(error, Wrong::Key { key: 5, stamp });
        }
    }
}

#[test]
fn a_value_that_is_cut_off_or_goes_on_is_found() {
    for len in LENGTHS {
        let right = value(7, stamp(1, 1), len);
        for shorter in 8..right.len() {
            let error = check(7, &right[..shorter]).unwrap_err();
            if shorter >= HEADER_LEN {
                let found = shorter;
                assert_eq!(
                    error,
                    Wrong::Length {
                        written: len,
                        found
                    }
                );
            }
        }
        if len >= 7 {
            let longer = [&right[..], b"x"].concat();
            assert!(check(7, &longer).is_err(), "{len} bytes");
        }
    }
    // Below 8 bytes one in 256 slips through.
    let slipped = (0..1000)
        .filter(|key| check(*key, &value(*key, stamp(1, 1), 64)[..5]).is_ok())
        .count();
    assert!(slipped < 20, "{slipped}");
}

// Stores keep large values in pages, slices or extents; one that comes from another value, or from elsewhere in this one, must be found.
#[test]
fn a_page_in_the_wrong_place_is_found() {
    let len = 4 << 20;
    let (right, other) = (value(1, stamp(1, 1), len), value(1, stamp(1, 2), len));
    for page in [512, 4096, 65_536, 262_144, 1 << 20] {
        let mut swapped = right.clone();
        let (front, back) = swapped.split_at_mut(2 * page);
        front[page..].swap_with_slice(&mut back[..page]);
        assert_eq!(check(1, &swapped), Err(Wrong::Filler { at: page }));
        let mut torn = right.clone();
        torn[page..].copy_from_slice(&other[page..]);
        assert_eq!(check(1, &torn), Err(Wrong::Filler { at: page }));
    }
}

// Two writes whose filler were the same could be torn into each other unseen.
#[test]
fn writes_in_a_row_differ_in_their_filler() {
    let filler = |sequence| value(1, stamp(1, sequence), 64).split_off(HEADER_LEN);
    let same = (1..2000)
        .filter(|sequence| filler(*sequence) == filler(sequence + 1))
        .count();
    assert!(same <= 4, "{same} of 2000");
}

#[test]
fn a_check_of_the_header_leaves_the_filler_alone() {
    let values = Values::new(Depth::Header);
    let mut bytes = value(1, stamp(1, 1), 64);
    bytes[40] ^= 1;
    assert!(values.check(1, &bytes).is_ok());
    bytes[10] ^= 1;
    assert_eq!(values.check(1, &bytes), Err(Wrong::Header));
}

#[test]
fn what_was_never_a_value_is_none() {
    for bytes in [&b"hello, world"[..], &[0; 64], &[0xff; 1000], &[0; 8]] {
        assert!(check(0, bytes).is_err(), "{bytes:?}");
    }
}
