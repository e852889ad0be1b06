//! Any bytes as a stream: every byte belongs to exactly one frame, in order, until the stream ends, breaks off inside a
//! frame, or can't be followed. No frame is over the limit.
#![no_main]

use corduroy_proto_wire::{FrameError, LENGTH_LEN, REQUEST_HEADER_LEN, split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, &[u8])| {
    let (frame_len_max, stream) = input;
    let mut rest = stream;
    loop {
        match split(rest, frame_len_max) {
            Ok(Some((frame, consumed))) => {
                assert!((REQUEST_HEADER_LEN..=frame_len_max as usize).contains(&frame.len()));
                assert_eq!(&rest[LENGTH_LEN..consumed], frame);
                rest = &rest[consumed..];
            }
            Ok(None) => {
                let announced = rest
                    .first_chunk()
                    .map_or(0, |length| u32::from_le_bytes(*length) as usize);
                assert!(rest.len() < LENGTH_LEN + announced.max(REQUEST_HEADER_LEN));
                break;
            }
            Err(FrameError::TooLong { length, limit }) => {
                assert_eq!(limit, frame_len_max);
                assert!(length > limit);
                break;
            }
            Err(FrameError::TooShort { length, minimum }) => {
                assert!(length < minimum);
                break;
            }
        }
    }
});
