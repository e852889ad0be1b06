//! What next: a [`Workload`] is what all connections share, a [`Source`] is one connection's endless sequence of operations.
//!
//! ```text
//! Spec (settings) ── Workload::new ──> Workload (shared, immutable but for the count of inserted keys)
//!                                         │ source(seat)              │ fill(part, writer)
//!                                      Source::next(elapsed) -> Ask   Fill::next() -> Ask
//! ```
//!
//! For each operation call [`Source::next`] (or [`Source::next_within`], if the connection may ask only some keys), and when it is over, however it
//! ended, [`Source::over`]: inserted keys are read only from then on.
//!
//! A source draws in a fixed order: act, key, then for a write its size and time to live, else the length of a batch or scan. The same
//! seed, connection number and elapsed times give the same sequence, whatever other connections do, as long as nothing is inserted.
//!
//! - **Counters** are keys of their own: `Add` goes to the counter beside the key drawn, whose number has [`COUNTER`] set.
//! - **Inserts** are puts of numbers behind the last key. `latest` follows them; the other distributions stay with the keys of the start.
//! - **Batches** ask the key drawn and those that follow it; near the end of the keys they begin earlier, so that all of them are there.
//! - **Owned writes** ([`Seat::owned_writes`]): each key is written by one connection only, so that a journal of its writes tells what
//!   the key must hold. Every operation that writes goes to the connection's own key nearest to the one drawn; reads go anywhere.
//!   Inserted keys are written once, by the connection that inserted them.

use std::{sync::Arc, time::Duration};

use super::{
    Ask, Fill, Heat, Operation, Part, SpecError,
    keys::{COUNTER, Cursor, Distribution, Hot, Inserts, KEYS_MAX, KeySpace, Limits},
    mix::{Act, Mix},
    random::Random,
    sizes::Sizes,
    ttl::Ttls,
    values::Stamp,
};

/// The most keys of a batch or a scan.
pub const COUNT_MAX: u32 = 65_536;

/// The shortest time for which a moving hot set stays.
pub const MOVE_EVERY_MIN: Duration = Duration::from_millis(1);

/// The settings of a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Number of keys.
    pub keys: u64,
    /// How operations are spread over them.
    pub distribution: Distribution,
    /// What is hot.
    pub hot: Hot,
    /// Which operations.
    pub mix: Mix,
    /// Bytes of a value.
    pub value_len: Sizes,
    /// Which writes expire.
    pub ttls: Ttls,
    /// Keys of a batch.
    pub batch: Sizes,
    /// Most keys of a scan's page.
    pub scan: Sizes,
    /// Same seed, same load.
    pub seed: u64,
}

impl Default for Spec {
    /// A hundred thousand keys, 90 % reads, evenly, values of 64 bytes.
    fn default() -> Spec {
        let mix = [
            (Act::On(Operation::Get), 90.0),
            (Act::On(Operation::Put), 10.0),
        ];
        Spec {
            keys: 100_000,
            distribution: Distribution::Uniform,
            hot: Hot::default(),
            mix: Mix::new(&mix).unwrap_or_else(|_| Mix::only(Operation::Get)),
            value_len: Sizes::fixed(64),
            ttls: Ttls::none(),
            batch: Sizes::fixed(10),
            scan: Sizes::fixed(100),
            seed: 1,
        }
    }
}

/// What all connections share.
#[derive(Debug)]
pub struct Workload {
    spec: Spec,
    keys: KeySpace,
    inserts: Inserts,
}

/// Which connection a source is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its number among all connections of all threads: chooses its random numbers.
    pub connection: u32,
    /// Its number as a writer, in the stamps of its values: below [`Stamp::WRITERS_MAX`], and no other writer's that these keys ever see.
    pub writer: u32,
    /// Its part of a sequence: of all connections, or of those that ask the same shard's keys.
    pub share: Part,
    /// Write only keys that this part owns.
    pub owned_writes: Option<Part>,
}

