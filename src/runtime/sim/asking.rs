//! What clients do: they connect, ask what chance makes of their habits, and have their misfortunes.

use corduroy_proto_wire::{Hello, PREAMBLE, Request};

use super::action::Action;
use super::catalog::DEFAULT;
use super::client::Pending;
use super::habits::OUTPUT_BYTES_PLENTY;
use super::history::{EntryId, Flush, Place, Time};
use super::rogue::Rogue;
use super::traffic::{HELLO_ID, NETWORK_NS_MAX, Pipe};
use super::world::{Event, Phase, World};

impl World {
    /// A client that does nothing does something soon.
    pub(super) fn wake(&mut self, client: usize) {
        if !self.clients[client].is_awake {
            self.clients[client].is_awake = true;
            self.after(self.habits.think_ns_max, Event::Client(client));
        }
    }

    pub(super) fn auditor(&self) -> usize {
        self.clients.len() - 1
    }

    pub(super) fn client_step(&mut self, number: usize) {
        self.clients[number].is_awake = false;
        let acts = match self.phase {
            Phase::Load => number != self.auditor(),
            Phase::Audit => number == self.auditor(),
            Phase::Settle | Phase::Stop => false,
        };
        if !acts {
            return;
        }
        if self.phase == Phase::Load {
            self.misfortune(number);
        }
        if self.clients[number].pipe.is_none() {
            self.connect(number);
        }
        let burst = 1 + self.clients[number].random.index(4);
        for _ in 0..burst {
            let keyspace = self.keyspace();
            let client = &mut self.clients[number];
            if client.pending.len() >= client.depth {
                break;
            }
            let action = client.choose(
                &self.habits,
                &self.keys,
                &self.history,
                keyspace,
                &mut self.writer,
                self.now,
            );
            match action {
                Some((keyspace, action)) => self.ask(number, keyspace, action),
                None => break,
            }
        }
        let client = &self.clients[number];
        if client.pending.len() < client.depth && self.phase == Phase::Load {
            self.wake(number);
        }
    }

    /// The keyspace of the next request: mostly the one that always exists, else one that is known to have been made.
    fn keyspace(&mut self) -> u32 {
        let known = self.catalog.known();
        if known.is_empty() || self.random.percent(60) {
            return DEFAULT;
        }
        known[self.random.index(known.len())]
    }

    /// What may befall a client: its line is cut, it stops reading, the server's clock is set.
    fn misfortune(&mut self, number: usize) {
        let habits = &self.habits;
        let (cut, stall, jump) = (
            habits.cut_one_in,
            habits.stall_one_in,
            habits.clock_jump_one_in,
        );
        if cut > 0 && self.random.one_in(cut) {
            self.cut(number);
        }
        let rogue = self.habits.rogue_one_in;
        if rogue > 0 && self.random.one_in(rogue) {
            self.connect_rogue();
        }
        self.redis_may_come();
        if self.random.one_in(50) {
            // Records that have left memory are met by reads, the others by the next start.
            self.rot(true);
        }
        if stall > 0 && self.random.one_in(stall) {
            let longest = if self.random.one_in(5) {
                30_000_000_000
            } else {
                50_000_000
            };
            self.clients[number].stalls_until = self.now + self.random.below(longest);
            if let Some(pipe) = self.clients[number].pipe {
                self.pipes
                    .get_mut(&pipe)
                    .expect("a client's pipe is there")
                    .is_excused = true;
            }
        }
        if jump > 0 && self.random.one_in(jump) {
            self.set_clock();
        }
    }

    /// The wall clock jumps, forwards or back.
    pub(super) fn set_clock(&mut self) {
        let offset = self.history.wall.offset_ms();
        let by = self.random.skewed(100_000);
        let offset = if self.random.percent(50) {
            offset + by
        } else {
            offset - by
        };
        self.tally.clock_jumps += 1;
        self.note(|| format!("the wall clock is set to an offset of {offset} ms"));
        self.history.wall.set(self.now, offset);
    }

