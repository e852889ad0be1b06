//! What chance may do in one world.
//!
//! Each seed draws its own habits before anything happens: which requests its clients send, how large the values are, how much memory
//! the shards have, which faults occur and how often. Worlds that differ in kind find more than worlds that are all the same mixture
//! ("Swarm Testing", Groce et al., 2012): a bug that needs two hundred writes without a single flush never shows where one
//! request in fifty is a flush.

use super::client::Kind;
use super::random::Random;
use crate::shard::SyncMode;

/// More output than the clients of any world leave unread.
pub(super) const OUTPUT_BYTES_PLENTY: usize = 64 << 20;

/// One world's habits.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    pub(super) shard_count: u16,
    pub(super) clients: usize,
    pub(super) keys: usize,
    pub(super) depth_max: usize,
    pub(super) value_len_max: u32,
    pub(super) memory_bytes: u64,
    pub(super) sync: SyncMode,
    /// Rounds of load, each ended by a stop or a death.
    pub(super) rounds: u32,
    /// Longest round, in virtual nanoseconds.
    pub(super) round_ns_max: u64,
    pub(super) think_ns_max: u64,
    pub(super) conditional_percent: u64,
    pub(super) ttl_percent: u64,
    pub(super) ttl_ms_max: u64,
    pub(super) append: bool,
    weights: Vec<(Kind, u64)>,
    /// Clean stops among the ends of rounds.
    pub(super) stop_percent: u64,
    /// Clean stops that a death overtakes.
    pub(super) stop_cut_percent: u64,
    /// Kills among the other ends; the rest are power losses.
    pub(super) kill_percent: u64,
    pub(super) disk_ns_max: u64,
    /// Faults happen once in so many operations of their kind; 0: never.
    pub(super) write_error_one_in: u64,
    pub(super) sync_error_one_in: u64,
    pub(super) prepare_error_one_in: u64,
    pub(super) read_error_one_in: u64,
    /// Fails, or leaves it open whether it did.
    pub(super) remove_error_one_in: u64,
    pub(super) rot_percent: u64,
    /// Of the starts, those before which something happens to a saved index of a shard.
    pub(super) summary_rot_percent: u64,
    /// The wall clock jumps once in so many steps of clients; 0: never.
    pub(super) clock_jump_one_in: u64,
    pub(super) cut_one_in: u64,
    pub(super) stall_one_in: u64,
    pub(super) channel_room: usize,
    pub(super) socket_room: usize,
    pub(super) in_flight_max: usize,
    pub(super) output_bytes_max: usize,
    /// A client that breaks the protocol comes once in so many steps of clients; 0: never.
    pub(super) rogue_one_in: u64,
    pub(super) chunk_max: usize,
    /// Of the starts, those with another number of shards.
    pub(super) reshard_percent: u64,
    /// Space is reclaimed, with and without being asked to. Where it is not, more segments live long enough for their indexes to be saved.
    pub(super) compacts: bool,
    /// Everything on disk is read and checked so often.
    pub(super) scrub_period_ns: Option<u64>,
    /// Of the blocks that are not to be synced, those that are written before the call that submits them returns.
    pub(super) write_behind_percent: u64,
    /// Of the rounds, those after which others fill the disk.
    pub(super) fills_disk_percent: u64,
}