impl Seat {
    /// Connection `part.index()` of all, which writes any key.
    #[must_use]
    pub fn of(part: Part) -> Seat {
        Seat {
            connection: part.index(),
            writer: part.index(),
            share: part,
            owned_writes: None,
        }
    }
}

/// One connection's sequence of operations. It is not to be copied: two of a kind would write with the same stamps.
#[derive(Debug)]
pub struct Source {
    workload: Arc<Workload>,
    random: Random,
    cursor: Cursor,
    stamps: Stamps,
    owned_writes: Option<Part>,
}

impl Workload {
    /// What these settings describe.
    ///
    /// # Errors
    ///
    /// [`SpecError::OutOfRange`] with the setting that makes no sense.
    pub fn new(spec: Spec) -> Result<Arc<Workload>, SpecError> {
        if !(1..=KEYS_MAX).contains(&spec.keys) {
            return Err(SpecError::out_of_range(
                "a number of keys",
                &spec.keys,
                &1,
                &KEYS_MAX,
            ));
        }
        for (what, sizes) in [("a batch", &spec.batch), ("a scan", &spec.scan)] {
            if sizes.min() == 0 || sizes.max() > COUNT_MAX {
                return Err(SpecError::out_of_range(what, &sizes, &1, &COUNT_MAX));
            }
        }
        if spec.distribution == Distribution::Moving && spec.hot.move_every() < MOVE_EVERY_MIN {
            return Err(SpecError::out_of_range(
                "a time between moves",
                &format_args!("{:?}", spec.hot.move_every()),
                &"1ms",
                &"100 years",
            ));
        }
        Ok(Arc::new(Workload {
            keys: KeySpace::new(spec.keys, spec.distribution, &spec.hot),
            inserts: Inserts::new(spec.keys),
            spec,
        }))
    }

    /// The settings that it was made of.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// An operation was answered, failed or was given up. Until that is said of an insert, its key and those inserted after it aren't read.
    #[inline]
    pub fn over(&self, ask: &Ask) {
        if ask.operation == Operation::Put && ask.key >= self.spec.keys {
            self.inserts.settle(ask.key);
        }
    }

    /// Number of keys that are there by now: those of the start and those inserted since.
    #[must_use]
    pub fn key_count(&self) -> u64 {
        self.inserts.readable()
    }

    /// The sequence of one connection.
    ///
    /// # Errors
    ///
    /// [`SpecError::TooFewKeys`] if some owner would own none, [`SpecError::OutOfRange`] for a writer whose number fits into no stamp.
    pub fn source(self: &Arc<Workload>, seat: Seat) -> Result<Source, SpecError> {
        if let Some(owner) = seat.owned_writes
            && u64::from(owner.of()) > self.spec.keys
        {
            return Err(SpecError::TooFewKeys {
                keys: self.spec.keys,
                parts: owner.of(),
            });
        }
        Ok(Source {
            random: Random::new(self.spec.seed, u64::from(seat.connection)),
            cursor: self.keys.cursor(seat.share),
            stamps: Stamps::new(seat.writer)?,
            owned_writes: seat.owned_writes,
            workload: Arc::clone(self),
        })
    }

    /// Writes each key once, divided into equal parts.
    ///
    /// # Errors
    ///
    /// [`SpecError::OutOfRange`] for a writer whose number fits into no stamp.
    pub fn fill(self: &Arc<Workload>, part: Part, writer: u32) -> Result<Fill, SpecError> {
        Ok(Fill::new(Arc::clone(self), part, Stamps::new(writer)?))
    }
}

impl Source {
    /// The next operation. `elapsed` is the time since the start of the run, at which it is meant to begin.
    #[inline]
    pub fn next(&mut self, elapsed: Duration) -> Ask {
        match self.next_within(elapsed, &|_| true) {
            Some(ask) => ask,
            None => unreachable!("a draw among all keys finds one"),
        }
    }

