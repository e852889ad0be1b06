//! What other shards ask.

use corduroy_proto_wire::Request;

use super::super::MeshBatch;
use super::super::link::Route;
use super::{KEYSPACE, World, encoded};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::SyncMode;
use crate::shard::Whereabouts;
use crate::types::{KeyspaceId, ShardId};

/// A key that lives on the shard of the world.
fn own_key(world: &World) -> [u8; 4] {
    (0_u32..)
        .map(u32::to_le_bytes)
        .find(|key| {
            let whereabouts = world.driver.shard.whereabouts(KeyspaceId::DEFAULT, key);
            matches!(whereabouts, Whereabouts::Here(_))
        })
        .unwrap()
}

/// What another shard sends that has so many gets of a key.
fn gets_of(key: &[u8], count: usize) -> MeshBatch {
    let mut batch = MeshBatch::default();
    let route = Route {
        client: ConnectionId {
            slot: 0,
            generation: 0,
        },
        gather: None,
        get: true,
    };
    let frame = encoded(&Request::Get {
        keyspace: KEYSPACE,
        key,
    });
    for _ in 0..count {
        batch
            .requests
            .push(route, |out| out.extend_from_slice(&frame));
    }
    batch
}

/// Each batch that came had a budget of its own: a turn that found several answered so many that the other shard's window was full at once, and
/// the two went on by turns, one asleep while the other worked.
#[test]
fn a_turn_takes_a_slice_of_other_shards_requests_however_many_batches_come() {
    let mut world = World::of(3, SyncMode::Always);
    let key = own_key(&world);
    let one_len = gets_of(&key, 1).requests.len();
    let in_turn_max = limits::TURN_MESH_BYTES.div_ceil(one_len);
    for _ in 0..4 {
        world
            .driver
            .mesh_received(ShardId(1), gets_of(&key, in_turn_max));
    }
    world.driver.mesh_received(ShardId(2), gets_of(&key, 1));
    let answered = |world: &World, peer: u16| {
        let batches = world.driver.ports.batches.iter();
        batches
            .filter(|(to, _)| *to == ShardId(peer))
            .map(|(_, batch)| batch.replies.unread().count())
            .sum::<usize>()
    };
    let mut before = 0;
    for _ in 0..3 {
        assert!(world.end_turn().again);
        let all = answered(&world, 1) + answered(&world, 2);
        assert!(
            all > before && all <= before + in_turn_max,
            "{all} after {before}"
        );
        before = all;
    }
    // Shard 2 need not wait until shard 1 has nothing left to ask.
    assert_eq!(answered(&world, 2), 1);
}
