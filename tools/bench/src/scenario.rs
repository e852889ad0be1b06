//! A workload against a server that was met: all that the engine needs to carry it out.
//!
//! ```text
//! workload (what)  ──┐
//! language (how)   ──┼──> Scenario: engine::Load ──> engine::run
//! schedule (when)  ──┘
//! ```

use std::{sync::Arc, time::Duration};

use crate::{
    engine::{Load, Source, config::CONNECTIONS_MAX},
    protocol::{KeyBytes, Language, Layout, ValueBytes},
    workload::{
        self, Ask, Fill, Operation, Part, Seat, SpecError, Workload,
        arrivals::{Arrivals, Schedule},
        keys::{COUNTER, KeyNames},
        mix::Act,
        values::{Stamp, Values},
    },
};

/// The writer's number that a fill's values have: no connection of a run has it, and its stamps are less than those of each of them.
pub const FILL_WRITER: u32 = 0;

/// Keys and values as requests carry them.
#[derive(Debug)]
pub struct Content {
    /// How keys are written.
    pub names: KeyNames,
    /// How values are made and checked.
    pub values: Values,
    /// Whether values that are read are looked at.
    pub checked: bool,
}

/// One thread's way to the [`Content`].
#[derive(Clone, Debug)]
pub struct Keys(Arc<Content>);

/// The same, of values.
#[derive(Clone, Debug)]
pub struct Bytes(Arc<Content>);

impl KeyBytes for Keys {
    #[inline]
    fn key_len(&self, _: Operation, number: u64) -> usize {
        self.0.names.len(number)
    }

    #[inline]
    fn append(&self, _: Operation, number: u64, out: &mut Vec<u8>) {
        self.0.names.append(number, out);
    }
}

impl ValueBytes for Bytes {
    #[inline]
    fn append(&self, key: u64, stamp: u64, len: u32, out: &mut Vec<u8>) {
        self.0.values.append(key, stamp, len, out);
    }
}

/// How keys are written, for a dialect.
#[must_use]
pub fn keys(content: &Arc<Content>) -> Keys {
    Keys(Arc::clone(content))
}

/// How values are made, for a dialect.
#[must_use]
pub fn bytes(content: &Arc<Content>) -> Bytes {
    Bytes(Arc::clone(content))
}

/// What connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Write each key once.
    Fill,
    /// What the workload says.
    Run {
        /// For a journal: each key is written by one connection only, and the first of these writers' numbers is this. See [`first_writer`].
        recorded_from: Option<u32>,
    },
}

impl Job {
    /// What the workload says.
    pub const RUN: Job = Job::Run {
        recorded_from: None,
    };
}

/// The first writer's number of a recorded run, different from run to run.
///
/// Keys keep what earlier runs have written to them, perhaps with the same seed and the same settings, and a check must not take
/// that for what this run wrote. So the connections of a recorded run get numbers behind all those that a run which isn't recorded uses, from a place drawn at random:
/// that another run has given the same number to a key's owner is one chance in fifteen millions.
#[must_use]
pub fn first_writer(connections: u32) -> u32 {
    let behind_others = 1 + CONNECTIONS_MAX;
    fastrand::u32(behind_others..Stamp::WRITERS_MAX - connections.min(CONNECTIONS_MAX))
}

/// A workload against a server that was met.
#[derive(Debug)]
pub struct Scenario<'a, L> {
    language: &'a L,
    workload: &'a Arc<Workload>,
    content: Arc<Content>,
    job: Job,
    connections: u32,
    /// Of an open loop: the schedule, and how long it is kept up.
    schedule: Option<(Schedule, Duration)>,
    /// Which keys are whose, if each connection asks those of its own core alone.
    direct: Option<Layout>,
    /// The core of each of the first keys, where the server has several.
    cores: Option<(Layout, Box<[u16]>)>,
    /// A second run doesn't write with the stamps of the first.
    round: u32,
}

/// Cores are looked up for so many keys, and computed for those behind.
const CORES_KNOWN_MAX: u64 = 4 << 20;

