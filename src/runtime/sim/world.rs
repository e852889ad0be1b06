//! The world: one node, its clients, and the order in which things happen to them.
//!
//! One thread, one queue of events, one virtual clock. An event is taken, the driver or a client is called, and what it did
//! becomes more events at random moments to come. Nothing else moves the world, so a seed replays it exactly.
//!
//! `asking` holds what clients do, `traffic` connections, `storage` disks and the mesh, `life` starts, stops and deaths; this file the queue
//! and the rounds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use super::action::Keys;
use super::backup::Backups;
use super::catalog::Catalog;
use super::client::Client;
use super::disk::SimDisk;
use super::habits::Habits;
use super::history::{EntryId, History, Place, Time};
use super::ports::{Effect, SimPorts};
use super::random::Random;
use super::redis::Books;
use super::report::{Tally, Trace};
use super::scrub;
use super::storage::InFlight;
use super::traffic::Pipe;
use crate::ports::ConnectionId;
use crate::runtime::driver::{Buffered, Driver, MeshBatch};
use crate::storage::disk::DiskTicket;
use crate::types::{MonoNanos, Now, PartitionId, SegmentId, ShardId, Version, WallMillis};

/// What happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A shard ends its turn.
    Turn(u16),
    /// A connection reaches a shard.
    Arrive(u32),
    /// Bytes reach the server.
    ToServer(u32),
    /// Bytes reach the client.
    ToClient(u32),
    /// The server hears that the client is gone.
    Hangup(u32),
    /// A disk operation goes a step further.
    Disk(u16, u64),
    /// A batch arrives.
    Mesh(u16, u16),
    /// A full channel has room again.
    MeshReady(u16, u16),
    /// A client does something.
    Client(usize),
    /// A backup of a shard goes a step further.
    Backup(u16),
    /// The round of load is over.
    EndRound,
}

/// One shard and its directory.
#[derive(Debug)]
pub(super) struct SimShard {
    pub(super) disk: SimDisk,
    /// The process, while it lives.
    pub(super) driver: Option<Driver<SimPorts>>,
    pub(super) in_flight: BTreeMap<u64, InFlight>,
    /// When its next turn ends.
    pub(super) turn_at: Time,
}

