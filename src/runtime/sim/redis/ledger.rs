//! What Redis clients asked of families of keys, and what they were told; each life of the node is checked when its death has been audited.
//!
//! A family is four keys that few clients share at a time, in a database. Half of the families have a tag, so their keys are on one shard. A life
//! begins with what the audit before it read, and ends with the next one: so nothing that was acknowledged is lost, and what was not is whole.

use super::super::habits::Habits;
use super::super::history::{Time, WallClock};
use super::super::random::Random;
use super::command::{Chooser, Command, KEYS, Key};
use super::model::{Bounds, Clock, Deed, Held, State};
use super::order::{Half, Request, Verdict, explain};
use super::reply::Reply;

/// Families of a world.
const FAMILIES: usize = 4;
/// Requests on a family in one life of the node, at most.
const REQUESTS_MAX: usize = 150;
/// A turn's clock is read at its first event, so a request may be judged by a clock this much older than itself.
const CLOCK_AGE: Time = 2_000_000;

/// Four keys.
#[derive(Debug)]
struct Family {
    /// How often it began anew.
    generation: u32,
    start: State,
    requests: Vec<Request>,
    /// When each was sent.
    sent: Vec<Time>,
}

/// Names a request.
pub(super) type RequestId = (usize, usize);

/// See the module's header.
#[derive(Debug)]
pub(super) struct Ledger {
    families: Vec<Family>,
    pub(super) chooser: Chooser,
    bounds: Bounds,
    /// Counts what is sent and received.
    moment: u64,
    groups: u32,
    shard_count: u16,
    /// No disk fails.
    is_calm: bool,
    /// What the node holds may be lost.
    rots: bool,
    /// Searches that were given up.
    pub(super) undecided: u64,
}

impl Ledger {
    pub(super) fn new(habits: &Habits, is_calm: bool) -> Ledger {
        // Under a clock that is set back, a key whose time was over may be there again.
        let ttl_ms_max = match habits.clock_jump_one_in {
            0 if habits.ttl_percent > 0 => habits.ttl_ms_max.min(50),
            _ => 0,
        };
        let family = || Family {
            generation: 0,
            start: State::default(),
            requests: Vec::new(),
            sent: Vec::new(),
        };
        Ledger {
            families: (0..FAMILIES).map(|_| family()).collect(),
            chooser: Chooser::new(u64::from(habits.value_len_max).min(4000), ttl_ms_max),
            bounds: Bounds {
                value_len_max: habits.stored_len_max(),
            },
            moment: 0,
            groups: 0,
            // If it may become another, keys that are on one shard now may not stay so.
            shard_count: match habits.reshard_percent {
                0 => habits.shard_count,
                _ => habits.shard_count.max(2),
            },
            is_calm,
            rots: habits.rot_percent > 0,
            undecided: 0,
        }
    }

    /// From now on requests may be refused because of a disk.
    pub(super) fn disturb(&mut self) {
        self.is_calm = false;
    }

    pub(super) fn families(&self) -> std::ops::Range<usize> {
        0..self.families.len()
    }

    /// A family that takes more requests.
    pub(super) fn choose(&self, random: &mut Random) -> Option<usize> {
        let family = random.index(FAMILIES);
        (self.families[family].requests.len() < REQUESTS_MAX).then_some(family)
    }

    /// Whether its keys are on one shard.
    pub(super) fn is_whole(&self, family: usize) -> bool {
        self.shard_count == 1 || family.is_multiple_of(2)
    }

