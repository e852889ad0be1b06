//! Starts with another number of shards: the data moves, and the node dies on the way at any step, as often as it likes.
//!
//! Nothing is lost by any death here, whatever the node syncs while it serves: what a move takes from one place is on disk in the other. So the model
//! is told nothing of moves, and the audit after the start finds what does not add up.

use super::disk::{Death, SimDisk};
use super::history::Time;
use super::life::LOG_TAG;
use super::random::Random;
use super::salvage;
use super::world::{SimShard, World};
use crate::shard::recover::{RecoveredShard, recover_shard};
use crate::shard::reshard::{Move, MoveError, MoveFiles, Side, keyspaces, make};
use crate::storage::format::LogTag;
use crate::types::{SegmentId, ShardId};

/// Most deaths of one move.
const DEATHS_MAX: u64 = 4;

/// The node died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Died;

/// Both generations of disks.
struct Generations<'a> {
    old: Vec<SimDisk>,
    new: Vec<SimDisk>,
    random: &'a mut Random,
    /// So many steps are left before it dies.
    steps_left: Option<u64>,
}

impl Generations<'_> {
    fn step(&mut self) -> Result<(), Died> {
        match &mut self.steps_left {
            None => Ok(()),
            Some(0) => Err(Died),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn disk(&mut self, side: Side, shard: ShardId) -> &mut SimDisk {
        match side {
            Side::Old => &mut self.old[shard.index()],
            Side::New => &mut self.new[shard.index()],
        }
    }

    fn die(&mut self, death: Death) {
        for disk in self.old.iter_mut().chain(&mut self.new) {
            disk.die(death, self.random);
        }
    }
}

impl MoveFiles for Generations<'_> {
    type Error = Died;
    type Bytes = Vec<u8>;

    fn read(&mut self, side: Side, shard: ShardId, segment: SegmentId) -> Result<Vec<u8>, Died> {
        Ok(self.disk(side, shard).read(segment, 0, usize::MAX / 2))
    }

    fn prepare(
        &mut self,
        shard: ShardId,
        segment: SegmentId,
        len: u64,
        header: &[u8],
    ) -> Result<(), Died> {
        let alive = self.step();
        let disk = &mut self.new[shard.index()];
        match alive {
            Ok(()) => disk.prepare(segment, len as usize, header),
            Err(Died) => disk.prepare_in_part(segment, len as usize, header, self.random),
        }
        alive
    }

    fn write(
        &mut self,
        shard: ShardId,
        segment: SegmentId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Died> {
        let alive = self.step();
        let disk = &mut self.new[shard.index()];
        let offset = offset as usize;
        match alive {
            Ok(()) => {
                let synced = disk.synced(segment);
                disk.write_whole(segment, offset, bytes, synced);
            }
            Err(Died) => disk.write_in_part(segment, offset, bytes, self.random),
        }
        alive
    }

    fn sync(&mut self, segments: &[(ShardId, SegmentId)]) -> Result<(), Died> {
        for (shard, segment) in segments {
            self.step()?;
            let disk = self.disk(Side::New, *shard);
            disk.sync(*segment, disk.written());
        }
        Ok(())
    }

    fn remove(
        &mut self,
        shard: ShardId,
        stub: SegmentId,
        header: &[u8],
        delete: &[SegmentId],
    ) -> Result<(), Died> {
        let alive = self.step();
        let disk = &mut self.old[shard.index()];
        match alive {
            Ok(()) => disk.remove(stub, header, delete),
            Err(Died) => disk.remove_in_part(stub, header, delete, self.random),
        }
        alive
    }
}

impl World {
    /// Whether the node is to be started with another number of shards. Not on a disk with damage, or after a loss, both of which are judged shard by shard.
    pub(super) fn wants_reshard(&mut self) -> bool {
        let percent = self.habits.reshard_percent;
        let is_sound = |shard: &SimShard| shard.disk.rotten_segments().is_empty();
        let has_data = |shard: &SimShard| shard.disk.files().next().is_some();
        percent > 0
            && !self.losses_due
            && self.shards.iter().all(is_sound)
            && self.shards.iter().all(has_data)
            && self.random.percent(percent)
    }

    /// Starts with another number of shards, or several others one after the other, until everything has moved.
    pub(super) fn reshard(&mut self) -> Result<(), String> {
        let old: Vec<SimDisk> = self.shards.drain(..).map(|shard| shard.disk).collect();
        let mut random = Random::new(self.random.next(), 8);
        let mut generations = Generations {
            old,
            new: Vec::new(),
            random: &mut random,
            steps_left: None,
        };
        let mut deaths_left = self.random.below(DEATHS_MAX);
        let mut is_begun = false;
        loop {
            if !is_begun {
                let count = self.random.between(1, 4) as u16;
                generations.new = vec![SimDisk::default(); usize::from(count)];
            }
            generations.steps_left = (deaths_left > 0).then(|| self.random.skewed(80));
            let was_begun = is_begun;
            let moved = self.try_to_move(&mut generations, &mut is_begun)?;
            let count = generations.new.len();
            self.note(|| {
                format!("moves to {count} shards, begun {was_begun}, then {is_begun}: {moved:?}")
            });
            match moved {
                Ok(()) => break,
                Err(Died) => {
                    deaths_left -= 1;
                    self.tally.deaths_in_reshard += 1;
                    let death = self.death();
                    generations.die(death);
                }
            }
        }
        self.tally.reshards += 1;
        self.habits.shard_count = generations.new.len() as u16;
        self.shards = generations
            .new
            .into_iter()
            .map(|disk| SimShard {
                disk,
                driver: None,
                in_flight: std::collections::BTreeMap::new(),
                turn_at: Time::MAX,
            })
            .collect();
        Ok(())
    }

    /// What one start does. `is_begun` is what its manifest says.
    fn try_to_move(
        &mut self,
        generations: &mut Generations<'_>,
        is_begun: &mut bool,
    ) -> Result<Result<(), Died>, String> {
        let old = match self.recover_generation(generations, Side::Old)? {
            Ok(old) => old,
            Err(Died) => return Ok(Err(Died)),
        };
        let segment_len = self.shard_config(0).segment_len;
        if !*is_begun {
            let count = generations.new.len() as u16;
            let first = LOG_TAG + (self.tally.reshards as u32 + 1) * 16;
            let logs = (0..count).map(|shard| (ShardId(shard), LogTag(first + u32::from(shard))));
            let made = make(generations, &old, logs, count, segment_len);
            if made.and_then(|()| generations.step()).is_err() {
                return Ok(Err(Died));
            }
            *is_begun = true;
        }
        let new = match self.recover_generation(generations, Side::New)? {
            Ok(new) => new,
            Err(Died) => return Ok(Err(Died)),
        };
        let keyspaces = keyspaces(&old, &new);
        let moved = Move::new(old, new, &keyspaces, segment_len).run(generations, &mut |_| {});
        match moved {
            Ok(moved) => {
                self.mix(moved.records);
                self.tally.records_moved += moved.records;
                Ok(generations.step())
            }
            Err(MoveError::Files(Died)) => Ok(Err(Died)),
            Err(error) => Err(format!("data that is sound can't be moved: {error:?}")),
        }
    }

    fn recover_generation(
        &mut self,
        generations: &mut Generations<'_>,
        side: Side,
    ) -> Result<Result<Vec<RecoveredShard>, Died>, String> {
        let count = match side {
            Side::Old => generations.old.len(),
            Side::New => generations.new.len(),
        };
        let mut shards = Vec::new();
        for number in 0..count as u16 {
            let config = self.shard_config_of(number, count as u16);
            let disk = generations.disk(side, ShardId(number));
            let names = salvage::names(disk, &config.identity);
            let files = salvage::files(disk, &names);
            let recovered = recover_shard(&config, self.clocks(), false, &files, &[], &mut |_| {})
                .map_err(|error| format!("{side:?} shard {number} of a move: {error}"))?;
            for repair in &recovered.repairs {
                if generations.step().is_err() {
                    return Ok(Err(Died));
                }
                generations.disk(side, ShardId(number)).repair(repair);
            }
            if generations.step().is_err() {
                return Ok(Err(Died));
            }
            generations.disk(side, ShardId(number)).sync_all();
            shards.push(recovered);
        }
        Ok(Ok(shards))
    }
}
