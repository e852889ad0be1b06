//! Any bytes as a request's frame: refused, or a request whose one encoding they are. Routing must agree with decoding.
#![no_main]

use corduroy_proto_wire::{LENGTH_LEN, Request, key_of, peek};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let Ok((id, request)) = Request::decode(frame) else {
        return;
    };
    let head = peek(frame).expect("what decodes has a header");
    assert_eq!((head.id, head.opcode), (id, request.opcode() as u8));
    assert_eq!(key_of(frame).is_some(), request.opcode().has_key());
    assert_eq!(request.validate(), Ok(()));
    let mut encoded = Vec::new();
    request.encode(id, &mut encoded);
    assert_eq!(&encoded[LENGTH_LEN..], frame);
});
