//! Servers that return the frames that they receive: the floor under a store's figures.
//!
//! A frame is a length (4 bytes, little-endian) and that many bytes, as in the native protocol. An echo server has to find
//! the ends of frames, as any server must, and sends back whole frames alone, all that one read brought with one write. It
//! does nothing else: no decoding, no hash, no copy. What a store on the same runtime needs beyond this is its own.
//!
//! [`glommio`] is the floor for Corduroy, which runs on it; [`epoll`] shows what the runtime itself costs.

pub mod epoll;
pub mod glommio;

/// Bytes of the length field.
pub const LENGTH_LEN: usize = 4;
/// Longest frame, in bytes after the length field.
pub const FRAME_LEN_MAX: usize = 64 << 10;
/// Bytes that one read asks for. Any whole frame fits, so a connection always gets ahead.
pub const BUFFER_LEN: usize = 128 << 10;

const _: () = assert!(BUFFER_LEN >= LENGTH_LEN + FRAME_LEN_MAX);

/// A frame over the limit: the connection can't be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes is over the limit of {FRAME_LEN_MAX}")]
pub struct TooLong {
    /// What its length field says.
    pub length: usize,
}

/// How many bytes the whole frames at the start of `bytes` take up.
///
/// # Errors
///
/// [`TooLong`] as soon as the length field says so.
#[inline]
pub fn whole_frames_len(bytes: &[u8]) -> Result<usize, TooLong> {
    let mut end = 0;
    while let Some((length, _)) = bytes[end..].split_first_chunk::<LENGTH_LEN>() {
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_LEN_MAX {
            return Err(TooLong { length });
        }
        if bytes.len() - end < LENGTH_LEN + length {
            break;
        }
        end += LENGTH_LEN + length;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    // A floor that echoed bytes as they came, frames or not, would be cheaper than any server can be.
    #[test]
    fn only_whole_frames_count() {
        let frames = b"\x01\0\0\0a\x03\0\0\0abc\0\0\0\0";
        for (end, whole) in [
            (0, 0),
            (4, 0),
            (5, 5),
            (11, 5),
            (12, 12),
            (15, 12),
            (16, 16),
        ] {
            assert_eq!(
                whole_frames_len(&frames[..end]),
                Ok(whole),
                "the first {end} bytes"
            );
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_the_frame_is_there() {
        assert_eq!(
            whole_frames_len(b"\x01\0\x01\0"),
            Err(TooLong {
                length: FRAME_LEN_MAX + 1
            })
        );
    }
}
