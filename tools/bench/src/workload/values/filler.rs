//! The bytes behind a value's header: a stretch of one random block, which goes on from its start where it ends.

use std::sync::LazyLock;

use super::super::random::{Random, mix};

/// Length of the block: the first prime above 2^18, small enough for a core's second cache. Places of a value that hold the same bytes
/// are this far apart, or a multiple, which is a whole number of sectors only at 128 MiB.
const BLOCK_LEN: usize = 262_147;
/// Stretches begin at multiples of 8 below 32 KiB, so that small values come from the first cache.
const STARTS: u64 = 4096;

static BLOCK: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    let mut random = Random::new(0x636f_7264_7572_6f79, 0);
    let mut block: Vec<u8> = (0..BLOCK_LEN.div_ceil(8))
        .flat_map(|_| random.bits().to_le_bytes())
        .collect();
    block.truncate(BLOCK_LEN);
    block.into_boxed_slice()
});

/// The block, ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filler {
    block: &'static [u8],
}

impl Filler {
    pub(super) fn new() -> Filler {
        Filler { block: &BLOCK }
    }

    /// Appends the filler of this write.
    #[inline]
    pub(super) fn append(self, key: u64, stamp: u64, len: usize, out: &mut Vec<u8>) {
        let (mut start, mut left) = (start(key, stamp), len);
        while left > 0 {
            let stretch = left.min(self.block.len() - start);
            out.extend_from_slice(&self.block[start..start + stretch]);
            left -= stretch;
            start = 0;
        }
    }

    /// Where `bytes` first differ from the filler of this write.
    #[inline]
    pub(super) fn differs(self, key: u64, stamp: u64, bytes: &[u8]) -> Option<usize> {
        let (mut start, mut at) = (start(key, stamp), 0);
        while at < bytes.len() {
            let stretch = (bytes.len() - at).min(self.block.len() - start);
            let (found, right) = (
                &bytes[at..at + stretch],
                &self.block[start..start + stretch],
            );
            if found != right {
                let same = found.iter().zip(right).take_while(|(a, b)| a == b).count();
                return Some(at + same);
            }
            at += stretch;
            start = 0;
        }
        None
    }
}

#[inline]
fn start(key: u64, stamp: u64) -> usize {
    (mix(mix(key) ^ stamp) % STARTS * 8) as usize
}
