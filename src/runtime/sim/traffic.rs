//! Connections: bytes on their way in pieces of any size, sockets that take part of a send, clients that stall, cut and pipeline.

use corduroy_proto_wire::{CONNECTION_REQUEST_ID, Hello, PREAMBLE, Request, Response, split};

use super::action::Action;
use super::catalog::DEFAULT;
use super::client::Pending;
use super::habits::OUTPUT_BYTES_PLENTY;
use super::history::{EntryId, Flush, Place, Time};
use super::ports::Socket;
use super::rogue::Rogue;
use super::world::{Event, Phase, World};
use crate::ports::ConnectionId;
use crate::runtime::driver::{Driver, Flow};
use crate::types::ShardId;

/// The hello's request id; requests count from 1.
pub(super) const HELLO_ID: u32 = u32::MAX;
/// A network's delay of one delivery, in nanoseconds.
const NETWORK_NS_MAX: Time = 50_000;

/// One connection, both directions.
#[derive(Debug)]
pub(super) struct Pipe {
    /// The client, unless it has gone.
    client: Option<usize>,
    /// The client, if it is one that breaks the protocol.
    pub(super) rogue: Option<Rogue>,
    shard: u16,
    /// As the shard knows it; `None` before it has arrived there and after the server closed it.
    id: Option<ConnectionId>,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    is_paused: bool,
    /// What the shard before had read of it.
    moving: Vec<u8>,
    is_closed_by_server: bool,
    /// The client gave the server reason to close it.
    is_excused: bool,
    to_server_due: bool,
    to_client_due: bool,
}

