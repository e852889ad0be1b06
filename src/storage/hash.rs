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
