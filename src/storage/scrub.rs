//! The check of a segment's file while the node runs, piece by piece: whether what was written is still there.
//!
//! Reads check what they bring, but most of a large log isn't read for months, and what nobody reads can rot unseen until its other copies are gone.
//! So everything is read from time to time and held against its checksums: the segment's header, and each block's header and payload. A block's
//! checksum covers every byte of it, records that are dead and padding included. It is computed as the pieces come, so a block may be as long as a segment
//! and takes no memory.
//!
//! **Damage ends nothing.** After it the next header that belongs exactly where it is found is looked for, at each place where a block can begin, and the
//! check goes on from there. What lies in between is one finding. The same way a check can begin in the middle of a segment.
//!
//! What `--salvage` gave up is covered by a skip: it was told once, and is not told again.

use super::format::{
    BLOCK_HEADER_LEN, BlockHeader, BlockKind, LogTag, PayloadCheck, SEGMENT_HEADER_LEN,
    SegmentHeader, SegmentState,
};
use crate::limits::{BLOCK_ALIGN, SECTOR_LEN};
use crate::types::{Position, SegmentId};

/// A place where a file is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In bytes from the start of the file.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

/// The block in hand.
#[derive(Clone, Debug)]
struct OpenBlock {
    /// Where it begins in the file.
    offset: u64,
    /// Bytes of it, behind its header, that are still to come.
    left: u64,
    /// None of a skip.
    check: Option<PayloadCheck>,
}

/// Where in a segment's file one is. Offsets are in bytes from the start of the file.
#[derive(Clone, Debug)]
pub struct Check {
    segment: SegmentId,
    log: LogTag,
    base: Position,
    /// Where the content ends.
    end: u64,
    /// What is to come next.
    at: u64,
    block: Option<OpenBlock>,
    /// Where a block begins is not known: either damage was found, or the check began in the middle.
    is_lost: bool,
}

impl Check {
    /// Of a segment that holds the log from `base` to `end`, from the start of its file.
    #[must_use]
    pub fn new(segment: SegmentId, log: LogTag, base: Position, end: Position) -> Check {
        Check {
            segment,
            log,
            base,
            end: SEGMENT_HEADER_LEN as u64 + (end.0 - base.0),
            at: 0,
            block: None,
            is_lost: false,
        }
    }

    /// The same from the first block that begins at `offset` or behind it.
    #[must_use]
    pub fn starting_at(self, offset: u64) -> Check {
        if offset < SEGMENT_HEADER_LEN as u64 {
            return self;
        }
        let at = offset - offset % BLOCK_ALIGN as u64;
        Check {
            at: at.min(self.end),
            is_lost: true,
            ..self
        }
    }