impl Pipe {
    fn new(shard: u16, to_server: Vec<u8>) -> Pipe {
        Pipe {
            client: None,
            rogue: None,
            shard,
            id: None,
            to_server,
            to_client: Vec::new(),
            is_paused: false,
            moving: Vec::new(),
            is_closed_by_server: false,
            is_excused: false,
            to_server_due: false,
            to_client_due: false,
        }
    }
}

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
        let pipe = self.pipe_next;
        self.pipe_next += 1;
        let is_excused = self.clients[number].stalls_until > self.now || cuts_soon;
        self.pipes.insert(
            pipe,
            Pipe {
                client: Some(number),
                is_excused,
                ..Pipe::new(shard, to_server)
            },
        );
        self.clients[number].pipe = Some(pipe);
        self.after(NETWORK_NS_MAX, Event::Arrive(pipe));
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

    fn deliver_to_server(&mut self, number: u32) {
        if let Some(pipe) = self.pipes.get_mut(&number)
            && !pipe.to_server_due
        {
            pipe.to_server_due = true;
            self.after(NETWORK_NS_MAX, Event::ToServer(number));
        }
    }

    fn deliver_to_client(&mut self, number: u32) {
        if let Some(pipe) = self.pipes.get_mut(&number)
            && !pipe.to_client_due
        {
            pipe.to_client_due = true;
            self.after(NETWORK_NS_MAX, Event::ToClient(number));
        }
    }

    /// The connection reaches a shard, for the first time or handed over by another.
    pub(super) fn arrive(&mut self, number: u32) {
        let Some(pipe) = self.pipes.get_mut(&number) else {
            return;
        };
        let shard = pipe.shard;
        let moving = std::mem::take(&mut pipe.moving);
        let room = self.habits.socket_room.saturating_sub(pipe.to_client.len());
        let Some(Some(id)) = self.with_driver(shard, Driver::opened) else {
            self.server_hangs_up(number);
            return;
        };
        self.pipe_of.insert((shard, id), number);
        let pipe = self
            .pipes
            .get_mut(&number)
            .expect("opening a connection does not close it");
        pipe.id = Some(id);
        pipe.is_paused = false;
        self.with_driver(shard, |driver| {
            driver.ports().sockets.insert(
                id,
                Socket {
                    room,
                    is_blocked: false,
                },
            );
        });
        if !moving.is_empty() {
            self.receive(number, shard, id, &moving);
        }
        self.deliver_to_server(number);
    }

    pub(super) fn reach_server(&mut self, number: u32) {
        let most = if self.random.one_in(10) {
            8
        } else {
            self.habits.chunk_max
        };
        let Some(pipe) = self.pipes.get_mut(&number) else {
            return;
        };
        pipe.to_server_due = false;
        let Some(id) = pipe.id else { return };
        if pipe.is_paused || pipe.to_server.is_empty() {
            return;
        }
        let len = pipe
            .to_server
            .len()
            .min(1 + self.random.skewed(most as u64) as usize);
        let chunk: Vec<u8> = pipe.to_server.drain(..len).collect();
        let shard = pipe.shard;
        self.mix(len as u64);
        self.receive(number, shard, id, &chunk);
        let more = self
            .pipes
            .get(&number)
            .is_some_and(|pipe| !pipe.to_server.is_empty());
        if more {
            self.deliver_to_server(number);
        }
    }

    fn receive(&mut self, number: u32, shard: u16, id: ConnectionId, bytes: &[u8]) {
        let flow = self.with_driver(shard, |driver| driver.received(id, bytes));
        if flow == Some(Flow::Pause)
            && let Some(pipe) = self.pipes.get_mut(&number)
        {
            pipe.is_paused = true;
        }
    }

    pub(super) fn resumed(&mut self, shard: u16, id: ConnectionId) {
        if let Some(&number) = self.pipe_of.get(&(shard, id)) {
            if let Some(pipe) = self.pipes.get_mut(&number) {
                pipe.is_paused = false;
            }
            self.deliver_to_server(number);
        }
    }

    pub(super) fn sent(&mut self, shard: u16, id: ConnectionId, bytes: &[u8]) {
        let Some(&number) = self.pipe_of.get(&(shard, id)) else {
            return;
        };
        if let Some(pipe) = self.pipes.get_mut(&number)
            && (pipe.client.is_some() || pipe.rogue.is_some())
        {
            pipe.to_client.extend_from_slice(bytes);
            self.deliver_to_client(number);
        }
    }

    pub(super) fn closed_by_server(&mut self, shard: u16, id: ConnectionId) {
        if let Some(number) = self.pipe_of.remove(&(shard, id)) {
            self.server_hangs_up(number);
        }
    }

    fn server_hangs_up(&mut self, number: u32) {
        if let Some(pipe) = self.pipes.get_mut(&number) {
            pipe.id = None;
            pipe.is_closed_by_server = true;
            self.deliver_to_client(number);
        }
    }

    pub(super) fn handed_over(
        &mut self,
        shard: u16,
        id: ConnectionId,
        to: ShardId,
        bytes: Vec<u8>,
    ) {
        let number = self
            .pipe_of
            .remove(&(shard, id))
            .expect("a connection that is handed over was there");
        if let Some(pipe) = self.pipes.get_mut(&number) {
            pipe.id = None;
            pipe.shard = to.0;
            pipe.moving = bytes;
            self.after(NETWORK_NS_MAX, Event::Arrive(number));
        }
    }

    /// The client has closed the connection.
    pub(super) fn abandon(&mut self, number: u32) {
        if let Some(pipe) = self.pipes.get_mut(&number) {
            pipe.client = None;
            pipe.to_client.clear();
            self.after(4 * NETWORK_NS_MAX, Event::Hangup(number));
        }
    }

    /// The server hears that the client is gone.
    pub(super) fn hang_up(&mut self, number: u32) {
        let Some(pipe) = self.pipes.get(&number) else {
            return;
        };
        let (shard, id) = (pipe.shard, pipe.id);
        // On its way to another shard: it hears when it is there.
        if id.is_none() && !pipe.is_closed_by_server {
            self.after(4 * NETWORK_NS_MAX, Event::Hangup(number));
            return;
        }
        self.pipes.remove(&number);
        if let Some(id) = id {
            self.pipe_of.remove(&(shard, id));
            self.with_driver(shard, |driver| {
                driver.ports().sockets.remove(&id);
                driver.closed(id);
            });
        }
    }

    pub(super) fn reach_client(&mut self, number: u32) -> Result<(), String> {
        let Some(pipe) = self.pipes.get_mut(&number) else {
            return Ok(());
        };
        pipe.to_client_due = false;
        let Some(client) = pipe.client else {
            return self.reach_rogue(number);
        };
        let stalls_until = self.clients[client].stalls_until;
        if stalls_until > self.now {
            pipe.to_client_due = true;
            self.at(stalls_until, Event::ToClient(number));
            return Ok(());
        }
        let len = pipe
            .to_client
            .len()
            .min(1 + self.random.skewed(1 << 17) as usize);
        let chunk: Vec<u8> = pipe.to_client.drain(..len).collect();
        let at_end = pipe.is_closed_by_server && pipe.to_client.is_empty();
        self.took(number, len);
        self.clients[client].input.extend_from_slice(&chunk);
        self.read_answers(client)?;
        if at_end {
            return self.end_of_stream(client, number);
        }
        if !self.clients[client]
            .script
            .as_ref()
            .is_some_and(|script| script.is_empty())
        {
            self.wake(client);
        }
        Ok(())
    }

    /// The client has read so many bytes: the server's socket has room for as many.
    fn took(&mut self, number: u32, len: usize) {
        let pipe = &self.pipes[&number];
        let (shard, id) = (pipe.shard, pipe.id);
        if !pipe.to_client.is_empty() {
            self.deliver_to_client(number);
        }
        self.mix(len as u64);
        if let Some(id) = id {
            self.with_driver(shard, |driver| {
                let Some(socket) = driver.ports().sockets.get_mut(&id) else {
                    return;
                };
                socket.room += len;
                if socket.is_blocked && len > 0 {
                    socket.is_blocked = false;
                    driver.writable(id);
                }
            });
        }
    }

    /// A client that breaks the protocol reads all that there is, to the end.
    fn reach_rogue(&mut self, number: u32) -> Result<(), String> {
        let Some(pipe) = self.pipes.get_mut(&number) else {
            return Ok(());
        };
        let chunk = std::mem::take(&mut pipe.to_client);
        let Some(rogue) = &mut pipe.rogue else {
            return Ok(());
        };
        rogue.receive(&chunk);
        if !pipe.is_closed_by_server {
            self.took(number, chunk.len());
            return Ok(());
        }
        let closed = self.pipes.remove(&number);
        match closed.and_then(|pipe| pipe.rogue) {
            Some(rogue) if self.phase != Phase::Stop => rogue.judge(),
            _ => Ok(()),
        }
    }

    fn end_of_stream(&mut self, client: usize, number: u32) -> Result<(), String> {
        let pipe = self.pipes.remove(&number);
        if pipe.is_some_and(|pipe| !pipe.is_excused) && self.phase != Phase::Stop {
            return Err(format!(
                "the server closed the connection of client {client} without a reason"
            ));
        }
        self.clients[client].disconnected();
        self.wake(client);
        Ok(())
    }

    /// Takes whole answers from what a client has received.
    fn read_answers(&mut self, number: usize) -> Result<(), String> {
        let input = std::mem::take(&mut self.clients[number].input);
        let mut rest = &input[..];
        while let Some((frame, consumed)) =
            split(rest, u32::MAX).map_err(|error| format!("client {number}: {error}"))?
        {
            rest = &rest[consumed..];
            let (id, response) = Response::decode(frame)
                .map_err(|error| format!("client {number} can't read an answer: {error}"))?;
            if id == HELLO_ID {
                if response.status.is_error() {
                    return Err(format!("client {number} was refused: {response:?}"));
                }
                self.clients[number].is_open = true;
                continue;
            }
            if id == CONNECTION_REQUEST_ID {
                return Err(format!(
                    "client {number}'s stream was refused: {response:?}"
                ));
            }
            let pending = self.clients[number].pending.remove(&id);
            let Some(pending) = pending else {
                return Err(format!(
                    "client {number} got an answer to request {id}, which it did not wait for: {response:?}"
                ));
            };
            self.tally.answers += 1;
            self.note(|| {
                format!(
                    "client {number} is answered {id}: {:?} version {}",
                    response.status, response.version
                )
            });
            self.answered(number, &pending, &response)?;
        }
        self.clients[number].input = rest.to_vec();
        Ok(())
    }
}