    fn connect(&mut self, number: usize) {
        let shard_count = u64::from(self.habits.shard_count);
        let shard = self.random.below(shard_count) as u16;
        let wanted = self
            .random
            .percent(50)
            .then(|| self.random.below(shard_count) as u16);
        let mut to_server = PREAMBLE.to_vec();
        Request::Hello(Hello {
            version_min: 1,
            version_max: 1,
            shard: wanted,
            keyspace: "default",
            client_name: "simulated",
        })
        .encode(HELLO_ID, &mut to_server);
        // Where little output may wait, a client that asks much and reads slowly is cut with reason.
        let cuts_soon = self.habits.output_bytes_max < OUTPUT_BYTES_PLENTY;
        let connection = self.pipe_next;
        self.pipe_next += 1;
        let mut pipe = Pipe::new(shard, to_server);
        pipe.client = Some(number);
        pipe.is_excused = self.clients[number].stalls_until > self.now || cuts_soon;
        self.pipes.insert(connection, pipe);
        self.clients[number].pipe = Some(connection);
        self.after(NETWORK_NS_MAX, Event::Arrive(connection));
    }

    /// A client that breaks the protocol connects.
    fn connect_rogue(&mut self) {
        let shard_count = u64::from(self.habits.shard_count);
        let shard = self.random.below(shard_count) as u16;
        let wanted = self.random.percent(50);
        let wanted = wanted.then(|| self.random.below(shard_count) as u16);
        let (rogue, to_server) = Rogue::new(wanted, &mut self.random);
        self.tally.rogues += 1;
        let number = self.pipe_next;
        self.pipe_next += 1;
        self.note(|| format!("a client breaks the protocol over {number}: {rogue:?}"));
        let mut pipe = Pipe::new(shard, to_server);
        pipe.rogue = Some(rogue);
        self.pipes.insert(number, pipe);
        self.after(NETWORK_NS_MAX, Event::Arrive(number));
    }

    fn cut(&mut self, number: usize) {
        if let Some(pipe) = self.clients[number].pipe {
            self.clients[number].disconnected();
            self.abandon(pipe);
        }
    }

    /// Sends a request.
    fn ask(&mut self, number: usize, keyspace: u32, action: Action) {
        let pipe = self.clients[number]
            .pipe
            .expect("a client that asks has a connection");
        self.tally.requests += 1;
        let acts = match &action {
            Action::One(key, act) => vec![(*key, act.clone())],
            Action::Batch(acts) | Action::Atomic(acts) => acts.clone(),
            _ => Vec::new(),
        };
        let entries: Vec<EntryId> = acts
            .into_iter()
            .map(|(key, act)| {
                let place = Place { keyspace, key };
                self.history.ask(self.now, pipe, place, act)
            })
            .collect();
        if matches!(action, Action::Atomic(_)) {
            self.atomics.push(entries.clone());
        }
        let flush = (action == Action::Flush).then(|| {
            self.history.flushes.push(Flush {
                keyspace,
                invoked: self.now,
                answered: Time::MAX,
                closed: Time::MAX,
                is_certain: false,
            });
            self.history.flushes.len() - 1
        });
        let change = match &action {
            Action::Create(name, _) => Some(self.catalog.make(self.now, name)),
            Action::Drop(name) => Some(self.catalog.drop(self.now, name)),
            _ => None,
        };
        let client = &mut self.clients[number];
        let id = client.request_next;
        client.request_next += 1;
        let bytes = &mut self
            .pipes
            .get_mut(&pipe)
            .expect("a client's pipe is there")
            .to_server;
        action.encode(id, keyspace, &self.keys, bytes);
        let line = format!("client {number} asks {id} of keyspace {keyspace}: {action:?}");
        self.note(|| line);
        self.clients[number].pending.insert(
            id,
            Pending {
                action,
                keyspace,
                entries,
                invoked: self.now,
                flush,
                change,
            },
        );
        self.deliver_to_server(pipe);
    }
}
