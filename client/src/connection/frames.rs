//! Frames out of a byte stream, without copying what they hold.
//!
//! Bytes are read into one buffer; each whole frame is split off it as a reference-counted slice, and values are slices of that.
//! A length over the limit is refused before anything of the frame is kept, and room is made as bytes arrive,
//! never by what a length field claims.

use std::io;

use bytes::{Bytes, BytesMut};
use corduroy_proto_wire::{FrameError, LENGTH_LEN, split};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::limits::{READ_CHUNK_LEN, READ_CHUNK_LEN_LARGE};

/// Less room than this is not worth a read.
const ROOM_LEN_MIN: usize = READ_CHUNK_LEN / 4;

/// The receiving end of a connection.
#[derive(Debug)]
pub(super) struct FrameReader {
    buffer: BytesMut,
    frame_len_max: u32,
}

impl FrameReader {
    pub(super) fn new(frame_len_max: u32) -> Self {
        Self {
            buffer: BytesMut::new(),
            frame_len_max,
        }
    }

    /// From now on frames may be this long, in bytes after the length field.
    pub(super) fn set_frame_len_max(&mut self, frame_len_max: u32) {
        self.frame_len_max = frame_len_max;
    }

    /// The next frame, without its length field, if it is there whole.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some((_, consumed)) = split(&self.buffer, self.frame_len_max)? else {
            return Ok(None);
        };
        let mut frame = self.buffer.split_to(consumed).freeze();
        Ok(Some(frame.split_off(LENGTH_LEN)))
    }

    /// Reads what has arrived, and waits for it if nothing has. Answers how many bytes; 0 at the end of the stream.
    /// Loses nothing if it is dropped before it is done.
    pub(super) async fn fill(
        &mut self,
        source: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<usize> {
        self.make_room();
        source.read_buf(&mut self.buffer).await
    }

    fn make_room(&mut self) {
        let room = self.buffer.capacity() - self.buffer.len();
        let missing = self.missing();
        if room < ROOM_LEN_MIN || (missing > room && room < READ_CHUNK_LEN_LARGE / 4) {
            self.buffer
                .reserve(missing.clamp(READ_CHUNK_LEN, READ_CHUNK_LEN_LARGE));
        }
    }

    /// How many bytes the frame that has begun still lacks, by its own account.
    fn missing(&self) -> usize {
        match self.buffer.first_chunk::<LENGTH_LEN>() {
            Some(length) => (LENGTH_LEN + u32::from_le_bytes(*length) as usize)
                .saturating_sub(self.buffer.len()),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize, fill: u8) -> Vec<u8> {
        let mut bytes = (len as u32).to_le_bytes().to_vec();
        bytes.resize(LENGTH_LEN + len, fill);
        bytes
    }

    async fn read_all(mut source: &[u8], reader: &mut FrameReader) -> Vec<Bytes> {
        let mut frames = Vec::new();
        loop {
            while let Some(frame) = reader.next().unwrap() {
                frames.push(frame);
            }
            if reader.fill(&mut source).await.unwrap() == 0 {
                return frames;
            }
        }
    }

    /// Frames don't keep to the borders of reads: short ones come many at a time, a long one comes in many pieces.
    #[tokio::test]
    async fn frames_of_all_sizes_come_out_as_they_went_in() {
        let lengths = [
            12,
            13,
            100,
            READ_CHUNK_LEN,
            1,
            3 * READ_CHUNK_LEN_LARGE + 1,
            12,
            70_000,
        ]
        .map(|len| len.max(12));
        let stream: Vec<u8> = lengths
            .iter()
            .enumerate()
            .flat_map(|(i, len)| frame(*len, i as u8))
            .collect();
        let mut reader = FrameReader::new(1 << 20);
        let frames = read_all(&stream, &mut reader).await;
        assert_eq!(frames.len(), lengths.len());
        for (index, (frame, len)) in frames.iter().zip(lengths).enumerate() {
            assert_eq!(frame.len(), len);
            assert!(frame.iter().all(|byte| usize::from(*byte) == index));
        }
    }

    /// A hostile server claims four gigabytes (refused by the limit) or the largest that is allowed, and sends
    /// nothing: the client must not set that memory aside.
    #[tokio::test]
    async fn a_length_that_lies_costs_one_chunk() {
        let mut reader = FrameReader::new(u32::MAX);
        let mut source: &[u8] = &[0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        while reader.fill(&mut source).await.unwrap() > 0 {}
        assert_eq!(reader.next(), Ok(None));
        assert!(
            reader.buffer.capacity() <= 2 * READ_CHUNK_LEN_LARGE,
            "{}",
            reader.buffer.capacity()
        );

        let mut reader = FrameReader::new(1000);
        let mut source: &[u8] = &[0xff, 0xff, 0xff, 0xff];
        reader.fill(&mut source).await.unwrap();
        assert_eq!(
            reader.next(),
            Err(FrameError::TooLong {
                length: u32::MAX,
                limit: 1000
            })
        );
    }

    /// Many small answers must share a chunk: one allocation for each read made small gets twice as dear.
    #[tokio::test]
    async fn small_frames_share_a_chunk_even_while_they_are_held() {
        let mut reader = FrameReader::new(1000);
        let bytes = frame(60, 7);
        let mut held = Vec::new();
        for _ in 0..64 {
            let mut source = bytes.as_slice();
            reader.fill(&mut source).await.unwrap();
            held.extend(reader.next().unwrap());
        }
        let contiguous = held
            .windows(2)
            .filter(|pair| pair[1].as_ptr() == pair[0].as_ptr().wrapping_add(64))
            .count();
        assert_eq!(contiguous, 63);
    }
}
