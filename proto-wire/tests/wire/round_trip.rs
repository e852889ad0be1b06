//! Whatever can be said arrives as it was said.

use std::collections::HashSet;

use corduroy_proto_wire::{BodyKind, LENGTH_LEN, Opcode, Request, Response, key_of, peek, split};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::material;

proptest! {
    /// A field written at one offset and read at another would put a client's bytes under the wrong key.
    #[test]
    fn a_request_arrives_as_it_was_sent(material in material::material(), id: u32) {
        let frames = material.unit_frames();
        for request in material.requests().into_iter().chain(material.units(&frames)) {
            let mut bytes = Vec::new();
            request.encode(id, &mut bytes);
            prop_assert_eq!(bytes.len(), request.encoded_len());
            let (frame, consumed) = split(&bytes, u32::MAX).unwrap().unwrap();
            prop_assert_eq!(consumed, bytes.len());
            prop_assert_eq!(request.validate(), Ok(()));
            prop_assert_eq!(Request::decode(frame), Ok((id, request)));
        }
    }

    /// A client that reads another value than the server sent believes a write that never was.
    #[test]
    fn an_answer_arrives_as_it_was_sent(material in material::material(), id: u32) {
        for response in material.responses() {
            let mut bytes = Vec::new();
            response.encode(id, &mut bytes);
            prop_assert_eq!(bytes.len(), response.encoded_len());
            let (frame, consumed) = split(&bytes, u32::MAX).unwrap().unwrap();
            prop_assert_eq!(consumed, bytes.len());
            prop_assert_eq!(Response::decode(frame), Ok((id, response)));
        }
    }

    /// Routing reads the header without decoding: if the two disagreed about a key, a request would be carried out on a
    /// shard that does not own it, and its write would never be found again.
    #[test]
    fn routing_sees_the_header_and_the_key_that_decoding_sees(material in material::material(), id: u32) {
        let frames = material.unit_frames();
        for request in material.requests().into_iter().chain(material.units(&frames)) {
            let frame = material::request_frame(&request, id);
            let head = peek(&frame).unwrap();
            prop_assert_eq!((head.id, head.opcode), (id, request.opcode() as u8));
            let key = match &request {
                Request::Get { key, .. } | Request::Exists { key, .. } | Request::Ttl { key, .. }
                | Request::Touch { key, .. } | Request::Persist { key, .. } | Request::Add { key, .. }
                | Request::Append { key, .. } | Request::Overwrite { key, .. } | Request::AddFloat { key, .. }
                | Request::Expire { key, .. } | Request::ExpiresAt { key, .. } => Some(*key),
                Request::Put { put, .. } => Some(put.key),
                Request::Delete { delete, .. } => Some(delete.key),
                _ => None,
            };
            prop_assert_eq!(key_of(&frame), key);
            prop_assert_eq!(request.opcode().has_key(), key.is_some());
            if key.is_some() {
                prop_assert_eq!(head.keyspace, material.keyspace);
            }
        }
    }

    /// Pipelined frames arrive in pieces cut anywhere. A cut that loses or repeats a byte garbles every request after it.
    #[test]
    fn frames_are_found_however_the_stream_is_cut(
        material in material::material(),
        pieces in proptest::collection::vec(1usize..200, 1..50),
    ) {
        let frames = material.unit_frames();
        let requests: Vec<Request<'_>> = material.requests().into_iter().chain(material.units(&frames)).collect();
        let mut stream = Vec::new();
        for (id, request) in requests.iter().enumerate() {
            request.encode(id as u32, &mut stream);
        }
        let (mut arrived, mut found) = (Vec::new(), Vec::new());
        let mut unsent = stream.as_slice();
        for piece in pieces.into_iter().cycle() {
            let (now, later) = unsent.split_at(piece.min(unsent.len()));
            arrived.extend_from_slice(now);
            unsent = later;
            while let Some((frame, consumed)) = split(&arrived, u32::MAX).unwrap() {
                found.push(frame.to_vec());
                arrived.drain(..consumed);
            }
            if unsent.is_empty() {
                break;
            }
        }
        prop_assert!(arrived.is_empty());
        prop_assert_eq!(found.len(), requests.len());
        for (id, (frame, request)) in found.iter().zip(requests).enumerate() {
            prop_assert_eq!(Request::decode(frame), Ok((id as u32, request)));
        }
    }
}

/// A kind of message that the material forgets is a kind that none of the tests above looks at.
#[test]
fn the_material_holds_every_kind_of_message() {
    let material = material::material()
        .new_tree(&mut TestRunner::deterministic())
        .unwrap()
        .current();
    let frames = material.unit_frames();
    let opcodes: HashSet<Opcode> = material
        .requests()
        .iter()
        .chain(&material.units(&frames))
        .map(Request::opcode)
        .collect();
    assert_eq!(opcodes, Opcode::ALL.into_iter().collect());
    let kinds: HashSet<BodyKind> = material
        .responses()
        .iter()
        .map(|response| response.body.kind())
        .collect();
    assert_eq!(kinds, (0..=u8::MAX).filter_map(BodyKind::from_u8).collect());
    let statuses: HashSet<_> = material
        .responses()
        .iter()
        .map(|response| response.status)
        .collect();
    assert_eq!(statuses, material::statuses().collect());
}

/// Requests are encoded one behind the other into one buffer: an encoder that looked at the whole buffer instead of its
/// own part would write the first frame's length into the second.
#[test]
fn encoding_appends_and_leaves_what_was_there() {
    let mut bytes = b"before".to_vec();
    Request::Status.encode(9, &mut bytes);
    assert_eq!(&bytes[..6], b"before");
    assert_eq!(
        split(&bytes[6..], 100),
        Ok(Some((
            &bytes[6 + LENGTH_LEN..],
            Request::Status.encoded_len()
        )))
    );
}
