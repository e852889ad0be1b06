//! Draws keys: [`KeySpace`] is what all connections share, [`Cursor`] is where one of them is.
//!
//! A draw has three steps, each of which may be all there is to it:
//!
//! 1. **Rank.** The distribution draws a number below N, rank 0 being the hottest.
//! 2. **Owner.** Where each key may be written by one connection only, a write goes to the nearest rank that is the connection's own (every C-th is).
//!    C ranks beside each other have nearly the same probability, and a hot set is a range of ranks, so the distribution stays what it was
//!    but for steps of C ranks. A connection's own key stands in for the key drawn and counts as hot if that one was.
//! 3. **Place.** The rank's key, by permutation.
//!
//! **Some keys only** (`within`): a connection that talks straight to one shard asks only that shard's keys. A key of another shard is
//! rejected and drawn again, which keeps the proportions among the shard's own keys as they are; with S shards it takes S draws on average.
//! Whether the operation goes to the hot set is drawn once: each connection gives the hot keys of its shard the whole share that was asked for.
//! After [`TRIES_MAX`] rejections (the hot set is a few keys, none of them here; at once if it is a single one) the ranks behind
//! the last one drawn are tried in turn, so that each shard has hot keys of its own beside the set; they count as hot. A `sequential`
//! connection passes over what isn't its shard's. If the shard has none of [`WALK_MAX`] keys, the draw gives up.
//!
//! Invariant: nothing here allocates. Without `within` a draw takes at most two random numbers, a logarithm, an exponential and the
//! permutation; only zipfian draws may, rarely, take a second try.

use std::time::Duration;

use super::{
    super::{Heat, Part, random::Random},
    Distribution, Hot,
    scatter::Scatter,
    zipf::Zipf,
};

/// Draws that may be rejected before the search goes on in order.
const TRIES_MAX: u32 = 64;
/// Keys that are tried in order. With fewer keys than this, all are.
const WALK_MAX: u64 = 1 << 20;

/// The keys and the distribution over them; the same for all connections.
#[derive(Clone, Debug)]
pub(in super::super) struct KeySpace {
    count: u64,
    /// Ranks below are hot, counted from where the hot set begins.
    hot: u64,
    shape: Shape,
    scatter: Scatter,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Uniform,
    Sequential,
    Zipfian(Zipf),
    Latest {
        theta: f64,
        /// Over the keys of the start, for owned writes.
        first: Zipf,
    },
    HotSet {
        /// Random numbers of 32 bits below this make the operation a hot one.
        hot_ops: u64,
        /// Zero: never.
        move_every: Duration,
    },
}

/// What binds a draw besides the distribution.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Limits {
    /// Number of keys that there are by now; at least as many as there were.
    pub(in super::super) readable: u64,
    /// Draw only keys that this part owns.
    pub(in super::super) owner: Option<Part>,
}

/// Where one connection is.
#[derive(Clone, Debug)]
pub(in super::super) struct Cursor {
    /// The next number of a sequence.
    next: u64,
    stride: u64,
    /// The first rank of the hot set, and when it moves next.
    hot_start: u64,
    stays: std::ops::Range<Duration>,
    /// For `latest`: the ranks over this many keys. It lags a little behind their number, for making it costs two draws.
    latest: Option<(u64, Zipf)>,
}

impl KeySpace {
    /// Over the numbers below `count`, at least 1.
    pub(in super::super) fn new(count: u64, distribution: Distribution, hot: &Hot) -> KeySpace {
        let hot_keys = (count as f64 * hot.keys().fraction()).round() as u64;
        let hot_ops = hot.ops(distribution).threshold();
        let set = |move_every| Shape::HotSet {
            hot_ops,
            move_every,
        };
        let shape = match distribution {
            Distribution::Uniform => Shape::Uniform,
            Distribution::Sequential => Shape::Sequential,
            Distribution::Zipfian { theta } => Shape::Zipfian(Zipf::new(count, theta)),
            Distribution::Latest { theta } => Shape::Latest {
                theta,
                first: Zipf::new(count, theta),
            },
            Distribution::HotCold | Distribution::Single => set(Duration::ZERO),
            Distribution::Moving => set(hot.move_every()),
        };
        let hot = match distribution {
            Distribution::Uniform | Distribution::Sequential => 0,
            Distribution::Single => 1,
            _ => hot_keys.clamp(1, count),
        };
        KeySpace {
            count,
            hot,
            shape,
            scatter: Scatter::new(count),
        }
    }

    /// The keys by rank, as `zipfian` and the hot sets place them.
    #[cfg(test)]
    pub(in super::super) fn places(&self) -> impl Iterator<Item = u64> {
        (0..self.count).map(|rank| self.scatter.place(rank))
    }

    /// Where a connection begins that does this part of a sequence.
    pub(in super::super) fn cursor(&self, share: Part) -> Cursor {
        Cursor {
            next: u64::from(share.index()) % self.count,
            stride: u64::from(share.of()).min(self.count),
            hot_start: 0,
            stays: Duration::ZERO..Duration::ZERO,
            latest: None,
        }
    }

    /// A key and its heat, `None` if none was found for which `within` holds. `elapsed` is the time since the start.
    #[inline]
    pub(in super::super) fn draw(
        &self,
        cursor: &mut Cursor,
        random: &mut Random,
        elapsed: Duration,
        limits: Limits,
        within: &impl Fn(u64) -> bool,
    ) -> Option<(u64, Heat)> {
        let is_hot = self.is_hot(random);
        let (rank, heat) = self.rank(is_hot, cursor, random, elapsed, limits);
        let key = self.key(rank, limits);
        if within(key) {
            return Some((key, heat));
        }
        self.search(is_hot, cursor, random, elapsed, limits, within)
    }

