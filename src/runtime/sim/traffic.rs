//! Connections: bytes on their way in pieces of any size, sockets that take part of a send, ends that close.

use corduroy_proto_wire::{CONNECTION_REQUEST_ID, Response, split};

use super::history::Time;
use super::ports::Socket;
use super::redis::RedisClient;
use super::rogue::Rogue;
use super::world::{Event, Phase, World};
use crate::ports::ConnectionId;
use crate::runtime::driver::{Driver, Flow};
use crate::types::ShardId;

/// The hello's request id; requests count from 1.
pub(super) const HELLO_ID: u32 = u32::MAX;
/// A network's delay of one delivery, in nanoseconds.
pub(super) const NETWORK_NS_MAX: Time = 50_000;
/// Connections that a shard takes. A real node's acceptor counts those of all shards, and says so to the one too many.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// One connection, both directions.
#[derive(Debug)]
pub(super) struct Pipe {
    /// The client, unless it has gone.
    pub(super) client: Option<usize>,
    /// The client, if it is one that breaks the protocol.
    pub(super) rogue: Option<Rogue>,
    /// The client, if it is one that speaks RESP.
    pub(super) redis: Option<RedisClient>,
    shard: u16,
    /// As the shard knows it; `None` before it has arrived there and after the server closed it.
    id: Option<ConnectionId>,
    pub(super) to_server: Vec<u8>,
    pub(super) to_client: Vec<u8>,
    is_paused: bool,
    /// What the shard before had read of it.
    moving: Vec<u8>,
    pub(super) is_closed_by_server: bool,
    /// The client gave the server reason to close it, or there was no place for it.
    pub(super) is_excused: bool,
    to_server_due: bool,
    to_client_due: bool,
}

impl Pipe {
    pub(super) fn new(shard: u16, to_server: Vec<u8>) -> Pipe {
        Pipe {
            client: None,
            rogue: None,
            redis: None,
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
    pub(super) fn deliver_to_server(&mut self, number: u32) {
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
            // Clients that fall silent keep their places until their time is over, and there may be none left.
            let is_full = self.with_driver(shard, |driver| driver.connections() >= CONNECTIONS_MAX);
            if let Some(pipe) = self.pipes.get_mut(&number) {
                pipe.is_excused |= is_full == Some(true);
            }
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
        let flow = self.with_driver(shard, |driver| {
            driver.foresee(std::iter::once((id, bytes)));
            driver.received(id, bytes)
        });
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
            && (pipe.client.is_some() || pipe.rogue.is_some() || pipe.redis.is_some())
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
            pipe.redis = None;
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
        if pipe.redis.is_some() {
            return self.reach_redis(number);
        }
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
    pub(super) fn took(&mut self, number: u32, len: usize) {
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
        let judged = closed.filter(|pipe| !pipe.is_excused && self.phase != Phase::Stop);
        match judged.and_then(|pipe| pipe.rogue) {
            Some(rogue) => rogue.judge(),
            None => Ok(()),
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
