//! Every byte around records that are on disk alone is flipped in turn, and clients read them: an error or the right value, never a wrong one.
//!
//! `tests/flips.rs` does so to recovery; here it is the way of a running shard, which knows a record's place and nothing more.

use corduroy_proto_wire::Status;

use super::{World, config, delete, put, put_ttl};
use crate::shard::ShardConfig;
use crate::storage::format::{Record, SEGMENT_HEADER_LEN};
use crate::types::SegmentId;

#[test]
fn no_flipped_byte_is_ever_served() {
    let mut world = World::with(ShardConfig {
        memory_bytes: 1,
        // The records are to stay where they are.
        compacts: false,
        ..config()
    });
    let long = vec![b'l'; 3_000];
    world.ask(&put(b"old", b"overwritten soon"));
    world.ask(&put(b"short", b"1"));
    world.ask(&put_ttl(b"expires", b"late", 3_600_000));
    world.ask(&put(b"old", b"new"));
    world.ask(&put(b"empty", b""));
    world.ask(&put(b"deleted", b"x"));
    world.ask(&delete(b"deleted"));
    world.ask(&put(b"long", &long));
    let end = SEGMENT_HEADER_LEN + world.shard.log_mut().end().0 as usize;
    for number in 0..60 {
        world.put(format!("filler {number}").as_bytes(), &[7; 50_000]);
    }
    let expected: [(&[u8], Option<&[u8]>); 6] = [
        (b"old", Some(b"new")),
        (b"short", Some(b"1")),
        (b"expires", Some(b"late")),
        (b"empty", Some(b"")),
        (b"deleted", None),
        (b"long", Some(&long)),
    ];
    let first = SegmentId(1);
    // Where the newest record of each key is.
    let places = expected.map(|(key, value)| {
        let file = &world.files[&first];
        let of = |at: &usize| {
            let record = Record::parse(&file[*at..]).ok()?;
            (record.key == key && Some(record.value) == value).then_some(record.encoded_len())
        };
        let at = (SEGMENT_HEADER_LEN..end)
            .step_by(8)
            .find(|at| of(at).is_some());
        at.map(|at| at..at + of(&at).expect("found"))
    });
    assert_eq!(places.iter().flatten().count(), 5);
    let mut errors = 0;
    for offset in 0..end {
        flip(&mut world, first, offset);
        for ((key, value), place) in expected.iter().zip(&places) {
            let answer = world.get(key);
            let is_hit = place.as_ref().is_some_and(|place| place.contains(&offset));
            let status = match (is_hit, value) {
                (true, _) => Status::Damaged,
                (false, Some(_)) => Status::Ok,
                (false, None) => Status::NotFound,
            };
            assert_eq!(
                answer.status,
                status,
                "offset {offset}, key {}",
                key.escape_ascii()
            );
            if status == Status::Ok {
                assert_eq!(answer.value.as_deref(), *value, "offset {offset}");
            }
            errors += usize::from(is_hit);
        }
        flip(&mut world, first, offset);
    }
    let covered: usize = places.iter().flatten().map(|place| place.len()).sum();
    assert_eq!(errors, covered, "each byte of each record was noticed");
}

fn flip(world: &mut World, segment: SegmentId, offset: usize) {
    let file = world.files.get_mut(&segment).expect("the first segment");
    file[offset] ^= 1 << (offset % 8);
}
