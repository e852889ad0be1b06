//! Whole frames that a server must refuse one by one: their length is right and what is in them is not.
//!
//! Half of them are requests of which bytes were changed, cut off or appended until they can't be decoded; most keep an opcode and a key, so that they
//! travel to the shard that owns it. The other half can be decoded and ask for what can't be had. None may have an effect or go without an answer.

use corduroy_proto_wire::{
    BatchItem, Condition, Cursor, Delete, LENGTH_LEN, Put, Request, RequestId, Ttl,
};

use super::catalog::DEFAULT;
use super::random::Random;

/// No keyspace has it.
const NOWHERE: u32 = 1_000_000;

/// Appends one such frame, with this id.
pub(super) fn nonsense(id: RequestId, random: &mut Random, out: &mut Vec<u8>) {
    if random.percent(50) {
        return impossible(random).encode(id, out);
    }
    let mut frame = Vec::new();
    while frame.is_empty() || Request::decode(&frame).is_ok() {
        frame.clear();
        let mut sound = Vec::new();
        sensible(random).encode(id, &mut sound);
        frame.extend_from_slice(&sound[LENGTH_LEN..]);
        spoil(random, &mut frame);
        // Whose answer it would be is the one thing that stays right.
        frame[..size_of::<RequestId>()].copy_from_slice(&id.to_le_bytes());
    }
    out.extend_from_slice(&(frame.len() as u32).to_le_bytes());
    out.extend_from_slice(&frame);
}

/// Changes a frame, and leaves at least its header.
fn spoil(random: &mut Random, frame: &mut Vec<u8>) {
    let least = corduroy_proto_wire::REQUEST_HEADER_LEN;
    match random.below(4) {
        0 => {
            let len = least + random.index(frame.len() - least + 1);
            frame.truncate(len);
        }
        1 => frame.extend((0..=random.skewed(300)).map(|_| random.next() as u8)),
        2 => {
            for byte in &mut frame[size_of::<RequestId>()..] {
                *byte = random.next() as u8;
            }
        }
        _ => {
            for _ in 0..=random.below(3) {
                let at = random.index(frame.len());
                frame[at] ^= 1 << random.below(8);
            }
        }
    }
}

fn key(random: &mut Random) -> &'static [u8] {
    const KEYS: [&[u8]; 4] = [b"k1", b"c2", b"{g0}a", b"nobody asks for this"];
    KEYS[random.index(KEYS.len())]
}

/// A request that would be carried out.
fn sensible(random: &mut Random) -> Request<'static> {
    let keyspace = DEFAULT;
    let key = key(random);
    let put = Put {
        key,
        value: b"nonsense",
        ttl: Ttl::Millis(5),
        condition: Condition::IfVersion(7),
        return_value: true,
    };
    let delete = Delete {
        key,
        condition: Condition::IfValue(b"nonsense"),
        return_value: false,
    };
    match random.below(9) {
        0 => Request::Get { keyspace, key },
        1 => Request::Put { keyspace, put },
        2 => Request::Delete { keyspace, delete },
        3 => Request::Touch {
            keyspace,
            key,
            ttl_ms: 1,
        },
        4 => Request::Append {
            keyspace,
            key,
            suffix: b"nonsense",
        },
        5 => Request::Batch {
            keyspace,
            items: vec![BatchItem::Put(put), BatchItem::Get { key }],
        },
        6 => Request::AtomicBatch {
            keyspace,
            items: vec![BatchItem::Put(put)],
        },
        7 => Request::KeyspaceCreate {
            name: "nonsense",
            partitions: 3,
        },
        _ => scan(Cursor::START),
    }
}

fn scan(cursor: Cursor) -> Request<'static> {
    Request::Scan {
        keyspace: DEFAULT,
        prefix: b"k",
        cursor,
        limit: 10,
        with_values: true,
    }
}

/// A request that can be decoded and never be carried out.
fn impossible(random: &mut Random) -> Request<'static> {
    let key = key(random);
    let keyspace = [0, NOWHERE][random.index(2)];
    let put = |key| {
        BatchItem::Put(Put {
            key,
            value: b"nonsense",
            ttl: Ttl::None,
            condition: Condition::Always,
            return_value: false,
        })
    };
    match random.below(8) {
        0 => Request::Get { keyspace, key },
        1 => Request::Add {
            keyspace,
            key,
            delta: 1,
        },
        2 => Request::Count { keyspace },
        3 => Request::Flush { keyspace },
        // A key twice, and keys of several partitions.
        4 => Request::AtomicBatch {
            keyspace: DEFAULT,
            items: vec![put(key), put(key)],
        },
        5 => Request::AtomicBatch {
            keyspace: DEFAULT,
            items: vec![put(b"{g0}a"), put(b"{g1}a"), put(b"{g2}a")],
        },
        6 => {
            let mut cursor = [0xA5; 16];
            cursor
                .iter_mut()
                .for_each(|byte| *byte ^= random.next() as u8);
            // A cursor's first byte is 1.
            cursor[0] = 2;
            scan(Cursor(cursor))
        }
        _ => Request::KeyspaceDrop { name: "default" },
    }
}

#[cfg(test)]
mod tests {
    use corduroy_proto_wire::split;

    use super::*;

    /// A client whose frames could be followed by nobody would be cut at the first, and the rest would test nothing.
    #[test]
    fn every_frame_of_nonsense_is_whole_and_says_whose_it_is() {
        for seed in 0..500 {
            let mut random = Random::new(seed, 0);
            let mut bytes = Vec::new();
            nonsense(77, &mut random, &mut bytes);
            let (frame, consumed) = split(&bytes, 1 << 20)
                .expect("it can be followed")
                .expect("it is whole");
            assert_eq!(consumed, bytes.len());
            assert_eq!(frame[..4], 77u32.to_le_bytes());
        }
    }
}