thread_local! {
    /// A key's bytes while its core is computed.
    static KEY: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// The core that owns a key.
fn core_of(layout: Layout, content: &Content, number: u64) -> u16 {
    KEY.with_borrow_mut(|key| {
        key.clear();
        content.names.append(number, key);
        layout.core_of(key)
    })
}

impl<'a, L: Language> Scenario<'a, L> {
    /// Of this job, for so many connections.
    ///
    /// # Errors
    ///
    /// In words: what of the workload can't be done by so many connections.
    pub fn new(
        language: &'a L,
        workload: &'a Arc<Workload>,
        content: &Arc<Content>,
        job: Job,
        connections: u32,
    ) -> Result<Scenario<'a, L>, String> {
        let scenario = Scenario {
            language,
            workload,
            content: Arc::clone(content),
            job,
            connections,
            schedule: None,
            direct: language.layout().filter(|_| language.is_direct()),
            cores: None,
            round: 0,
        };
        if let Some(layout) = scenario.direct
            && connections < u32::from(layout.cores())
        {
            let cores = layout.cores();
            return Err(format!(
                "--route direct needs a connection for each of the server's {cores} cores: take --connections {cores} or more"
            ));
        }
        // What a source refuses, it refuses every connection.
        scenario
            .seat(0)
            .and_then(|seat| workload.source(seat))
            .map_err(|error| error.to_string())?;
        Ok(scenario)
    }

    /// With intended starts from this schedule, over this time (warm-up included).
    #[must_use]
    pub fn on_schedule(mut self, schedule: Schedule, duration: Duration) -> Scenario<'a, L> {
        self.schedule = Some((schedule, duration));
        self
    }

    /// With latencies apart by the server's cores, where it has several and says which keys are whose.
    #[must_use]
    pub fn by_core(mut self) -> Scenario<'a, L> {
        if let Some(layout) = self.language.layout().filter(|layout| layout.cores() > 1) {
            let known = self.workload.spec().keys.min(CORES_KNOWN_MAX);
            let cores = (0..known).map(|number| core_of(layout, &self.content, number));
            self.cores = Some((layout, cores.collect()));
        }
        self
    }

    /// As the so-manieth run of a row: with other stamps and other draws than those before.
    #[must_use]
    pub fn in_round(mut self, round: u32) -> Scenario<'a, L> {
        self.round = round;
        self
    }

    /// Whether reads may find nothing though all keys were filled.
    fn may_lack_keys(&self) -> bool {
        let spec = self.workload.spec();
        spec.ttls.expiring() > 0.0
            || spec.mix.asks(Operation::Delete)
            || spec.mix.share(Act::Insert) > 0.0
    }

    fn seat(&self, connection: u32) -> Result<Seat, SpecError> {
        let share = self.share(connection)?;
        let seat = connection + self.round * self.connections;
        let recorded_from = match self.job {
            Job::Run { recorded_from } => recorded_from,
            Job::Fill => None,
        };
        Ok(Seat {
            connection: seat,
            writer: match recorded_from {
                Some(first) => first + connection,
                None => 1 + seat % (Stamp::WRITERS_MAX - 1),
            },
            share,
            owned_writes: recorded_from.map(|_| share),
        })
    }

    /// Its part of the keys that it asks: of all, or of its core's, which that core's connections have among them.
    fn share(&self, connection: u32) -> Result<Part, SpecError> {
        match self.direct {
            None => Part::new(connection, self.connections),
            Some(layout) => {
                let cores = u32::from(layout.cores());
                let core = connection % cores;
                let of = (self.connections - core).div_ceil(cores);
                Part::new(connection / cores, of)
            }
        }
    }

    /// The core whose keys a connection asks, if it doesn't ask all.
    fn core(&self, connection: u32) -> Option<(Layout, u16)> {
        let layout = self.direct?;
        Some((layout, (connection % u32::from(layout.cores())) as u16))
    }
}

/// One connection's operations.
#[derive(Debug)]
pub struct Drawn {
    from: From,
    content: Arc<Content>,
    core: Option<(Layout, u16)>,
}

#[derive(Debug)]
enum From {
    Fill(Fill),
    Run(workload::Source),
}

impl Source for Drawn {
    #[inline]
    fn next(&mut self, elapsed_nanos: u64) -> Option<Ask> {
        let Drawn {
            from,
            content,
            core,
        } = self;
        let elapsed = Duration::from_nanos(elapsed_nanos);
        let Some((layout, core)) = *core else {
            return match from {
                From::Fill(fill) => fill.next_within(&|_| true),
                From::Run(source) => Some(source.next(elapsed)),
            };
        };
        let is_own = |number: u64| core_of(layout, content, number) == core;
        match from {
            From::Fill(fill) => fill.next_within(&is_own),
            From::Run(source) => source.next_within(elapsed, &is_own),
        }
    }
}

impl<L: Language> Load for Scenario<'_, L> {
    type Dialect = L::Dialect<Keys, Bytes>;
    type Source = Drawn;
    type Arrivals = Arrivals;

    fn dialect(&self, _: u32) -> Self::Dialect {
        self.language.dialect(
            Keys(Arc::clone(&self.content)),
            Bytes(Arc::clone(&self.content)),
        )
    }

    fn source(&self, connection: u32) -> Drawn {
        let checked = "the settings were tried when the scenario was made";
        let from = match self.job {
            Job::Fill => {
                let fill = self
                    .share(connection)
                    .and_then(|part| self.workload.fill(part, FILL_WRITER));
                From::Fill(fill.expect(checked))
            }
            Job::Run { .. } => {
                let source = self
                    .seat(connection)
                    .and_then(|seat| self.workload.source(seat));
                From::Run(source.expect(checked))
            }
        };
        Drawn {
            from,
            content: Arc::clone(&self.content),
            core: self.core(connection),
        }
    }

    fn arrivals(&self, thread: u32, threads: u32) -> Arrivals {
        let (schedule, duration) = self.schedule.as_ref().expect("an open loop has a schedule");
        let part = Part::new(thread, threads).expect("a thread is one of all");
        let seed = self
            .workload
            .spec()
            .seed
            .wrapping_add(u64::from(self.round) << 32);
        schedule.arrivals(part, *duration, seed)
    }

    fn greeting(&self, connection: u32, out: &mut Vec<u8>) {
        self.language.greeting(connection as usize, out);
    }

    fn greeted(&self, connection: u32, bytes: &[u8]) -> Result<Option<usize>, String> {
        self.language
            .greeted(connection as usize, bytes)
            .map_err(|error| error.to_string())
    }

    #[inline]
    fn is_right(&self, key: u64, value: &[u8]) -> bool {
        !self.content.checked || self.content.values.check(key, value).is_ok()
    }

    fn may_miss(&self, ask: &Ask) -> bool {
        ask.key & COUNTER != 0 || ask.operation == Operation::Delete || self.may_lack_keys()
    }

    fn over(&self, ask: &Ask) {
        self.workload.over(ask);
    }

    #[inline]
    fn server_core(&self, key: u64) -> Option<u32> {
        let (layout, known) = self.cores.as_ref()?;
        let core = match known.get(usize::try_from(key).unwrap_or(usize::MAX)) {
            Some(core) => *core,
            None => core_of(*layout, &self.content, key),
        };
        Some(u32::from(core))
    }
}
