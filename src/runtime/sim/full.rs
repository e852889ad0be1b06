//! Somebody else fills the disk: no segment can be made any more, until there is space again.
//!
//! Values are put until all are refused. Then every key can still be deleted, and the node can be stopped cleanly and started; when there is space
//! again it takes writes by itself. Where space is reclaimed, values that are overwritten again and again may never be refused: compaction gives
//! back what they leave behind.

use std::collections::VecDeque;

use super::action::{Act, Action, KeyNumber, Keys, When};
use super::catalog::DEFAULT;
use super::history::{Outcome, Place};
use super::losses::shard_of;
use super::value::{PIECE_LEN_MIN, Piece, Value};
use super::world::{Phase, World};
use crate::types::ShardId;
use corduroy_proto_wire::Ttl;

/// Most times that a key is written: where space is reclaimed, there need be no end.
const PASSES_MAX: usize = 60;
/// So many segments' bytes fill what each shard has.
const FILLING_SEGMENTS: u64 = 4;

impl World {
    /// See the module's header. Nothing else goes wrong meanwhile, but that a stop may be cut short.
    pub(super) fn fill_disk(&mut self) -> Result<(), String> {
        if self.filling_keys().next().is_none() {
            return Ok(());
        }
        self.phase = Phase::Audit;
        self.space = Some(0);
        self.tally.fillings += 1;
        self.redis.disturb();
        self.note(|| "somebody fills the disk".to_owned());
        if !self.put_until_refused()? {
            self.space = None;
            return match self.habits.compacts {
                true => Ok(()),
                false => Err("a full disk takes all that is put".to_owned()),
            };
        }
        self.tally.full_disks += 1;
        if !self.habits.compacts {
            // Compaction may have used the reserve just now.
            self.ask_of(self.filling_keys(), |_| Act::Delete {
                when: When::Always,
                return_value: false,
            })?;
            let keys: Vec<KeyNumber> = self.filling_keys().collect();
            let refused = self
                .newest_outcomes(&keys, |outcome| !is_done(outcome))
                .next();
            if let Some(key) = refused {
                return Err(format!(
                    "key {} can't be deleted on a full disk",
                    self.keys.name(key)
                ));
            }
        }
        let cut_short = self.tally.stops_cut_short;
        // The disk may have been full before a shard had a segment; then there is nothing to seal.
        let have_segments = self.drivers(|driver| driver.shard().status().segments > 0);
        let clean = self.stop_cleanly()?;
        if !clean && have_segments && self.tally.stops_cut_short == cut_short {
            return Err("a full disk keeps the node from a clean stop".to_owned());
        }
        // There is space before the next start, or after it.
        if self.random.percent(50) {
            self.space = None;
        }
        self.start(clean)?;
        self.space = None;
        // Among what is audited are things that only writes show, and a shard looks for space once a second.
        self.phase = Phase::Audit;
        self.pass_time(2_000_000_000)?;
        self.audit()?;
        self.writes_come_back()
    }

    /// Says whether all puts were refused in the end.
    fn put_until_refused(&mut self) -> Result<bool, String> {
        // One key may be all that a shard has.
        let filling = FILLING_SEGMENTS * self.segment_len();
        let passes = match self.habits.compacts {
            true => PASSES_MAX,
            false => filling as usize / self.filling_len() as usize + 10,
        };
        let keys = self.one_of_each_shard();
        for _ in 0..passes {
            self.put(keys.iter().copied())?;
            if self.newest_outcomes(&keys, is_done).next().is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All keys would fill a shard no sooner, for the shard with the fewest is the last one.
    fn one_of_each_shard(&self) -> Vec<KeyNumber> {
        let mut keys: Vec<KeyNumber> = self.filling_keys().collect();
        keys.sort_by_key(|key| (self.shard_of_key(*key), *key));
        keys.dedup_by_key(|key| self.shard_of_key(*key));
        keys
    }

    fn shard_of_key(&self, key: KeyNumber) -> ShardId {
        let keyspace = DEFAULT;
        shard_of(self, Place { keyspace, key })
    }

    /// A shard looks for space once a second.
    fn writes_come_back(&mut self) -> Result<(), String> {
        for _ in 0..20 {
            self.phase = Phase::Audit;
            self.put(self.filling_keys())?;
            let keys: Vec<KeyNumber> = self.filling_keys().collect();
            let is_refused = |outcome: &Outcome| !is_done(outcome);
            if self.newest_outcomes(&keys, is_refused).next().is_none() {
                return Ok(());
            }
            self.pass_time(500_000_000)?;
        }
        Err("there is space, and writes are refused".to_owned())
    }

    /// The longest values that the node takes: the shorter they are, the more it takes to fill a disk.
    fn filling_len(&self) -> u32 {
        (self.habits.stored_len_max() as u32).max(PIECE_LEN_MIN)
    }

    fn put(&mut self, keys: impl Iterator<Item = KeyNumber>) -> Result<(), String> {
        let len = self.filling_len();
        self.ask_of(keys, |writer| Act::Put {
            value: Value::Pieces(vec![Piece { writer, len }]),
            ttl: Ttl::None,
            when: When::Always,
            return_value: false,
        })
    }

    fn ask_of(
        &mut self,
        keys: impl Iterator<Item = KeyNumber>,
        act: impl Fn(u32) -> Act,
    ) -> Result<(), String> {
        let mut script = VecDeque::new();
        for key in keys {
            self.writer += 1;
            script.push_back((DEFAULT, Action::One(key, act(self.writer))));
        }
        self.carry_out_script(script)
    }

    /// All keys but counters, which are too short to fill anything.
    fn filling_keys(&self) -> impl Iterator<Item = KeyNumber> + use<> {
        (0..self.keys.len() as KeyNumber).filter(|key| !Keys::is_counter(*key))
    }

    /// Of which of these keys the newest answer is such a one.
    fn newest_outcomes(
        &self,
        keys: &[KeyNumber],
        is_one: impl Fn(&Outcome) -> bool,
    ) -> impl Iterator<Item = KeyNumber> {
        keys.iter().copied().filter(move |&key| {
            let place = Place {
                keyspace: DEFAULT,
                key,
            };
            let entries = self.history.keys.get(&place);
            entries
                .and_then(|entries| entries.last())
                .is_some_and(|entry| is_one(&entry.outcome))
        })
    }
}

fn is_done(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Refused | Outcome::Unknown)
}