/// What the world is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Clients do what they like, and faults happen.
    Load,
    /// Nothing new is asked; what was asked is to be answered.
    Settle,
    /// Every key is read.
    Audit,
    /// A clean stop.
    Stop,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct World {
    pub(super) habits: Habits,
    pub(super) random: Random,
    pub(super) now: Time,
    queue: BinaryHeap<Reverse<(Time, u64, u32, Event)>>,
    queued: u64,
    /// Which life the process is in; events of an earlier one are void.
    pub(super) life: u32,
    pub(super) shards: Vec<SimShard>,
    pub(super) pipes: BTreeMap<u32, Pipe>,
    pub(super) pipe_of: BTreeMap<(u16, ConnectionId), u32>,
    pub(super) pipe_next: u32,
    /// Batches on their way from one shard to another, and when the last of them arrives.
    pub(super) channels: BTreeMap<(u16, u16), (VecDeque<MeshBatch>, Time)>,
    pub(super) clients: Vec<Client>,
    pub(super) keys: Keys,
    pub(super) history: History,
    pub(super) phase: Phase,
    /// Numbers the keys that scans missed.
    pub(super) moments: u32,
    /// Numbers what is written.
    pub(super) writer: u32,
    /// When this life of the process began, and the one before.
    pub(super) life_began: Time,
    pub(super) life_before: Time,
    pub(super) died_at: Time,
    /// The last death may have cost acknowledged writes.
    pub(super) losses_due: bool,
    /// Atomic batches that may have to be judged by the next audit.
    pub(super) atomics: Vec<Vec<EntryId>>,
    pub(super) catalog: Catalog,
    /// What the Redis clients know.
    pub(super) redis: Books,
    /// Reads of this life that found damage or failed: the shard, the segment and where in its file.
    pub(super) bad_reads: BTreeSet<(ShardId, SegmentId, u64)>,
    /// The highest version that salvage gave up of each partition: no later one may be as low.
    pub(super) lost_versions: BTreeMap<PartitionId, Version>,
    /// The key whose history does not add up.
    pub(super) suspect: Option<Place>,
    pub(super) tally: Tally,
    pub(super) trace: Trace,
    pub(super) backups: Backups,
    pub(super) scrub_random: Random,
    /// For how many segments the disk has space, if others have filled it.
    pub(super) space: Option<u64>,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Random::new(seed, 0);
        let mut habits = Habits::draw(&mut random);
        habits.draw_more(&mut Random::new(seed, 9));
        let shards = (0..habits.shard_count)
            .map(|_| SimShard {
                disk: SimDisk::default(),
                driver: None,
                in_flight: BTreeMap::new(),
                turn_at: Time::MAX,
            })
            .collect();
        let clients = (0..=habits.clients as u64)
            .map(|number| {
                let depth = 1 + random.index(habits.depth_max);
                Client::new(Random::new(seed, 100 + number), depth)
            })
            .collect();
        World {
            redis: Books::new(seed, &habits),
            keys: Keys::new(habits.keys),
            habits,
            random,
            now: 0,
            queue: BinaryHeap::new(),
            queued: 0,
            life: 0,
            shards,
            pipes: BTreeMap::new(),
            pipe_of: BTreeMap::new(),
            pipe_next: 1,
            channels: BTreeMap::new(),
            clients,
            history: History::new(1_700_000_000_000),
            phase: Phase::Load,
            moments: 0,
            writer: 0,
            life_began: 0,
            life_before: 0,
            died_at: 0,
            losses_due: false,
            atomics: Vec::new(),
            catalog: Catalog::default(),
            bad_reads: BTreeSet::new(),
            lost_versions: BTreeMap::new(),
            suspect: None,
            tally: Tally::default(),
            trace: Trace::new(seed),
            backups: Backups::new(seed),
            scrub_random: scrub::random(seed),
            space: None,
        }
    }

    /// The whole of a run.
    pub(super) fn run(&mut self) -> Result<(), String> {
        self.start(false)?;
        for round in 0..self.habits.rounds {
            self.note(|| format!("round {round} begins"));
            self.load()?;
            let clean = if self.random.percent(self.habits.stop_percent) {
                self.stop_cleanly()?
            } else {
                self.die();
                false
            };
            self.start(clean)?;
            self.audit()?;
            // What rots can be neither deleted nor written over.
            let is_sound = self.habits.rot_percent == 0;
            let fills = self.habits.fills_disk_percent;
            if is_sound && fills > 0 && self.random.percent(fills) {
                self.fill_disk()?;
            }
        }
        self.note(|| "the last stop".to_owned());
        let clean = self.stop_cleanly()?;
        self.start(clean)?;
        self.audit()
    }

    /// A round of load: half of them end in the middle, the others when everything is answered.
    fn load(&mut self) -> Result<(), String> {
        self.phase = Phase::Load;
        for client in 0..self.habits.clients {
            self.clients[client].script = None;
            self.wake(client);
        }
        let end = self.now + self.random.between(1, self.habits.round_ns_max);
        self.at(end, Event::EndRound);
        self.plan_backups(end);
        while self.phase == Phase::Load {
            self.step()?;
        }
        if self.random.percent(50) {
            self.settle()?;
        }
        Ok(())
    }

    /// Asks nothing more, and waits until everything is answered. It must be, in bounded time, whatever happened before.
    fn settle(&mut self) -> Result<(), String> {
        const PATIENCE: Time = 60_000_000_000;
        self.phase = Phase::Settle;
        let deadline = self.now + PATIENCE;
        let is_busy = |world: &World| {
            let mut pipes = world.pipes.values();
            let visitors = pipes.any(|pipe| pipe.rogue.is_some() || pipe.redis.is_some());
            let mut clients = world.clients.iter();
            visitors || clients.any(|client| !client.pending.is_empty())
        };
        while is_busy(self) {
            if self.now > deadline {
                return Err(self.describe_stuck());
            }
            self.step()?;
        }
        Ok(())
    }

    fn describe_stuck(&self) -> String {
        let stuck: Vec<String> = self
            .clients
            .iter()
            .enumerate()
            .flat_map(|(number, client)| {
                client.pending.values().map(move |pending| {
                    format!(
                        "client {number}, asked at {}: {:?}",
                        pending.invoked, pending.action
                    )
                })
            })
            .take(5)
            .collect();
        let rogues = self.pipes.values().filter_map(|pipe| pipe.rogue.as_ref());
        let rogues: Vec<String> = rogues.map(|rogue| format!("{rogue:?}")).collect();
        let redis = self.pipes.values().filter_map(|pipe| pipe.redis.as_ref());
        let redis: Vec<String> = redis.map(|client| format!("{client:?}")).collect();
        format!(
            "no answer for a minute: {}; clients that broke the protocol and are still there: {rogues:?}; Redis clients: {redis:?}",
            stuck.join("; ")
        )
    }

    /// Queues an event of this life.
    pub(super) fn at(&mut self, time: Time, event: Event) {
        self.queued += 1;
        self.queue
            .push(Reverse((time.max(self.now), self.queued, self.life, event)));
    }

    pub(super) fn after(&mut self, delay_max: Time, event: Event) {
        let time = self.now + self.random.between(1, delay_max.max(1));
        self.at(time, event);
    }

    /// Lets one event happen.
    pub(super) fn step(&mut self) -> Result<(), String> {
        let Some(Reverse((time, _, life, event))) = self.queue.pop() else {
            return Err(format!(
                "nothing is left to happen: {}",
                self.describe_stuck()
            ));
        };
        if life != self.life
            || matches!(event, Event::Turn(shard) if self.shards[usize::from(shard)].turn_at != time)
        {
            return Ok(());
        }
        self.now = time;
        self.tally.events += 1;
        self.trace.mix(time);
        self.note(|| format!("{event:?}"));
        match event {
            Event::Turn(shard) => return self.end_turn(shard),
            Event::Arrive(pipe) => self.arrive(pipe),
            Event::ToServer(pipe) => self.reach_server(pipe),
            Event::ToClient(pipe) => return self.reach_client(pipe),
            Event::Hangup(pipe) => self.hang_up(pipe),
            Event::Disk(shard, ticket) => self.disk_step(shard, ticket),
            Event::Mesh(from, to) => self.mesh_arrives(from, to),
            Event::MeshReady(shard, to) => {
                self.with_driver(shard, |driver| driver.mesh_ready(ShardId(to)));
            }
            Event::Client(client) => self.client_step(client),
            Event::Backup(shard) => return self.backup_step(shard),
            Event::EndRound => self.phase = Phase::Settle,
        }
        Ok(())
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{:>12} {}", self.now, line());
        self.trace.note(line);
    }

    pub(super) fn mix(&mut self, number: u64) {
        self.trace.mix(number);
    }

    pub(super) fn clocks(&self) -> Now {
        Now {
            mono: MonoNanos(self.now),
            wall: WallMillis(self.history.wall.at(self.now)),
        }
    }

    /// Calls a driver and lets what it did become events. `None` if the process does not live.
    pub(super) fn with_driver<R>(
        &mut self,
        shard: u16,
        call: impl FnOnce(&mut Driver<SimPorts>) -> R,
    ) -> Option<R> {
        let now = self.clocks();
        let driver = self.shards[usize::from(shard)].driver.as_mut()?;
        driver.ports().now = now;
        let result = call(driver);
        let effects = std::mem::take(&mut driver.ports().effects);
        let refused = std::mem::take(&mut driver.ports().refused);
        self.tally.batches_refused += refused.len() as u64;
        for effect in effects {
            self.carry_out(shard, effect);
        }
        self.turn_soon(shard, 20_000);
        Some(result)
    }

    fn carry_out(&mut self, shard: u16, effect: Effect) {
        match effect {
            Effect::Submit(DiskTicket(ticket), operation) => self.submit(shard, ticket, operation),
            Effect::Written(segment, offset, bytes) => {
                self.written_at_once(shard, segment, offset, &bytes);
            }
            Effect::Send(connection, bytes) => self.sent(shard, connection, &bytes),
            Effect::Resume(connection) => self.resumed(shard, connection),
            Effect::Close(connection) => self.closed_by_server(shard, connection),
            Effect::HandOver(connection, to, bytes) => {
                self.handed_over(shard, connection, to, bytes);
            }
            Effect::Mesh(to, batch) => self.mesh_sent(shard, to, batch),
        }
    }

    /// Lets the shard's turn end within a span, unless it ends sooner.
    pub(super) fn turn_soon(&mut self, shard: u16, delay_max: Time) {
        let time = self.now + self.random.between(1, delay_max);
        self.turn_at(shard, time);
    }

    fn turn_at(&mut self, shard: u16, time: Time) {
        let place = &mut self.shards[usize::from(shard)].turn_at;
        if time < *place {
            *place = time;
            self.at(time, Event::Turn(shard));
        }
    }

    fn end_turn(&mut self, shard: u16) -> Result<(), String> {
        let now = self.now;
        let Some(end) = self.with_driver(shard, Driver::end_turn) else {
            return Ok(());
        };
        // `with_driver` asked for another turn; whether there is one is what the turn said.
        let place = &mut self.shards[usize::from(shard)].turn_at;
        *place = Time::MAX;
        if end.again {
            self.turn_soon(shard, 2000);
        } else if let Some(deadline) = end.deadline {
            self.turn_at(shard, deadline.0.max(now + 1));
        }
        self.look_for_point(shard)?;
        self.check_buffers(shard)
    }

    /// No client makes the node hold more for it than was promised.
    fn check_buffers(&self, shard: u16) -> Result<(), String> {
        let config = self.driver_config(shard);
        let answer_max = 4 + config.frame_len_max() as usize;
        let driver = self.shards[usize::from(shard)].driver.as_ref();
        let within = |held: &Buffered| {
            held.input_bytes <= config.input_bytes_max()
                && held.output_bytes <= config.output_bytes_max + answer_max
        };
        match driver.and_then(|driver| driver.buffered().find(|held| !within(held))) {
            Some(held) => Err(format!("shard {shard} holds more than it may: {held:?}")),
            None => Ok(()),
        }
    }

    /// Whether nothing is going to happen.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Forgets everything that was going to happen.
    pub(super) fn new_life(&mut self) {
        self.life += 1;
        self.queue.clear();
        self.backups.new_life();
    }

    /// What was asked and told about the key that does not add up.
    pub(super) fn evidence(&self) -> Vec<String> {
        let entries = self.suspect.and_then(|place| self.history.keys.get(&place));
        entries
            .into_iter()
            .flatten()
            .map(|entry| format!("{entry:?}"))
            .collect()
    }
}
