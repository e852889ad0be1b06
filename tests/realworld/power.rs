//! Power loss: what was not on disk is gone, or half there.

use std::thread;
use std::time::Duration;

use corduroy_proto_wire::Status;

use crate::admin::{ANY_PORT, admin_of, get};
use crate::support::forgetful::Disk;
use crate::support::load::Load;
use crate::support::node::Place;
use crate::support::random::Random;
use crate::support::wait_until;

/// What a load may meet once the disk is gone.
const WITHOUT_DISK: [Status; 3] = [Status::ReadOnly, Status::OutcomeUnknown, Status::Damaged];

/// An `fdatasync` that is left out, or an answer that does not wait for it, costs nothing in any test that only kills: the
/// page cache covers for it. Here nothing does.
#[test]
fn acknowledged_writes_survive_power_loss() {
    let place = Place::new();
    let data = place.data();
    let Some(mut disk) = Disk::plug_in(&data) else {
        return;
    };
    let mut random = Random::new(21);
    let mut load = Load::new(21, 2, 4);
    let (mut doubtful, mut carried_out) = (0, 0);
    for round in 0..8 {
        let node = place.start(&["--sync", "always"]);
        let found = load.verify(node.address());
        eprintln!("round {round}: {found:?}");
        doubtful += found.doubtful;
        carried_out += found.carried_out;
        let more = 1_000 + random.below(8_000);
        let pause = Duration::from_micros(random.below(20_000));
        load.run(node.address(), |progress| {
            progress.wait_for(more);
            thread::sleep(pause);
            disk.image().cut(&mut random);
            node.kill();
        });
        load.expect_refused_only(&WITHOUT_DISK);
        disk.plug_in_again();
    }
    let node = place.start(&[]);
    load.verify(node.address());
    assert!(doubtful > 0 && carried_out < doubtful);
    node.stop();
}

/// Without syncs a cut takes what it takes. What is left must be a log that ends early, not one that nobody can start from: an
/// operator who has chosen `never` has chosen to lose the end, not the whole. It is also the proof that the disk of these tests
/// forgets.
#[test]
fn power_loss_without_syncs_takes_the_end_and_not_the_start() {
    let place = Place::new();
    let data = place.data();
    let Some(mut disk) = Disk::plug_in(&data) else {
        return;
    };
    let mut lost = 0;
    for seed in 0..6 {
        let node = place.start(&["--sync", "never"]);
        let mut wire = node.connect();
        let before = node.client().default_keyspace().count().unwrap();
        for number in 0..300 {
            wire.queue_put(format!("{seed}:{number}").as_bytes(), &[7; 700]);
        }
        wire.flush().unwrap();
        for _ in 0..300 {
            assert_eq!(wire.receive().unwrap().status, Status::Ok);
        }
        disk.image().cut(&mut Random::new(seed));
        node.kill();
        disk.plug_in_again();
        let node = place.start(&["--sync", "never"]);
        let after = node.client().default_keyspace().count().unwrap();
        lost += before + 300 - after;
        // On each shard what is left is what was written first.
        let mut wire = node.connect();
        let shards = u64::from(wire.hello().shard_count);
        let kept: Vec<u64> = (0..300)
            .filter(|number| wire.get(format!("{seed}:{number}").as_bytes()).is_some())
            .collect();
        for shard in 0..shards {
            let of_shard = |number: &u64| shard_of(&format!("{seed}:{number}"), shards) == shard;
            let kept: Vec<u64> = kept.iter().copied().filter(of_shard).collect();
            let written: Vec<u64> = (0..300).filter(of_shard).take(kept.len()).collect();
            assert_eq!(
                kept, written,
                "shard {shard} kept a later write and lost an earlier"
            );
        }
        node.stop();
    }
    assert!(lost > 0, "this disk forgets nothing");
}

fn shard_of(key: &str, shards: u64) -> u64 {
    use corduroy_proto_wire::{partition_of_slot, shard_of_partition, slot_of};
    let partition = partition_of_slot(slot_of(key.as_bytes()), 64);
    u64::from(shard_of_partition(partition, shards as u16))
}

/// `interval=50ms` promises that the disk has everything a moment later, also when nobody writes any more: the last write before
/// a quiet night must not wait for the first one of the morning.
#[test]
fn an_interval_syncs_by_itself() {
    let place = Place::new();
    let data = place.data();
    let Some(mut disk) = Disk::plug_in(&data) else {
        return;
    };
    let node = place.start(&["--sync", "interval=50ms"]);
    for number in 0..20 {
        node.connect().put(format!("k{number}").as_bytes(), b"v");
    }
    // The lock file is of no interest after a crash.
    wait_until("the disk has every segment", || {
        disk.image().unsynced().iter().all(|name| name == "LOCK")
    });
    disk.image().cut(&mut Random::new(3));
    node.kill();
    disk.plug_in_again();
    let node = place.start(&[]);
    assert_eq!(node.client().default_keyspace().count().unwrap(), 20);
}

/// After a failed `fdatasync` the kernel has dropped the pages and the next one succeeds: a server that tries again, or goes on,
/// acknowledges what is not there. The shard must stop taking writes and say so, and still let everybody read.
#[test]
fn a_failed_sync_ends_writes_and_is_never_tried_again() {
    for (seed, after) in [(31, 0), (32, 1), (33, 40), (34, 500)] {
        let place = Place::new();
        let data = place.data();
        let Some(mut disk) = Disk::plug_in(&data) else {
            return;
        };
        let node = place.start(&ANY_PORT);
        let address = node.address();
        let mut load = Load::new(seed, 2, 2);
        assert!(node.status()["shards"][0]["writes_refused"].is_null());
        node.connect().put(b"early", b"bird");
        let mut random = Random::new(seed);
        load.run(address, |progress| {
            progress.wait_for(500);
            disk.image().fail_sync_after(after);
            let refused = || {
                let status = node.status();
                let shards = status["shards"].as_array().unwrap().clone();
                shards
                    .iter()
                    .filter_map(|shard| Some(shard["writes_refused"].as_str()?.to_owned()))
                    .collect::<Vec<_>>()
            };
            wait_until("a shard refuses writes", || !refused().is_empty());
            eprintln!("refused: {:?}", refused());
            assert_eq!(refused().len(), 1, "one sync has failed, of one shard");
            let (code, sentence) = get(admin_of(&node), "/readyz");
            assert_eq!((code, sentence.lines().count()), (503, 1), "{sentence}");
            assert!(sentence.contains("takes no writes"), "{sentence}");
            // The load goes on, and so do reads.
            progress.wait_for(500);
            assert!(node.connect().get(b"early").is_some());
            disk.image().cut(&mut random);
            node.kill();
        });
        assert!(load.refused(Status::ReadOnly) > 0);
        load.expect_refused_only(&WITHOUT_DISK);
        disk.plug_in_again();
        let node = place.start(&[]);
        // The load did not write it.
        node.client().default_keyspace().delete(b"early").unwrap();
        load.verify(node.address());
        node.connect().put(b"late", b"bird");
    }
}