    /// The database that a family is in.
    pub(super) fn database(family: usize) -> &'static str {
        ["3", "4"][family / 2 % 2]
    }

    pub(super) fn names(&self, family: usize) -> [String; KEYS] {
        let generation = self.families[family].generation;
        ["p", "q", "r", "s"].map(|key| match family.is_multiple_of(2) {
            true => format!("{{f{family}.{generation}}}{key}"),
            false => format!("{key}f{family}.{generation}"),
        })
    }

    /// A number for a command whose keys are deleted one by one.
    pub(super) fn group(&mut self) -> u32 {
        self.groups += 1;
        self.groups
    }

    /// A request that is going to be sent.
    pub(super) fn ask(
        &mut self,
        connection: u32,
        family: usize,
        deed: Deed,
        is_audit: bool,
    ) -> RequestId {
        let requests = &mut self.families[family].requests;
        requests.push(Request {
            connection,
            deed,
            is_audit,
            invoked: u64::MAX,
            answered: u64::MAX,
            clock: Clock { low: 0, high: 0 },
            reply: None,
            has_failed: false,
        });
        self.families[family].sent.push(0);
        (family, self.families[family].requests.len() - 1)
    }

    /// Requests are sent.
    pub(super) fn sent(&mut self, now: Time, requests: impl Iterator<Item = RequestId>) {
        self.moment += 1;
        for (family, number) in requests {
            self.families[family].requests[number].invoked = self.moment;
            self.families[family].sent[number] = now;
        }
    }

    /// A reply has come.
    pub(super) fn told(
        &mut self,
        now: Time,
        wall: &WallClock,
        (family, number): RequestId,
        reply: Reply,
    ) {
        self.moment += 1;
        let family = &mut self.families[family];
        let request = &mut family.requests[number];
        request.answered = self.moment;
        request.clock = clock(wall, family.sent[number], now);
        // What was refused may have happened in part, if a disk failed.
        let failed = |reply: &Reply| matches!(reply, Reply::Error(_));
        let has_failed = match &reply {
            Reply::Array(parts) => parts.iter().any(failed),
            reply => failed(reply),
        };
        request.has_failed = has_failed && !self.is_calm;
        if !request.has_failed {
            request.reply = Some(reply);
        }
    }

    /// The last death may have cost acknowledged writes: only what was told before it is held against itself.
    pub(super) fn lost(&mut self, now: Time, wall: &WallClock) -> Result<(), String> {
        let result = self.check(now, wall);
        for family in &mut self.families {
            family.begin_anew();
        }
        result
    }

    /// An audit is through: all that was told in the life before it is checked, and the next one begins with what it read.
    pub(super) fn settle(&mut self, now: Time, wall: &WallClock) -> Result<(), String> {
        self.check(now, wall)?;
        for family in &mut self.families {
            match family.audited() {
                Some(keys) => {
                    family.start = State::of(keys);
                    family.requests.clear();
                    family.sent.clear();
                }
                None => family.begin_anew(),
            }
        }
        Ok(())
    }

    fn check(&mut self, now: Time, wall: &WallClock) -> Result<(), String> {
        if self.rots {
            return Ok(());
        }
        for number in self.families() {
            let half = match (self.is_whole(number), self.is_calm) {
                (true, _) => Half::Never,
                (false, true) => Half::AtDeath,
                (false, false) => Half::AnyTime,
            };
            let family = &self.families[number];
            let mut requests = family.requests.clone();
            for (request, sent) in requests.iter_mut().zip(&family.sent) {
                if request.reply.is_none() {
                    request.clock = clock(wall, *sent, now);
                }
            }
            // What was never sent did not happen, and what has no reply and only reads says nothing.
            requests.retain(|request| {
                request.invoked != u64::MAX
                    && (request.reply.is_some() || !request.deed.only_reads())
            });
            requests.sort_by_key(|request| request.invoked);
            match explain(&family.start, &requests, half, self.bounds) {
                Verdict::Explained => {}
                Verdict::Undecided => self.undecided += 1,
                // Where a disk failed under a request over several shards, one part of it may show at once and another after the next
                // start, from a block that was written and not synced. The search knows no request that happens twice.
                Verdict::Contradiction(_)
                    if half == Half::AnyTime && requests.iter().any(may_come_in_parts) =>
                {
                    self.undecided += 1;
                }
                Verdict::Contradiction(explained) => {
                    return Err(describe(
                        &self.names(number),
                        &family.start,
                        &requests,
                        explained,
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Family {
    /// What the audit found under each key; `None` if something could not be read.
    fn audited(&self) -> Option<[Option<Held>; KEYS]> {
        let mut keys = <[Option<Held>; KEYS]>::default();
        for (key, place) in keys.iter_mut().enumerate() {
            let told = |command: Command| {
                let deed = Deed::One(command);
                let mut audit = self.requests.iter().filter(|request| request.is_audit);
                audit.find(|request| request.deed == deed)
            };
            let value = told(Command::Get(key as Key))?;
            let left = told(Command::Pttl(key as Key))?;
            *place = match (value.reply.as_ref()?, left.reply.as_ref()?) {
                (Reply::Bulk(None), _) | (_, Reply::Number(-2)) => None,
                (Reply::Bulk(Some(text)), Reply::Number(millis)) => Some(Held {
                    value: text.as_str().into(),
                    expires: u64::try_from(*millis)
                        .ok()
                        .map(|millis| (left.clock.low + millis, left.clock.high + millis)),
                }),
                _ => return None,
            };
        }
        Some(keys)
    }

    fn begin_anew(&mut self) {
        *self = Family {
            generation: self.generation + 1,
            start: State::default(),
            requests: Vec::new(),
            sent: Vec::new(),
        };
    }
}

/// Whether a request was refused, or its reply lost, by a disk that failed, and concerns several keys.
fn may_come_in_parts(request: &Request) -> bool {
    request.has_failed && request.reply.is_none() && request.deed.keys().count_ones() > 1
}

fn clock(wall: &WallClock, sent: Time, now: Time) -> Clock {
    let (low, high) = wall.span(sent.saturating_sub(CLOCK_AGE), now);
    Clock { low, high }
}

fn describe(
    names: &[String; KEYS],
    start: &State,
    requests: &[Request],
    explained: usize,
) -> String {
    let mut text = format!(
        "no order of what Redis clients asked of {names:?} explains the replies; {explained} of {} fit. At first: {start:?}",
        requests.len()
    );
    for request in requests {
        text.push_str(&format!(
            "\n    {} to {}, connection {}: {:?} has {:?}",
            request.invoked,
            match request.answered {
                u64::MAX => "its end".to_owned(),
                answered => answered.to_string(),
            },
            request.connection,
            request.deed,
            request.reply
        ));
    }
    text
}

/// What MGET and DEL do key by key outside a transaction, and what else comes as it is.
pub(super) fn deeds(command: &Command, group: impl FnOnce() -> u32) -> Vec<Deed> {
    match command {
        Command::MGet(keys) => keys
            .iter()
            .map(|key| Deed::One(Command::Get(*key)))
            .collect(),
        Command::Del(keys) if keys.len() > 1 => {
            let (group, of) = (group(), keys.len());
            let share = |key: &Key| Deed::Share {
                key: *key,
                group,
                of,
            };
            keys.iter().map(share).collect()
        }
        command => vec![Deed::One(command.clone())],
    }
}