    /// Draws until `within` holds, then tries rank after rank.
    fn search(
        &self,
        is_hot: bool,
        cursor: &mut Cursor,
        random: &mut Random,
        elapsed: Duration,
        limits: Limits,
        within: &impl Fn(u64) -> bool,
    ) -> Option<(u64, Heat)> {
        let tries = if is_hot && self.hot == 1 {
            1
        } else {
            TRIES_MAX
        };
        let mut last = (0, Heat::Cold);
        for _ in 0..tries {
            last = self.rank(is_hot, cursor, random, elapsed, limits);
            let key = self.key(last.0, limits);
            if within(key) {
                return Some((key, last.1));
            }
        }
        let (rank, heat) = last;
        self.walk(cursor, rank, heat, limits, within)
    }

    /// Tries rank after rank, behind `rank`.
    #[cold]
    fn walk(
        &self,
        cursor: &mut Cursor,
        rank: u64,
        heat: Heat,
        limits: Limits,
        within: &impl Fn(u64) -> bool,
    ) -> Option<(u64, Heat)> {
        let count = self.ranks(limits);
        let sequential = matches!(self.shape, Shape::Sequential);
        let first = limits.owner.map_or(0, |owner| u64::from(owner.index()));
        let stride = limits.owner.map_or(1, |owner| u64::from(owner.of()));
        let mut at = rank;
        for _ in 0..WALK_MAX.min(count) {
            if sequential {
                at = cursor.step(count);
                at = limits.owner.map_or(at, |owner| owner.nearest(at, count));
            } else {
                at += stride;
                if at >= count {
                    at = first;
                }
            }
            let key = self.key(at, limits);
            if within(key) {
                return Some((key, heat));
            }
        }
        None
    }

    /// Whether the operation goes to the hot set, where that is asked first.
    #[inline]
    fn is_hot(&self, random: &mut Random) -> bool {
        match self.shape {
            Shape::HotSet { hot_ops, .. } => {
                random.bits() >> 32 < hot_ops || self.hot == self.count
            }
            _ => false,
        }
    }

    /// A rank by the distribution, and the owner's if there is one.
    #[inline]
    fn rank(
        &self,
        is_hot: bool,
        cursor: &mut Cursor,
        random: &mut Random,
        elapsed: Duration,
        limits: Limits,
    ) -> (u64, Heat) {
        let heat = |rank| {
            if rank < self.hot {
                Heat::Hot
            } else {
                Heat::Cold
            }
        };
        let (rank, heat) = match &self.shape {
            Shape::Uniform => (random.below(self.count), Heat::Cold),
            Shape::Sequential => (cursor.step(self.count), Heat::Cold),
            Shape::Zipfian(zipf) => {
                let rank = zipf.draw(random);
                (rank, heat(rank))
            }
            Shape::Latest { theta, first } => {
                let zipf = match limits.owner {
                    Some(_) => first,
                    None => cursor.latest(limits.readable, *theta),
                };
                let rank = zipf.draw(random);
                (rank, heat(rank))
            }
            Shape::HotSet { move_every, .. } => {
                if !move_every.is_zero() && !cursor.stays.contains(&elapsed) {
                    cursor.move_on(elapsed, *move_every, self.hot, self.count);
                }
                let (rank, heat) = if is_hot {
                    (random.below(self.hot), Heat::Hot)
                } else {
                    let rank = random.below(self.count - self.hot);
                    (self.hot + rank, Heat::Cold)
                };
                let rank = cursor.hot_start + rank;
                let rank = if rank < self.count {
                    rank
                } else {
                    rank - self.count
                };
                (rank, heat)
            }
        };
        match limits.owner {
            Some(owner) => (owner.nearest(rank, self.ranks(limits)), heat),
            None => (rank, heat),
        }
    }

    /// Number of ranks: of the keys that there are by now where the distribution follows them. Owners know only those of the start, for
    /// an inserted key belongs to the connection that inserted it.
    #[inline]
    fn ranks(&self, limits: Limits) -> u64 {
        match self.shape {
            Shape::Latest { .. } if limits.owner.is_none() => limits.readable,
            _ => self.count,
        }
    }

    /// The key of a rank.
    #[inline]
    fn key(&self, rank: u64, limits: Limits) -> u64 {
        match self.shape {
            Shape::Uniform | Shape::Sequential => rank,
            Shape::Latest { .. } => self.ranks(limits) - 1 - rank,
            Shape::Zipfian(_) | Shape::HotSet { .. } => self.scatter.place(rank),
        }
    }
}

impl Cursor {
    /// The next number of the sequence.
    #[inline]
    fn step(&mut self, count: u64) -> u64 {
        let step = self.next;
        self.next += self.stride;
        if self.next >= count {
            self.next = step % self.stride;
        }
        step
    }

    /// Moves the hot set to where it is at this time: on by its own length in each interval.
    #[cold]
    fn move_on(&mut self, elapsed: Duration, every: Duration, hot: u64, count: u64) {
        let every_ns = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
        let moves = elapsed.as_nanos() as u64 / every_ns;
        self.hot_start = (u128::from(moves) * u128::from(hot) % u128::from(count)) as u64;
        let began = Duration::from_nanos(moves * every_ns);
        self.stays = began..began + every;
    }

    /// The ranks over (nearly) so many keys. Made again when a thousandth came in.
    #[inline]
    fn latest(&mut self, count: u64, theta: f64) -> &Zipf {
        let stale = match &self.latest {
            Some((over, _)) => *over > count || count - over > over >> 10,
            None => true,
        };
        if stale {
            self.latest = Some((count, Zipf::new(count, theta)));
        }
        let (_, zipf) = self
            .latest
            .get_or_insert_with(|| (count, Zipf::new(count, theta)));
        zipf
    }
}