    /// The next operation on a key for which `within` holds; `None` if there is none, or so few among so many that a long search found
    /// none.
    ///
    /// A key of another shard is drawn again, so that the proportions among the shard's own keys are those of the distribution, and a
    /// hot set gets its whole share of the operations. Where the shard has no key of a small hot set, keys beside the set stand in for
    /// it. Counters are asked for with [`COUNTER`] set. The keys that follow the first of a batch may be any. An insert draws
    /// new numbers until one is right and gives up the others, so that with S shards about one number in S becomes a key.
    #[inline]
    pub fn next_within(&mut self, elapsed: Duration, within: &impl Fn(u64) -> bool) -> Option<Ask> {
        let draw = self.random.bits();
        let operation = match self.workload.spec.mix.pick((draw >> 32) as u32) {
            Act::On(operation) => operation,
            Act::Insert => return self.insert(draw as u32, within),
        };
        let limits = Limits {
            readable: self.workload.inserts.readable(),
            owner: self.owned_writes.filter(|_| operation.writes()),
        };
        let counter = if operation == Operation::Add {
            COUNTER
        } else {
            0
        };
        let (key, heat) = self.workload.keys.draw(
            &mut self.cursor,
            &mut self.random,
            elapsed,
            limits,
            &|number| within(number | counter),
        )?;
        let mut ask = Ask {
            operation,
            key: key | counter,
            heat,
            value_len: 0,
            stamp: 0,
            ttl_ms: 0,
            count: 0,
        };
        let spec = &self.workload.spec;
        match operation {
            Operation::Put | Operation::CompareAndSet | Operation::ReadModifyWrite => {
                ask.value_len = spec.value_len.pick(self.random.bits());
                ask.ttl_ms = spec.ttls.pick(draw as u32);
                ask.stamp = self.stamps.next();
            }
            Operation::Delete | Operation::Add => ask.stamp = self.stamps.next(),
            Operation::Batch => {
                let count = u64::from(spec.batch.pick(self.random.bits())).min(limits.readable);
                ask.key = key.min(limits.readable - count);
                ask.count = count as u32;
            }
            Operation::Scan => ask.count = spec.scan.pick(self.random.bits()),
            Operation::Get => {}
        }
        Some(ask)
    }

    /// An operation of this source was answered, failed or was given up. Until that is said of an insert, its key and those inserted
    /// after it aren't read.
    #[inline]
    pub fn over(&self, ask: &Ask) {
        self.workload.over(ask);
    }

    /// A put of a new key.
    fn insert(&mut self, draw: u32, within: &impl Fn(u64) -> bool) -> Option<Ask> {
        let inserts = &self.workload.inserts;
        let key = (0..INSERT_TRIES_MAX).find_map(|_| {
            let key = inserts.draw();
            if within(key) {
                return Some(key);
            }
            inserts.settle(key);
            None
        })?;
        let hot = matches!(self.workload.spec.distribution, Distribution::Latest { .. });
        let spec = &self.workload.spec;
        Some(Ask {
            operation: Operation::Put,
            key,
            heat: if hot { Heat::Hot } else { Heat::Cold },
            value_len: spec.value_len.pick(self.random.bits()),
            stamp: self.stamps.next(),
            ttl_ms: spec.ttls.pick(draw),
            count: 0,
        })
    }
}

/// New numbers that may be given up in a row because they are another shard's.
const INSERT_TRIES_MAX: u32 = 1 << 12;

/// The stamps of one writer.
#[derive(Clone, Debug)]
pub(super) struct Stamps {
    writer: u32,
    sequence: u64,
}

impl Stamps {
    pub(super) fn new(writer: u32) -> Result<Stamps, SpecError> {
        if writer >= Stamp::WRITERS_MAX {
            return Err(SpecError::out_of_range(
                "a writer's number",
                &writer,
                &0,
                &(Stamp::WRITERS_MAX - 1),
            ));
        }
        Ok(Stamps {
            writer,
            sequence: 0,
        })
    }

    #[inline]
    pub(super) fn next(&mut self) -> u64 {
        self.sequence += 1;
        Stamp {
            writer: self.writer,
            sequence: self.sequence,
        }
        .pack()
    }
}

#[cfg(test)]
mod tests;
