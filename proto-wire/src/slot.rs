//! Which shard a key lives on, from its bytes alone.
//!
//! A key hashes to one of 16,384 **slots**, the slots of a keyspace are cut into contiguous ranges, its **partitions**,
//! and a node deals its partitions out to its **shards** in turn. Client and server compute all three with the functions
//! here, so that a client may send a request straight to the owning core.
//!
//! ```text
//! slot      = crc16(tag, or key) mod 16384
//! partition = slot * partitions / 16384          (the keyspace's number of partitions)
//! shard     = partition mod shard_count          (the node's number of shards, in the answer to its hello)
//! ```
//!
//! The slot is Redis Cluster's to the bit (its specification, "Key distribution model" and "Hash tags"), so that Redis
//! clients can route to a Corduroy node too: CRC-16/XMODEM (polynomial 0x1021, no reflection, initially 0) over the
//! key, or over what stands between the first `{` and the first `}` after it where that is not empty. Keys with the same tag share a
//! slot and with it a partition: that is how an atomic batch gets all its keys into one place.

/// Number of slots, as in Redis Cluster.
pub const SLOTS: u16 = 16_384;

/// The polynomial of CRC16/XMODEM, without its leading bit.
const CRC_POLYNOMIAL: u16 = 0x1021;

/// Bytes of one step of the CRC.
const CRC_STRIDE: usize = 8;

/// `CRC_TABLES[n][byte]`: the CRC of `byte` followed by `n` zeros.
static CRC_TABLES: [[u16; 256]; CRC_STRIDE] = crc_tables();

/// The part of a key that decides its slot: its `{tag}` if it has one that is not empty, or all of it.
#[inline]
#[must_use]
pub fn hashed_part(key: &[u8]) -> &[u8] {
    // Most keys have no tag, and `contains` looks at a word at a time, which `position` does not.
    if !key.contains(&b'{') {
        return key;
    }
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let after = &key[open + 1..];
        let close = after.iter().position(|&byte| byte == b'}')?;
        Some(&after[..close])
    });
    match tag {
        Some(tag) if !tag.is_empty() => tag,
        _ => key,
    }
}

/// CRC16/XMODEM.
#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    let (strides, rest) = bytes.as_chunks::<CRC_STRIDE>();
    let mut crc = 0u16;
    for stride in strides {
        // The sum so far meets the first two bytes; the other six stand for themselves.
        let [high, low] = crc.to_be_bytes();
        crc = CRC_TABLES[7][usize::from(stride[0] ^ high)]
            ^ CRC_TABLES[6][usize::from(stride[1] ^ low)]
            ^ CRC_TABLES[5][usize::from(stride[2])]
            ^ CRC_TABLES[4][usize::from(stride[3])]
            ^ CRC_TABLES[3][usize::from(stride[4])]
            ^ CRC_TABLES[2][usize::from(stride[5])]
            ^ CRC_TABLES[1][usize::from(stride[6])]
            ^ CRC_TABLES[0][usize::from(stride[7])];
    }
    for &byte in rest {
        let [high, low] = crc.to_be_bytes();
        crc = (u16::from(low) << 8) ^ CRC_TABLES[0][usize::from(byte ^ high)];
    }
    crc
}

const fn crc_tables() -> [[u16; 256]; CRC_STRIDE] {
    let mut tables = [[0u16; 256]; CRC_STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ CRC_POLYNOMIAL
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < CRC_STRIDE {
        let mut byte = 0;
        while byte < 256 {
            let shorter = tables[zeros - 1][byte];
            tables[zeros][byte] = (shorter << 8) ^ tables[0][(shorter >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// The slot of a key: below [`SLOTS`].
#[inline]
#[must_use]
pub fn slot_of(key: &[u8]) -> u16 {
    // The mask is the modulo, because the number of slots is a power of two.
    const { assert!(SLOTS.is_power_of_two()) }
    crc16(hashed_part(key)) & (SLOTS - 1)
}

/// The partition that holds a slot, of a keyspace with so many `partitions` (at least 1): below `partitions`.
#[inline]
#[must_use]
pub fn partition_of_slot(slot: u16, partitions: u16) -> u16 {
    debug_assert!(slot < SLOTS && partitions > 0);
    ((u32::from(slot) * u32::from(partitions)) / u32::from(SLOTS)) as u16
}

/// The shard that holds a partition, on a node with so many shards (at least 1): below `shard_count`.
#[inline]
#[must_use]
pub fn shard_of_partition(partition: u16, shard_count: u16) -> u16 {
    debug_assert!(shard_count > 0);
    partition % shard_count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slot that differs from Redis Cluster's by a bit sends every Redis client to the wrong core, without an error
    /// anywhere. The check value is the one that the CRC catalogue and the Redis Cluster specification give.
    #[test]
    fn the_checksum_is_crc16_xmodem() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
    }

    /// The slots that `CLUSTER KEYSLOT` answers, and the specification's examples of tags.
    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"somekey"), 11_058);
        assert_eq!(slot_of(b"foo{hash_tag}"), 2_515);
        assert_eq!(slot_of(b"bar{hash_tag}"), 2_515);
    }

    /// Each rule of the tag has its exception; a rule that is off by one scatters the keys of an atomic batch.
    #[test]
    fn the_tag_is_what_the_first_braces_hold_if_they_hold_anything() {
        assert_eq!(hashed_part(b"{user1000}.following"), b"user1000");
        assert_eq!(hashed_part(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hashed_part(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hashed_part(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hashed_part(b"foo{bar"), b"foo{bar");
        assert_eq!(hashed_part(b"}foo{bar}"), b"bar");
        assert_eq!(hashed_part(b"{"), b"{");
    }

    /// A partition that no slot maps to would be replicated for nothing; one outside the range would be nobody's.
    #[test]
    fn partitions_are_contiguous_and_all_of_them_are_used() {
        for partitions in [1, 2, 3, 64, 1000, SLOTS] {
            let mut expected = 0;
            for slot in 0..SLOTS {
                let partition = partition_of_slot(slot, partitions);
                assert!(
                    partition == expected || partition == expected + 1,
                    "slot {slot} of {partitions}"
                );
                expected = partition;
            }
            assert_eq!(expected, partitions - 1);
        }
    }

    /// The definition, a bit at a time.
    fn crc16_by_bits(bytes: &[u8]) -> u16 {
        let mut crc = 0u16;
        for &byte in bytes {
            crc ^= u16::from(byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 == 0 {
                    crc << 1
                } else {
                    (crc << 1) ^ CRC_POLYNOMIAL
                };
            }
        }
        crc
    }

    /// A wrong entry in one of the eight tables shows only for some byte at some place: every byte at each of them.
    #[test]
    fn eight_bytes_a_step_give_the_same_as_one_bit_a_step() {
        for length in 0..40 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![0x5a; length];
                    bytes[place] = byte;
                    assert_eq!(crc16(&bytes), crc16_by_bits(&bytes), "{bytes:?}");
                }
            }
        }
    }
}
