//! Any bytes as an answer's frame: refused, or an answer whose one encoding they are.
#![no_main]

use corduroy_proto_wire::{LENGTH_LEN, Response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let Ok((id, response)) = Response::decode(frame) else {
        return;
    };
    let mut encoded = Vec::new();
    response.encode(id, &mut encoded);
    assert_eq!(&encoded[LENGTH_LEN..], frame);
});