impl Habits {
    pub(super) fn draw(random: &mut Random) -> Habits {
        let rarely = |random: &mut Random, percent: u64, low: u64, high: u64| {
            if random.percent(percent) {
                random.between(low, high)
            } else {
                0
            }
        };
        let sync = match random.below(10) {
            0..6 => SyncMode::Always,
            6..8 => SyncMode::Interval {
                nanos: random.between(100_000, 20_000_000),
            },
            _ => SyncMode::Never,
        };
        let mut weights = vec![(Kind::One, 80)];
        let others = [
            (Kind::Batch, 12),
            (Kind::Atomic, 12),
            (Kind::Scan, 6),
            (Kind::Count, 2),
            (Kind::Flush, 1 + random.below(4)),
            (Kind::Status, 1),
            (Kind::Compact, 1 + random.below(4)),
            (Kind::Ping, 2),
            (Kind::List, 2),
            (Kind::Keyspace, 4),
        ];
        for (kind, weight) in others {
            let percent = if kind == Kind::Flush { 35 } else { 60 };
            if random.percent(percent) {
                weights.push((kind, weight));
            }
        }
        let value_len_max = [64, 600, 5000, 60_000][random.index(4)];
        Habits {
            shard_count: random.between(1, 4) as u16,
            clients: random.between(1, 5) as usize,
            keys: random.between(1, 40) as usize,
            depth_max: 1 + random.skewed(24) as usize,
            value_len_max,
            memory_bytes: [1 << 20, 2 << 20, 64 << 20][random.index(3)],
            sync,
            rounds: random.between(1, 4) as u32,
            // Long enough for large values to leave memory.
            round_ns_max: match value_len_max {
                60_000 => 1 << random.between(24, 27),
                _ => 1 << random.between(20, 25),
            },
            think_ns_max: 1 << random.between(10, 19),
            conditional_percent: [0, 10, 50][random.index(3)],
            ttl_percent: [0, 0, 20, 60][random.index(4)],
            ttl_ms_max: [20, 200, 100_000][random.index(3)],
            append: random.percent(40),
            weights,
            stop_percent: [0, 20, 50][random.index(3)],
            stop_cut_percent: [0, 30][random.index(2)],
            kill_percent: [0, 30, 100][random.index(3)],
            disk_ns_max: 1 << random.between(12, 22),
            write_error_one_in: rarely(random, 10, 20, 200),
            sync_error_one_in: rarely(random, 20, 4, 100),
            prepare_error_one_in: rarely(random, 25, 1, 4),
            read_error_one_in: rarely(random, 20, 2, 20),
            rot_percent: rarely(random, 20, 10, 60),
            summary_rot_percent: [0, 30, 90][random.index(3)],
            clock_jump_one_in: rarely(random, 20, 20, 200),
            cut_one_in: rarely(random, 30, 20, 200),
            stall_one_in: rarely(random, 20, 10, 100),
            channel_room: [1, 2, 64][random.index(3)],
            socket_room: 1 << random.between(8, 18),
            in_flight_max: 1 + random.skewed(40) as usize,
            output_bytes_max: match random.percent(15) {
                true => 1 << random.between(20, 22),
                false => OUTPUT_BYTES_PLENTY,
            },
            rogue_one_in: rarely(random, 25, 10, 200),
            chunk_max: 1 << random.between(3, 16),
            remove_error_one_in: rarely(random, 20, 1, 10),
            reshard_percent: 0,
            compacts: true,
            scrub_period_ns: None,
            write_behind_percent: 0,
            fills_disk_percent: 0,
        }
    }

    /// Drawn apart, so that the other worlds stay what they are.
    pub(super) fn draw_more(&mut self, random: &mut Random) {
        if random.percent(25) {
            self.reshard_percent = random.between(20, 100);
        }
        self.compacts = random.percent(40);
        if !self.compacts {
            self.weights.retain(|(kind, _)| *kind != Kind::Compact);
        }
        // What may rot is looked for more often.
        let percent = if self.rot_percent > 0 { 70 } else { 25 };
        if random.percent(percent) {
            self.scrub_period_ns = Some(1 << random.between(18, 26));
        }
        self.fills_disk_percent = [0, 0, 30][random.index(3)];
        self.write_behind_percent = [0, 50, 90, 100][random.index(4)];
    }

    /// The node's limit for a value. Values grow by appends; some reach it.
    pub(super) fn stored_len_max(&self) -> usize {
        (3 * self.value_len_max as usize / 2).max(1000)
    }

    pub(super) fn kind(&self, random: &mut Random) -> Kind {
        let total: u64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut drawn = random.below(total);
        for (kind, weight) in &self.weights {
            if drawn < *weight {
                return *kind;
            }
            drawn -= weight;
        }
        unreachable!("the number drawn is below the sum")
    }
}
