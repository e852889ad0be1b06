//! The two hashes of a key: its slot, which the whole world agrees on, and its place in the index, which nobody can foretell.
//!
//! **Slot.** CRC16/XMODEM (polynomial 0x1021, no reflection, start 0) of the key modulo 16,384, the function of Redis Cluster,
//! so that its clients can route to us. If the key holds a `{` and a later `}` with something between the first `{` and the
//! first `}` after it, only that something is hashed: keys that share such a tag share a slot, and so a partition.
//! The CRC is computed eight bytes a step ("slicing by 8"): a table for each of the eight places holds what a byte there
//! contributes after the zeros behind it, so a step is eight independent lookups and not eight dependent ones. The tables take
//! 4 KiB and are made by the compiler.
//!
//! **Index hash.** SipHash-1-3 under a secret of 128 bits. Keyed, so that no client can choose keys that collide; the secret
//! lives in the data directory, because the cursor of a scan is a position in hash order and has to survive a restart.
//! A secret that changed would not lose data (recovery hashes all keys again) but would break scans that are under way.

use std::fmt;

use siphasher::sip::SipHasher13;

use crate::types::SLOTS;

/// Length of the [`KeyHasher`]'s secret, in bytes.
pub const HASH_SECRET_LEN: usize = 16;

/// The polynomial of CRC16/XMODEM, without its leading bit.
const CRC_POLYNOMIAL: u16 = 0x1021;

/// Bytes of one step of the CRC.
const CRC_STRIDE: usize = 8;

/// `CRC_TABLES[n][byte]`: the CRC of `byte` followed by `n` zeros.
static CRC_TABLES: [[u16; 256]; CRC_STRIDE] = crc_tables();

/// The slot of a key: 0 to [`SLOTS`], exclusive.
#[must_use]
pub fn slot_of(key: &[u8]) -> u16 {
    // The mask is the modulo, because the number of slots is a power of two.
    const { assert!(SLOTS.is_power_of_two()) }
    crc16(hashed_part(key)) & (SLOTS - 1)
}

/// The bytes that decide about the slot: the key's tag if it has one that isn't empty, else all of the key.
fn hashed_part(key: &[u8]) -> &[u8] {
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

/// A key's hash under the node's secret. Its order is the order of scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub u64);

/// Hashes keys for the index under the data directory's secret.
#[derive(Clone, Copy)]
pub struct KeyHasher {
    sip: SipHasher13,
}

impl KeyHasher {
    /// A hasher with the given secret.
    #[must_use]
    pub fn new(secret: &[u8; HASH_SECRET_LEN]) -> Self {
        Self {
            sip: SipHasher13::new_with_key(secret),
        }
    }

    /// The key's hash. All of the key counts, its tag has no say.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash(self.sip.hash(key))
    }
}

impl fmt::Debug for KeyHasher {
    /// Keeps the secret out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    /// A slot that differs from Redis Cluster's sends every client that knows the layout to the wrong partition.
    /// The first is the check value of the CRC catalogue and of the Redis Cluster specification; the slots are what
    /// `CLUSTER KEYSLOT` answers.
    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"123456789"), 12_739);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"bar"), 5_061);
        assert_eq!(slot_of(b"hello"), 866);
        assert_eq!(slot_of(b""), 0);
    }

    /// The cases of the specification: what is a tag and what isn't decides whether two keys can be written atomically.
    #[test]
    fn only_a_tag_that_is_closed_and_not_empty_counts() {
        let whole = |key: &[u8]| crc16_by_bits(key) % SLOTS;
        assert_eq!(slot_of(b"{user1000}.following"), whole(b"user1000"));
        assert_eq!(slot_of(b"{user1000}.followers"), whole(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), whole(b"foo{}{bar}"));
        assert_eq!(slot_of(b"foo{{bar}}zap"), whole(b"{bar"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), whole(b"bar"));
        assert_eq!(slot_of(b"foo}bar{zap"), whole(b"foo}bar{zap"));
        assert_eq!(slot_of(b"}{zap}"), whole(b"zap"));
    }

    /// Hashes order the scans and are rebuilt at each start: another function under the same secret would break every cursor
    /// that a client holds. The vector is the first of SipHash-1-3's reference implementation.
    #[test]
    fn the_index_hash_never_changes() {
        let secret = std::array::from_fn(|index| index as u8);
        assert_eq!(KeyHasher::new(&secret).hash(b"").0, 0xabac_0158_050f_c4dc);
        assert_ne!(
            KeyHasher::new(&[0; HASH_SECRET_LEN]).hash(b""),
            KeyHasher::new(&secret).hash(b"")
        );
    }

    /// Debug output ends up in logs, and whoever knows the secret can make keys collide.
    #[test]
    fn the_secret_is_not_printed() {
        assert_eq!(
            format!("{:?}", KeyHasher::new(&[7; HASH_SECRET_LEN])),
            "KeyHasher { .. }"
        );
    }

    proptest! {
        /// A wrong entry in one of the eight tables shows only for some byte at some place.
        #[test]
        fn eight_bytes_a_step_give_the_same_as_one_bit_a_step(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(crc16(&bytes), crc16_by_bits(&bytes));
        }
    }
}
