//! Frames of the native shape that come back as they were sent: the language of the floor.
//!
//! ```text
//! 0        4    8                  16    32
//! | length | id | rest of a header | key | value (put alone) |
//! ```
//!
//! A get is as long as a native get, 32 bytes, and a put as long as a native put. A native get of a 64-byte value and its
//! answer, 32 and 92 bytes, weigh as much as the echo of a put with a 32-byte value, 64 bytes either way: that is the floor
//! under such gets. All integers are little-endian.

use super::{Dialect, Expected, Malformed, Outcome, Reply, Template};
use crate::{
    drive::workload::{self, KEY_LEN, Operation},
    echo::{FRAME_LEN_MAX, LENGTH_LEN},
};

/// What surrounds key and value, in bytes: as much as in a native request.
pub const FRAME_OVERHEAD_LEN: usize = LENGTH_LEN + 12;

/// The floor's language.
#[derive(Debug)]
pub struct EchoDialect {
    /// How long the frames are that were sent, in bytes with the length field: a get's and a put's.
    lens: [usize; 2],
}

impl EchoDialect {
    /// For values of this length.
    #[must_use]
    pub fn new(value_len: usize) -> EchoDialect {
        let get_len = FRAME_OVERHEAD_LEN + KEY_LEN;
        EchoDialect {
            lens: [get_len, get_len + value_len],
        }
    }
}

impl Dialect for EchoDialect {
    const IN_ORDER: bool = false;

    fn template(&self, operation: Operation, value_len: usize) -> Template {
        let value = match operation {
            Operation::Get => Vec::new(),
            Operation::Put => workload::value(value_len),
        };
        let mut bytes = vec![0; FRAME_OVERHEAD_LEN];
        bytes.extend_from_slice(&workload::key(0));
        bytes.extend_from_slice(&value);
        let length = (bytes.len() - LENGTH_LEN) as u32;
        bytes[..LENGTH_LEN].copy_from_slice(&length.to_le_bytes());
        Template::new(bytes, FRAME_OVERHEAD_LEN)
            .with_value(FRAME_OVERHEAD_LEN + KEY_LEN, value.len())
            .with_id(LENGTH_LEN, 0)
    }

    fn expected(&self, _: Operation) -> Expected {
        Expected::Done
    }

    fn reply_len_max(&self, _: usize) -> usize {
        self.lens[1]
    }

    #[inline]
    fn reply<'a>(&self, bytes: &'a [u8]) -> Result<Option<Reply<'a>>, Malformed> {
        let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_LEN>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_LEN_MAX {
            return Err(Malformed::of("a frame is longer than any that was sent"));
        }
        let Some(frame) = rest.get(..length) else {
            return Ok(None);
        };
        let (id, _) = frame
            .split_first_chunk::<4>()
            .ok_or(Malformed::of("a frame is too short for an id"))?;
        let len = LENGTH_LEN + length;
        let outcome = if self.lens.contains(&len) {
            Outcome::Done
        } else {
            Outcome::Refused(b"a frame of a length that was not sent")
        };
        Ok(Some(Reply {
            len,
            slot: Some(u32::from_le_bytes(*id)),
            outcome,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::protocol::tests::assert_needs_all_of;

    // The floor counts only if what comes back is what was sent, whole and under its own id.
    #[test]
    fn a_request_is_its_own_reply() {
        let dialect = EchoDialect::new(64);
        for operation in [Operation::Get, Operation::Put] {
            let mut frame = Vec::new();
            dialect.template(operation, 64).append(9, 7, &mut frame);
            assert_needs_all_of(&dialect, &frame, Outcome::Done);
            assert_eq!(dialect.reply(&frame).unwrap().unwrap().slot, Some(9));
        }
    }

    #[test]
    fn other_frames_are_refused_or_malformed() {
        let dialect = EchoDialect::new(64);
        let reply = dialect.reply(b"\x04\0\0\0\x09\0\0\0").unwrap().unwrap();
        assert!(matches!(reply.outcome, Outcome::Refused(_)), "{reply:?}");
        assert!(dialect.reply(b"\xff\xff\xff\xff").is_err());
        assert!(dialect.reply(b"\x01\0\0\0\0").is_err());
    }
}
