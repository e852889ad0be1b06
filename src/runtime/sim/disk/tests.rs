//! What the simulated disk must not do to sound data.

use super::*;

const SEGMENT: SegmentId = SegmentId(1);

fn rotten(random: &mut Random) -> SimDisk {
    let mut disk = SimDisk::default();
    disk.prepare(SEGMENT, 4096, &[7; 100]);
    while disk.rot(false, random).is_none() {}
    disk
}

/// A bit was turned back in a file that had been made anew since the bit turned over: that broke sound data (seed 1932).
#[test]
fn a_bit_is_turned_back_only_where_it_turned_over() {
    let mut random = Random::new(1, 0);
    let mut disk = rotten(&mut random);
    disk.repair(&Repair::Delete { segment: SEGMENT });
    assert_eq!(disk.rotten_segments(), [], "it went with its file");
    disk.prepare(SEGMENT, 4096, &[7; 100]);
    disk.heal();
    assert_eq!(disk.read(SEGMENT, 0, 100), [7; 100]);

    let mut disk = rotten(&mut random);
    disk.write(SEGMENT, 0, &[8; 100]);
    assert_eq!(disk.rotten_segments(), [], "it was written over");
    disk.heal();
    assert_eq!(disk.read(SEGMENT, 0, 100), [8; 100]);

    let mut disk = rotten(&mut random);
    disk.heal();
    assert_eq!(disk.read(SEGMENT, 0, 100), [7; 100]);
}

/// What was written is told from what rotted also when a power loss brings an older sector back.
#[test]
fn a_power_loss_keeps_rot_apart_from_what_was_written() {
    for seed in 0..50 {
        let mut random = Random::new(seed, 0);
        let mut disk = rotten(&mut random);
        disk.write(SEGMENT, 100, &[9; 100]);
        disk.die(Death::Power, &mut random);
        assert_eq!(disk.rotten_segments(), [SEGMENT]);
        assert_ne!(disk.read(SEGMENT, 0, 100), [7; 100]);
        disk.heal();
        assert_eq!(disk.read(SEGMENT, 0, 100), [7; 100]);
    }
}
