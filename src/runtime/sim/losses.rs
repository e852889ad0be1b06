//! What a node that does not sync each write may lose, and what not.
//!
//! With `sync interval` or `never` a power loss takes acknowledged writes, but only a suffix of each shard's log: a write is lost only with all
//! that were appended after it. Clients can't see the log; but a write that was sent after another of the same shard had been
//! answered was appended after it. So: no lost write was answered before a write that survived was sent. And nothing of an
//! earlier life is lost, for a start syncs what it found; with an interval nothing older than the interval and the time of a few syncs.
//!
//! Which writes are lost follows from the audit: the latest place to cut a key's versions at which everything else adds up. Where the
//! audit found no key, that place can't be known (a delete that was kept looks like a write that was lost), so once some cut explains it
//! all that happened to such a key has an unknown outcome from then on.

use super::check::check_key;
use super::history::{Outcome, Place, Time};
use super::world::World;
use crate::limits::PARTITIONS_DEFAULT;
use crate::shard::SyncMode;
use crate::types::{ShardId, shard_of_partition};
use corduroy_proto_wire::{partition_of_slot, slot_of};

/// A write that was acknowledged: when it was sent, and when answered.
type Span = (Time, Time);

/// Marks what was lost in the life that ended before `audited`, and checks that it was no more than may be.
pub(super) fn settle(world: &mut World, audited: Time) -> Result<(), String> {
    let dead_life = world.life_before;
    for flush in &mut world.history.flushes {
        if flush.answered > dead_life && flush.answered < audited {
            flush.closed = flush.answered;
            flush.is_certain = false;
        }
    }
    // A scan that goes on after the loss owes nothing to what it saw before.
    for client in &mut world.clients {
        client.scan = None;
    }
    let places: Vec<Place> = world.history.keys.keys().copied().collect();
    let shards = usize::from(world.habits.shard_count);
    let mut lost: Vec<Vec<Span>> = vec![Vec::new(); shards];
    let mut kept: Vec<Vec<Span>> = vec![Vec::new(); shards];
    for place in places {
        let shard = shard_of(world, place).index();
        lost[shard].extend(cut(world, place, audited)?);
        let entries = world
            .history
            .keys
            .get_mut(&place)
            .expect("the place was listed");
        let is_there = entries
            .iter()
            .any(|entry| entry.invoked >= audited && matches!(entry.outcome, Outcome::Saw { .. }));
        for entry in entries.iter_mut().filter(|entry| entry.invoked < audited) {
            if !is_there {
                entry.outcome = match entry.act.is_write() {
                    true => Outcome::Unknown,
                    false => Outcome::Lost,
                };
            } else if matches!(entry.outcome, Outcome::Wrote { .. }) {
                kept[shard].push((entry.invoked, entry.answered));
            }
        }
    }
    let disk_ns = world.habits.disk_ns_max * 20;
    let certain = match world.habits.sync {
        SyncMode::Interval { nanos } if world.tally.disk_errors == 0 => world
            .died_at
            .saturating_sub(nanos + 4 * disk_ns + 1_000_000),
        _ => 0,
    };
    for (shard, (lost, kept)) in lost.iter().zip(&kept).enumerate() {
        let newest_kept = kept.iter().map(|(invoked, _)| *invoked).max();
        for (invoked, answered) in lost {
            if newest_kept.is_some_and(|kept| *answered < kept) {
                return Err(format!(
                    "shard {shard} lost a write of {invoked} to {answered} and kept a later one, of {newest_kept:?}"
                ));
            }
            if *answered < world.life_before || *answered < certain {
                return Err(format!(
                    "shard {shard} lost a write of {invoked} to {answered}, which was on disk"
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn shard_of(world: &World, place: Place) -> ShardId {
    let slot = slot_of(world.keys.name(place.key).as_bytes());
    shard_of_partition(
        partition_of_slot(slot, PARTITIONS_DEFAULT),
        world.habits.shard_count,
    )
}

/// Finds the latest cut that explains the audit, marks what is beyond it as lost, and gives it back.
fn cut(world: &mut World, place: Place, audited: Time) -> Result<Vec<Span>, String> {
    let Err(reason) = check_key(&world.history, place) else {
        return Ok(Vec::new());
    };
    let entries = world.history.keys[&place].clone();
    let mut cuts: Vec<u64> = entries
        .iter()
        .filter(|entry| entry.invoked < audited)
        .filter_map(|entry| match entry.outcome {
            Outcome::Wrote { version, .. } => Some(version),
            _ => None,
        })
        .collect();
    cuts.push(0);
    cuts.sort_unstable();
    for cut in cuts.iter().rev() {
        let mut lost = Vec::new();
        let tried = world
            .history
            .keys
            .get_mut(&place)
            .expect("the place was listed");
        for entry in tried.iter_mut().filter(|entry| entry.invoked < audited) {
            match entry.outcome {
                Outcome::Wrote { version, .. } if version > *cut => {
                    lost.push((entry.invoked, entry.answered));
                    entry.outcome = Outcome::Lost;
                }
                Outcome::Saw { version, .. } if version > *cut => entry.outcome = Outcome::Lost,
                _ => {}
            }
        }
        // Who found the key absent may have seen what a lost write did.
        let first = lost.iter().map(|(invoked, _)| *invoked).min();
        for entry in tried.iter_mut().filter(|entry| entry.invoked < audited) {
            if entry.outcome == Outcome::Absent && first.is_some_and(|first| entry.answered > first)
            {
                entry.outcome = Outcome::Lost;
            }
        }
        if check_key(&world.history, place).is_ok() {
            return Ok(lost);
        }
        world.history.keys.insert(place, entries.clone());
    }
    world.suspect = Some(place);
    Err(format!(
        "key {}: no loss explains it: {reason}",
        world.keys.name(place.key)
    ))
}