    /// Where the next piece begins.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Bytes that are still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.end - self.at
    }

    /// Takes the next piece: whole blocks' alignments, and from the start of the file at least the segment's header. Gives what is found to be wrong; the start of
    /// a block that ends in a later piece is looked at, and judged then.
    ///
    /// # Panics
    /// If the piece is longer than what is left, or cut in the wrong place.
    #[must_use]
    pub fn feed(&mut self, piece: &[u8]) -> Vec<Finding> {
        assert!(
            piece.len() as u64 <= self.left() && piece.len().is_multiple_of(BLOCK_ALIGN),
            "a piece ends where a block can begin"
        );
        let mut found = Vec::new();
        let mut rest = piece;
        if self.at == 0 {
            let (header, content) = piece.split_at(SEGMENT_HEADER_LEN);
            found.extend(self.check_header(header));
            self.at = SEGMENT_HEADER_LEN as u64;
            rest = content;
        }
        while !rest.is_empty() {
            let taken = match &mut self.block {
                Some(block) => {
                    let taken = (rest.len() as u64).min(block.left) as usize;
                    if let Some(check) = &mut block.check {
                        check.feed(&rest[..taken]);
                    }
                    block.left -= taken as u64;
                    taken
                }
                None => {
                    found.extend(self.begin_block(rest));
                    BLOCK_HEADER_LEN
                }
            };
            self.at += taken as u64;
            rest = &rest[taken..];
            found.extend(self.end_block());
        }
        found
    }

    /// The next piece can't be read. Gives what is to be said of it.
    #[must_use]
    pub fn fails(&mut self, len: u64, reason: &str) -> Finding {
        let offset = self.at;
        self.at = self.end.min(offset + len);
        self.block = None;
        self.is_lost = true;
        Finding {
            offset,
            reason: reason.to_owned(),
        }
    }

    fn check_header(&self, header: &[u8]) -> Option<Finding> {
        let sector: &[u8; SECTOR_LEN] = header.first_chunk().expect("a header has a sector");
        let reason = match SegmentHeader::decode(sector) {
            Err(error) => error.to_string(),
            Ok(header) => {
                let state = SegmentState::Active { base: self.base };
                let is_right = header.segment == self.segment
                    && header.log == self.log
                    && header.state == state;
                if is_right {
                    return None;
                }
                "the header there is another segment's".to_owned()
            }
        };
        Some(Finding { offset: 0, reason })
    }

    /// Looks for a block's header at the start of `rest`.
    fn begin_block(&mut self, rest: &[u8]) -> Option<Finding> {
        let bytes = rest
            .first_chunk()
            .expect("a piece ends where a block can begin");
        let reason = match BlockHeader::decode(bytes) {
            Ok(header) if self.is_here(&header) => {
                self.is_lost = false;
                self.block = Some(OpenBlock {
                    offset: self.at,
                    left: header.block_len() - BLOCK_HEADER_LEN as u64,
                    check: (header.kind != BlockKind::Skip).then(|| PayloadCheck::begin(&header)),
                });
                return None;
            }
            Ok(_) => "the block there belongs elsewhere".to_owned(),
            Err(error) => error.to_string(),
        };
        let was_lost = std::mem::replace(&mut self.is_lost, true);
        let offset = self.at;
        (!was_lost).then_some(Finding { offset, reason })
    }

    fn is_here(&self, header: &BlockHeader) -> bool {
        header.log == self.log
            && header.position.0 == self.base.0 + (self.at - SEGMENT_HEADER_LEN as u64)
            && self.at + header.block_len() <= self.end
    }

    /// Judges the block in hand if it is whole.
    fn end_block(&mut self) -> Option<Finding> {
        let block = self.block.take_if(|block| block.left == 0)?;
        let is_right = block.check.is_none_or(PayloadCheck::is_right);
        (!is_right).then(|| Finding {
            offset: block.offset,
            reason: "the block that begins there has not the checksum that it was written with"
                .to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ShardId, WallMillis};

    const LOG: LogTag = LogTag(0x5C12_0B00);
    const BASE: Position = Position(1 << 20);

    /// A segment's file with blocks of such payloads, and where each block begins.
    fn file(payloads: &[usize]) -> (Vec<u8>, Vec<u64>) {
        let header = SegmentHeader {
            node: 7,
            shard: ShardId(0),
            shard_count: 1,
            log: LOG,
            segment: SegmentId(3),
            segment_len: 1 << 20,
            created: WallMillis(5),
            state: SegmentState::Active { base: BASE },
        };
        let mut file = header.encode().to_vec();
        file.resize(SEGMENT_HEADER_LEN, 0);
        let mut begins = Vec::new();
        for (number, &payload_len) in payloads.iter().enumerate() {
            let begin = file.len();
            begins.push(begin as u64);
            let position = Position(BASE.0 + (begin - SEGMENT_HEADER_LEN) as u64);
            let header = BlockHeader {
                kind: BlockKind::Data,
                log: LOG,
                position,
                sequence: 1 + number as u64,
                durable: position,
                written: WallMillis(9),
                entries: 1,
                payload_len: payload_len as u32,
                payload_crc: 0,
                zero_sectors: 0,
            };
            file.resize(begin + header.block_len() as usize, 0);
            file[begin + BLOCK_HEADER_LEN..][..payload_len].fill(0xA0 + number as u8);
            header.seal(&mut file[begin..], BASE);
        }
        (file, begins)
    }

    fn check_of(file: &[u8]) -> Check {
        let end = Position(BASE.0 + (file.len() - SEGMENT_HEADER_LEN) as u64);
        Check::new(SegmentId(3), LOG, BASE, end)
    }

    /// Offsets of what is found, with pieces of this length.
    fn found(mut check: Check, file: &[u8], piece_len: usize) -> Vec<u64> {
        let mut offsets = Vec::new();
        while check.left() > 0 {
            let at = check.at() as usize;
            let len = match at {
                0 => SEGMENT_HEADER_LEN.max(piece_len),
                _ => piece_len,
            };
            let end = file.len().min(at + len);
            let found = check.feed(&file[at..end]);
            offsets.extend(found.iter().map(|finding| finding.offset));
        }
        offsets
    }

    /// Rot comes anywhere: in headers, values, padding, what is dead. Each bit belongs to a block, and that is named, once, whatever the pieces are;
    /// the blocks behind it are checked all the same.
    #[test]
    fn each_flipped_byte_is_found_and_named() {
        let (clean, begins) = file(&[100, 0, 700, 64, 3000, 1]);
        for piece_len in [64, 192, 8192] {
            assert!(found(check_of(&clean), &clean, piece_len).is_empty());
            for at in SEGMENT_HEADER_LEN..clean.len() {
                let mut rotten = clean.clone();
                rotten[at] ^= 0x10;
                let block = begins.iter().rfind(|begin| **begin <= at as u64);
                let named = found(check_of(&rotten), &rotten, piece_len);
                assert_eq!(
                    named,
                    [*block.unwrap()],
                    "byte {at}, pieces of {piece_len} bytes"
                );
            }
        }
        for at in 0..SECTOR_LEN {
            let mut rotten = clean.clone();
            rotten[at] ^= 0x10;
            assert_eq!(
                found(check_of(&rotten), &rotten, 256),
                [0],
                "byte {at} of the header"
            );
        }
    }

    /// One bad place must not hide the next.
    #[test]
    fn what_comes_after_damage_is_checked_too() {
        let (mut file, begins) = file(&[100, 200, 300, 400, 500]);
        file[begins[1] as usize + 9] ^= 1;
        file[begins[2] as usize + 99] ^= 1;
        file[begins[4] as usize + 77] ^= 1;
        let named = found(check_of(&file), &file, 128);
        assert_eq!(named, [begins[1], begins[2], begins[4]]);
    }

    /// What was never written where it should have been looks like another block, or like nothing.
    #[test]
    fn blocks_in_the_wrong_place_and_zeros_are_found() {
        let (clean, begins) = file(&[200, 200, 200]);
        let (first, second) = (begins[0] as usize, begins[1] as usize);
        let mut misplaced = clean.clone();
        misplaced.copy_within(first..second, second);
        assert_eq!(found(check_of(&misplaced), &misplaced, 64), [begins[1]]);
        let mut lost = clean;
        lost[second..begins[2] as usize].fill(0);
        assert_eq!(found(check_of(&lost), &lost, 64), [begins[1]]);
    }

    /// A node that is restarted often goes on from somewhere, and that is in the middle of a block as a rule: no damage.
    #[test]
    fn a_check_can_begin_anywhere() {
        let (clean, begins) = file(&[100, 3000, 300, 400]);
        let mut rotten = clean.clone();
        rotten[begins[3] as usize + 80] ^= 1;
        for offset in 0..clean.len() as u64 {
            let check = check_of(&clean).starting_at(offset);
            assert!(found(check, &clean, 128).is_empty(), "from {offset}");
            let check = check_of(&rotten).starting_at(offset);
            let expected: &[u64] = match offset - offset % 64 <= begins[3] {
                true => &begins[3..],
                false => &[],
            };
            assert_eq!(found(check, &rotten, 128), expected, "from {offset}");
        }
    }

    /// A piece that the disk doesn't give is named, and the rest is checked.
    #[test]
    fn an_unreadable_piece_is_passed_over() {
        let (mut file, begins) = file(&[100, 3000, 300, 400]);
        file[begins[3] as usize + 80] ^= 1;
        let mut check = check_of(&file);
        let _ = check.feed(&file[..SEGMENT_HEADER_LEN + 64]);
        let finding = check.fails(256, "can't be read");
        assert_eq!(finding.offset, SEGMENT_HEADER_LEN as u64 + 64);
        let named = found(check, &file, 128);
        assert_eq!(named, [begins[3]]);
    }
}
