//! Bytes that no honest peer sends. Whatever arrives, decoding yields an error, or a value that the very same bytes
//! mean; it never panics, and never allocates by what the bytes claim.
//!
//! The property that carries all of it: `encode` of whatever `decode` accepts gives back the bytes. So a truncated or
//! flipped message that is accepted at all is another message, told as it must be told, and not a misreading.

use corduroy_proto_wire::{
    DecodeError, FrameError, Opcode, REQUEST_HEADER_LEN, RESPONSE_HEADER_LEN, Request, Response,
    key_of, peek, split,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::material;

/// Holds for any bytes.
fn check_request(frame: &[u8]) {
    if let Ok((id, request)) = Request::decode(frame) {
        assert_eq!(
            material::request_frame(&request, id),
            frame,
            "{request:?} has one encoding"
        );
        assert_eq!(request.validate(), Ok(()));
        assert_eq!(request.opcode().has_key(), key_of(frame).is_some());
    }
    assert_eq!(peek(frame).is_ok(), frame.len() >= REQUEST_HEADER_LEN);
}

/// Holds for any bytes.
fn check_response(frame: &[u8]) {
    if let Ok((id, response)) = Response::decode(frame) {
        assert_eq!(
            material::response_frame(&response, id),
            frame,
            "{response:?} has one encoding"
        );
    }
}

/// Every beginning of the frame, and the frame with any one bit turned over.
fn every_truncation_and_flip(frame: &[u8], check: fn(&[u8])) {
    for len in 0..frame.len() {
        check(&frame[..len]);
    }
    let mut flipped = frame.to_vec();
    for index in 0..frame.len() {
        for bit in 0..8 {
            flipped[index] ^= 1 << bit;
            check(&flipped);
            flipped[index] ^= 1 << bit;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// A connection that breaks off, a client with a bug, memory that forgets a bit: none may take the server down or
    /// have it carry out what was not asked.
    #[test]
    fn a_damaged_request_is_refused_or_is_another_request(material in material::material(), id: u32) {
        let frames = material.unit_frames();
        for request in material.requests().into_iter().chain(material.units(&frames)) {
            every_truncation_and_flip(&material::request_frame(&request, id), check_request);
        }
    }

    /// The same for a client and the answers that it gets.
    #[test]
    fn a_damaged_answer_is_refused_or_is_another_answer(material in material::material(), id: u32) {
        for response in material.responses() {
            every_truncation_and_flip(&material::response_frame(&response, id), check_response);
        }
    }
}

proptest! {
    /// Garbage behind a header that gets it past the first checks reaches code that damaged honest frames don't.
    #[test]
    fn garbage_behind_any_opcode_is_refused_or_is_a_request(
        opcode in proptest::sample::select(Opcode::ALL.as_slice()),
        flags in 0u8..64,
        key_len in 0u16..4,
        rest in vec(prop_oneof![Just(0u8), 0u8..4, any::<u8>()], 0..80),
    ) {
        let mut frame = vec![1, 0, 0, 0, opcode as u8, flags];
        frame.extend_from_slice(&key_len.to_le_bytes());
        frame.extend_from_slice(&u32::from(matches!(opcode as u8 >> 4, 1 | 2) || opcode == Opcode::Move).to_le_bytes());
        frame.extend_from_slice(&rest);
        check_request(&frame);
    }

    /// The same for answers.
    #[test]
    fn garbage_behind_any_kind_of_body_is_refused_or_is_an_answer(
        kind in 0u8..12,
        status in prop_oneof![0u8..4, 63u8..80],
        rest in vec(prop_oneof![Just(0u8), 0u8..4, any::<u8>()], 0..80),
    ) {
        let mut frame = vec![0; RESPONSE_HEADER_LEN];
        frame[4] = kind;
        frame[5] = status;
        frame.extend_from_slice(&rest);
        check_response(&frame);
    }

    /// The stream's first bytes may be anything at all.
    #[test]
    fn splitting_garbage_never_reads_past_it(bytes in vec(any::<u8>(), 0..64), frame_len_max: u32) {
        if let Ok(Some((frame, consumed))) = split(&bytes, frame_len_max) {
            prop_assert_eq!(&bytes[4..consumed], frame);
            prop_assert!(frame.len() <= frame_len_max as usize);
        }
    }
}

/// A client that announces four gigabytes and sends nothing would have a careless server reserve them.
#[test]
fn a_frame_over_the_limit_is_refused_by_its_length_alone() {
    assert_eq!(
        split(&[1, 0, 0], 12),
        Ok(None),
        "a length that is not all there says nothing"
    );
    assert_eq!(
        split(&101u32.to_le_bytes(), 100),
        Err(FrameError::TooLong {
            length: 101,
            limit: 100
        })
    );
    assert_eq!(split(&100u32.to_le_bytes(), 100), Ok(None));
    assert_eq!(
        split(&[0xff; 4], 100).unwrap_err().to_string(),
        "frame length 4294967295 is over the limit of 100 bytes"
    );
}

/// A length of zero, taken for a frame, would have the reader turn in circles without a byte to read.
#[test]
fn a_frame_shorter_than_a_header_is_refused_by_its_length_alone() {
    for length in 0..REQUEST_HEADER_LEN as u32 {
        assert_eq!(
            split(&length.to_le_bytes(), 100),
            Err(FrameError::TooShort {
                length,
                minimum: 12
            })
        );
    }
    assert_eq!(split(&12u32.to_le_bytes(), 100), Ok(None));
}

/// How much a decoder may allocate for a frame: the largest ratio of an item in memory to the same item in a frame is that
/// of a one-byte get in a batch, 9 bytes that become a `BatchItem`.
const ALLOCATION_RATIO_MAX: u64 = 10;

/// Ten bytes that claim four billion items would have a trusting decoder reserve hundreds of gigabytes and die.
#[test]
fn what_a_count_claims_is_not_allocated() {
    let counts = [1u32, 2, 1000, 4096, u32::MAX];
    type IsRefused = fn(&[u8]) -> bool;
    let mut frames: Vec<(IsRefused, Vec<u8>)> = Vec::new();
    for count in counts {
        for opcode in [Opcode::Batch, Opcode::AtomicBatch] {
            let mut frame = vec![0, 0, 0, 0, opcode as u8, 0, 0, 0, 1, 0, 0, 0];
            frame.extend_from_slice(&count.to_le_bytes());
            frame.extend_from_slice(&[0; 40]);
            frames.push((|frame| Request::decode(frame).is_err(), frame));
        }
        for before_count in [&[][..], &[0; 4]] {
            let mut frame = vec![0, 0, 0, 0, Opcode::Unit as u8, 0, 0, 0, 0, 0, 0, 0];
            frame.extend_from_slice(before_count);
            frame.extend_from_slice(&count.to_le_bytes());
            frame.extend_from_slice(&[0; 40]);
            frames.push((|frame| Request::decode(frame).is_err(), frame));
        }
        for (kind, before_count) in [(5, 0), (6, 16), (7, 0)] {
            let mut frame = vec![0; RESPONSE_HEADER_LEN + before_count];
            frame[4] = kind;
            frame.extend_from_slice(&count.to_le_bytes());
            // No item is all of these: its status, flags and lengths are unknown or lead past the end.
            frame.extend_from_slice(&[0xff; 40]);
            frames.push((|frame| Response::decode(frame).is_err(), frame));
        }
    }
    for (is_refused, frame) in frames {
        let mut refused = false;
        let allocated = allocation_counter::measure(|| refused = is_refused(&frame));
        assert!(refused, "{frame:?}");
        assert!(
            allocated.bytes_max <= ALLOCATION_RATIO_MAX * frame.len() as u64,
            "{} bytes were allocated for a frame of {}",
            allocated.bytes_max,
            frame.len()
        );
    }
}

/// A get that allocates costs more than all the rest of its decoding. This also shows that the counter counts.
#[test]
fn only_lists_and_names_allocate() {
    let allocated = |frame: &[u8]| {
        allocation_counter::measure(|| {
            std::hint::black_box(Request::decode(frame).is_ok());
        })
        .count_total
    };
    let get = material::request_frame(
        &Request::Get {
            keyspace: 1,
            key: b"key",
        },
        1,
    );
    assert_eq!(allocated(&get), 0);
    let items = vec![corduroy_proto_wire::BatchItem::Get { key: b"key" }];
    let batch = material::request_frame(&Request::Batch { keyspace: 1, items }, 1);
    assert_eq!(allocated(&batch), 1);
}

/// A server must answer a bad request by its id, or the client waits for that answer for ever.
#[test]
fn the_id_of_a_bad_request_can_still_be_had() {
    let mut frame = material::request_frame(
        &Request::Get {
            keyspace: 1,
            key: b"key",
        },
        0xABCD,
    );
    frame[4] = 0xEE;
    assert_eq!(
        Request::decode(&frame),
        Err(DecodeError::UnknownOpcode { opcode: 0xEE })
    );
    assert_eq!(peek(&frame).unwrap().id, 0xABCD);
}
