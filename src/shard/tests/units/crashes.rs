//! A power loss at every write, after any of its sectors: a unit, or a move, is there as a whole or not at all.

use corduroy_proto_wire::Request;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::World;
use super::model::{Model, Op, op};
use crate::limits::SECTOR_LEN;
use crate::storage::disk::DiskOperation;
use crate::types::SegmentId;

/// The write that is to be done next, as its bytes and their place.
fn next_write(world: &mut World) -> Option<(SegmentId, usize, Vec<u8>)> {
    let DiskOperation::Write {
        segment,
        offset,
        block,
        ..
    } = &mut world.queue.first_mut()?.1
    else {
        return None;
    };
    block.seal(|| {});
    let mut bytes = Vec::new();
    for part in block.parts() {
        bytes.extend_from_slice(part);
    }
    Some((*segment, *offset as usize, bytes))
}

/// A start after a power loss that left those sectors of the write for which `is_kept` answers true, by their number in it.
fn after_power_loss(
    world: &World,
    (segment, offset, bytes): &(SegmentId, usize, Vec<u8>),
    is_kept: impl Fn(usize) -> bool,
) -> World {
    let mut left = World {
        files: world.files.clone(),
        ..World::with(world.config.clone())
    };
    left.now = world.now;
    let file = left.files.get_mut(segment).expect("a prepared segment");
    for (at, byte) in bytes.iter().enumerate() {
        let sector = (offset + at) / SECTOR_LEN - offset / SECTOR_LEN;
        if is_kept(sector) {
            file[offset + at] = *byte;
        }
    }
    left.restart()
}

/// Does all that the disk has to do, and before each write tries the power losses in it. `before` and `after` are the two states that may be found.
fn settle_with_power_losses(world: &mut World, before: &Model, after: &Model) -> usize {
    let mut losses = 0;
    loop {
        world.end_turn();
        if let Some(write) = next_write(world) {
            let sectors = (write.1 + write.2.len() - 1) / SECTOR_LEN - write.1 / SECTOR_LEN + 1;
            for count in 0..=sectors {
                for is_first in [true, false] {
                    let mut left =
                        after_power_loss(world, &write, |sector| (sector < count) == is_first);
                    assert!(
                        before.is_in(&mut left) || after.is_in(&mut left),
                        "{count} of {sectors} sectors, the first ones: {is_first}"
                    );
                    losses += 1;
                }
            }
        }
        if !world.step() && !world.shard.has_slices() {
            return losses;
        }
    }
}

/// Half of a transaction after a power loss is what transactions are against.
#[test]
fn no_power_loss_leaves_a_part_of_a_unit() {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    // Enough requests for a block of several sectors.
    let ops = proptest::collection::vec(op(), 10..40);
    let (mut losses, mut changes) = (0, 0);
    let mut world = World::new();
    let mut model = Model::default();
    for round in 0..40 {
        let ops = ops.new_tree(&mut runner).unwrap().current();
        let before = model.clone();
        let requests: Vec<Request<'_>> = ops.iter().map(Op::request).collect();
        // Every fourth one is a move alone, which is as much of a unit.
        let alone: Vec<&Op> = ops
            .iter()
            .filter(|op| matches!(op, Op::Move(..)))
            .take(1)
            .collect();
        if let ([op], 0) = (&alone[..], round % 4) {
            model.apply(op, world.now);
            world.send(&op.request());
        } else {
            for op in &ops {
                model.apply(op, world.now);
            }
            world.send_unit(&requests);
        }
        changes += usize::from(model != before);
        losses += settle_with_power_losses(&mut world, &before, &model);
        model.check(&mut world);
    }
    assert!(
        changes > 20 && losses > 200,
        "{changes} changes, {losses} power losses"
    );
}
