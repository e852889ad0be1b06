//! What is done to a log before recovery sees it.

use arbitrary::Arbitrary;
use corduroy::limits::SEGMENT_LEN_MIN;
use corduroy::storage::format::{
    BLOCK_HEADER_LEN, BlockHeader, BlockKind, LogTag, SEGMENT_HEADER_LEN, SegmentHeader,
    SegmentState, payload_crc,
};
use corduroy::types::{Position, SegmentId};

use super::image::Image;

/// Wounds are where the log is: most logs are short.
const REACH: u32 = 16 << 10;

/// A file, by its place among those that are there.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Which(u8);

#[derive(Arbitrary, Debug)]
pub(crate) enum Wound<'a> {
    /// A bit turns over.
    Flip { file: Which, at: u32, bit: u8 },
    /// A range comes back as zeros.
    Zero { file: Which, at: u32, len: u16 },
    /// A range comes back with bytes that belong elsewhere.
    Copy {
        from: Which,
        start: u32,
        file: Which,
        at: u32,
        len: u16,
    },
    /// The file is shorter, or longer.
    Length { file: Which, len: u32 },
    /// The file is gone.
    Remove { file: Which },
    /// Bytes of anybody's choice.
    Write {
        file: Which,
        at: u32,
        bytes: &'a [u8],
    },
    /// A file of anybody's choice: its header's page, and what follows.
    File {
        segment: u8,
        header: &'a [u8],
        log: &'a [u8],
        is_full: bool,
    },
    /// A file that says that it is this segment, and is it.
    Renumber { file: Which, segment: u64 },
    /// A segment's header says something else.
    SegmentHeader { file: Which, field: SegmentField },
    /// The nth block's header says something else.
    BlockHeader {
        file: Which,
        nth: u8,
        field: BlockField,
    },
    /// The nth block's payload is something else.
    Payload {
        file: Which,
        nth: u8,
        at: u16,
        byte: u8,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum SegmentField {
    Log(u32),
    Len(u32),
    Prepared,
    Base(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum BlockField {
    Skip,
    Seal,
    Data,
    Log(u32),
    Position(u64),
    Sequence(u64),
    Durable(u64),
    DurableHere,
    Written(u64),
    Entries(u32),
    PayloadLen(u32),
    PayloadCrc(u32),
    ZeroSectors(u32),
}

impl Which {
    fn of(self, image: &Image) -> Option<u64> {
        let count = image.len().max(1);
        image.keys().nth(usize::from(self.0) % count).copied()
    }

    fn bytes(self, image: &mut Image) -> &mut [u8] {
        match self.of(image) {
            Some(segment) => image.entry(segment).or_default(),
            None => &mut [],
        }
    }
}

impl Wound<'_> {
    /// Changes the image. Whether checksums may be right that should not be.
    pub(crate) fn inflict(&self, image: &mut Image) -> bool {
        match *self {
            Wound::Flip { file, at, bit } => {
                if let Some([byte, ..]) = range(file.bytes(image), at, 1) {
                    *byte ^= 1 << (bit % 8);
                }
                false
            }
            Wound::Zero { file, at, len } => {
                range(file.bytes(image), at, usize::from(len))
                    .unwrap_or_default()
                    .fill(0);
                false
            }
            Wound::Copy {
                from,
                start,
                file,
                at,
                len,
            } => {
                let source = range(from.bytes(image), start, usize::from(len));
                let source = source.unwrap_or_default().to_vec();
                if let Some(place) = range(file.bytes(image), at, source.len()) {
                    place.copy_from_slice(&source[..place.len()]);
                }
                false
            }
            Wound::Length { file, len } => {
                if let Some(segment) = file.of(image) {
                    // Near the beginning, near the end, or longer than it should be.
                    let (full, by) = (SEGMENT_LEN_MIN as usize, (len % REACH) as usize);
                    let len = match len >> 30 {
                        0 | 1 => by,
                        2 => full - by,
                        _ => full + by,
                    };
                    image.entry(segment).or_default().resize(len, 0);
                }
                false
            }
            Wound::Remove { file } => {
                if let Some(segment) = file.of(image) {
                    image.remove(&segment);
                }
                false
            }
            Wound::Write { file, at, bytes } => {
                if let Some(place) = range(file.bytes(image), at, bytes.len()) {
                    place.copy_from_slice(&bytes[..place.len()]);
                }
                true
            }
            Wound::File {
                segment,
                header,
                log,
                is_full,
            } => {
                let mut bytes = header[..header.len().min(SEGMENT_HEADER_LEN)].to_vec();
                bytes.resize(SEGMENT_HEADER_LEN, 0);
                bytes.extend_from_slice(log);
                if is_full {
                    bytes.resize(SEGMENT_LEN_MIN as usize, 0);
                }
                image.insert(u64::from(segment % 6), bytes);
                true
            }
            Wound::Renumber { file, segment } => {
                if let Some(old) = file.of(image) {
                    let mut bytes = image.remove(&old).unwrap_or_default();
                    edit_segment(&mut bytes, |header| header.segment = SegmentId(segment));
                    image.insert(segment, bytes);
                }
                true
            }
            Wound::SegmentHeader { file, field } => {
                edit_segment(file.bytes(image), |header| match field {
                    SegmentField::Log(tag) => header.log = LogTag(tag),
                    SegmentField::Len(len) => header.segment_len = u64::from(len),
                    SegmentField::Prepared => header.state = SegmentState::Prepared,
                    SegmentField::Base(base) => {
                        header.state = SegmentState::Active {
                            base: Position(base),
                        };
                    }
                });
                true
            }
            Wound::BlockHeader { file, nth, field } => {
                if let Some(block) = nth_block(file.bytes(image), nth) {
                    edit_block(block, field);
                }
                true
            }
            Wound::Payload {
                file,
                nth,
                at,
                byte,
            } => {
                if let Some(block) = nth_block(file.bytes(image), nth) {
                    edit_payload(block, at, byte);
                }
                true
            }
        }
    }
}

/// A range of a file; shorter where the file ends.
fn range(bytes: &mut [u8], at: u32, len: usize) -> Option<&mut [u8]> {
    // Where a file ends is worth a wound too.
    let at = match at {
        at if at >> 31 == 0 => (at % REACH) as usize,
        at => bytes.len().saturating_sub((at % REACH) as usize),
    };
    let end = bytes.len().min(at + len);
    bytes.get_mut(at..end)
}

fn edit_segment(bytes: &mut [u8], edit: impl FnOnce(&mut SegmentHeader)) {
    let Some(sector) = bytes.first_chunk_mut() else {
        return;
    };
    let Ok(mut header) = SegmentHeader::decode(sector) else {
        return;
    };
    edit(&mut header);
    *sector = header.encode();
}

/// From the nth block's header to the file's end, wherever a header can be read.
fn nth_block(bytes: &mut [u8], nth: u8) -> Option<&mut [u8]> {
    let log = bytes.get_mut(SEGMENT_HEADER_LEN..)?;
    let reach = log.len().min(REACH as usize);
    let (headers, _) = log[..reach].as_chunks::<BLOCK_HEADER_LEN>();
    let mut found = headers
        .iter()
        .enumerate()
        .filter(|(_, header)| BlockHeader::decode(header).is_ok());
    let (index, _) = found.nth(usize::from(nth % 8))?;
    log.get_mut(index * BLOCK_HEADER_LEN..)
}

fn edit_block(block: &mut [u8], field: BlockField) {
    let Some(place) = block.first_chunk_mut() else {
        return;
    };
    let Ok(mut header) = BlockHeader::decode(place) else {
        return;
    };
    match field {
        BlockField::Skip => header.kind = BlockKind::Skip,
        BlockField::Seal => header.kind = BlockKind::Seal,
        BlockField::Data => header.kind = BlockKind::Data,
        BlockField::Log(tag) => header.log = LogTag(tag),
        BlockField::Position(position) => header.position = Position(position & !63),
        BlockField::Sequence(sequence) => header.sequence = sequence,
        BlockField::Durable(durable) => header.durable = Position(durable),
        BlockField::DurableHere => header.durable = header.position,
        BlockField::Written(written) => header.written.0 = written,
        BlockField::Entries(entries) => header.entries = entries,
        BlockField::PayloadLen(len) => header.payload_len = len,
        BlockField::PayloadCrc(crc) => header.payload_crc = crc,
        BlockField::ZeroSectors(count) => header.zero_sectors = count,
    }
    // No program writes such a header, and encoding it is refused.
    header.durable = header.durable.min(header.position);
    header.encode(place);
}

fn edit_payload(block: &mut [u8], at: u16, byte: u8) {
    let Some((place, rest)) = block.split_first_chunk_mut() else {
        return;
    };
    let Ok(mut header) = BlockHeader::decode(place) else {
        return;
    };
    let len = header.block_len() as usize - BLOCK_HEADER_LEN;
    let Some(payload) = rest.get_mut(..len) else {
        return;
    };
    if let Some(place) = payload.get_mut(usize::from(at) % len.max(1)) {
        *place = byte;
    }
    header.payload_crc = payload_crc(payload, header.position);
    header.encode(place);
}
