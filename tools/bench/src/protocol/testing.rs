//! What the tests of the dialects share: keys and values that a person can read, and streams that are cut anywhere.

use super::{Asked, Dialect, KeyBytes, Malformed, Outcome, Step, ValueBytes};
use crate::workload::{Ask, Heat, Operation};

/// `key:7`, and `counter:7` for counters: of different lengths, so that no length is taken for granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainKeys;

impl KeyBytes for PlainKeys {
    fn key_len(&self, operation: Operation, number: u64) -> usize {
        plain_key(operation, number).len()
    }

    fn append(&self, operation: Operation, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(plain_key(operation, number).as_bytes());
    }
}

pub(crate) fn plain_key(operation: Operation, number: u64) -> String {
    match operation {
        Operation::Add => format!("counter:{number}"),
        _ => format!("key:{number}"),
    }
}

/// Key and stamp as text, cut or filled up with dots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainValues;

impl ValueBytes for PlainValues {
    fn append(&self, key: u64, stamp: u64, len: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&plain_value(key, stamp, len));
    }
}

pub(crate) fn plain_value(key: u64, stamp: u64, len: u32) -> Vec<u8> {
    let mut value = format!("{key}/{stamp}").into_bytes();
    value.resize(len as usize, b'.');
    value
}

/// An operation on key 7, with a value of 5 bytes, `7/3..`.
pub(crate) fn ask(operation: Operation) -> Ask {
    Ask {
        operation,
        key: 7,
        heat: Heat::Cold,
        value_len: 5,
        stamp: 3,
        ttl_ms: 0,
        count: 3,
    }
}

/// What the reader must know of such a request.
pub(crate) fn asked(operation: Operation, second: bool) -> Asked {
    let step = if second {
        Step::Second(None)
    } else {
        Step::First
    };
    Asked::of(&ask(operation), step)
}

/// The bytes of one request.
pub(crate) fn request<D: Dialect>(dialect: &D, slot: u32, ask: &Ask, step: Step<'_>) -> Vec<u8> {
    // What is there already must stay.
    let mut out = b"before".to_vec();
    dialect.request(slot, ask, step, &mut out);
    out.strip_prefix(b"before").unwrap().to_vec()
}

/// The reply is found once its last byte is there, not before, and takes nothing of what follows.
#[track_caller]
pub(crate) fn assert_reply<D: Dialect>(
    dialect: &D,
    asked: Asked,
    bytes: &[u8],
    outcome: Outcome<'_>,
) {
    for end in 0..bytes.len() {
        assert_eq!(
            dialect.reply(&bytes[..end], Some(asked)),
            Ok(None),
            "the first {end} bytes of {}",
            bytes.escape_ascii()
        );
    }
    let mut longer = bytes.to_vec();
    longer.extend_from_slice(bytes);
    let reply = dialect.reply(&longer, Some(asked)).unwrap().unwrap();
    assert_eq!((reply.len, reply.outcome), (bytes.len(), outcome));
}

/// The bytes are no reply to this request.
#[track_caller]
pub(crate) fn assert_malformed<D: Dialect>(dialect: &D, asked: Asked, bytes: &[u8]) {
    let read = dialect.reply(bytes, Some(asked));
    assert!(read.is_err(), "{}: {read:?}", bytes.escape_ascii());
}

/// All that a stream says: the replies as text, and the error that ends it, if one does. The stream arrives in pieces of these lengths,
/// and then the rest. Every request is the same.
pub(crate) fn read_in_pieces<D: Dialect>(
    dialect: &D,
    asked: Asked,
    stream: &[u8],
    pieces: &[usize],
) -> (Vec<String>, Option<Malformed>) {
    let mut replies = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for piece in pieces.iter().copied().chain([stream.len()]) {
        end = stream.len().min(end + piece);
        loop {
            match dialect.reply(&stream[begin..end], Some(asked)) {
                Ok(None) => break,
                Err(malformed) => return (replies, Some(malformed)),
                Ok(Some(reply)) => {
                    assert!(reply.len > 0 && begin + reply.len <= end, "{reply:?}");
                    replies.push(format!("{reply:?}"));
                    begin += reply.len;
                }
            }
        }
    }
    (replies, None)
}

/// Holds a parser to what every parser must do with any bytes: end without a panic, and the same way however they are cut.
#[track_caller]
pub(crate) fn assert_cuts_do_not_matter<D: Dialect>(
    dialect: &D,
    asked: Asked,
    stream: &[u8],
    pieces: &[usize],
) {
    let whole = read_in_pieces(dialect, asked, stream, &[]);
    assert_eq!(read_in_pieces(dialect, asked, stream, pieces), whole);
    // What was read as a batch can be looked into, and so can anything else.
    dialect.values(&ask(asked.operation), stream, &mut |_, _| ());
}
