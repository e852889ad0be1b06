//! Sockets, slots and the loop: the hot path of the driver.
//!
//! Each connection has as many **slots** as it may have requests in flight. A request occupies a slot until its reply is
//! there; the next request takes the same slot at once. Where replies come in order the slots are a ring, where they don't
//! the slot's number is the request's id. So no map is needed, and a reply to nothing shows.
//!
//! A **turn** of a connection is: read once, whatever is there; for each whole reply check it, free its slot and build the
//! next request; write all that was built at once. One buffer to read and one to write serve all connections, so that they
//! stay in the cache: only what is left over, half a reply or what the socket didn't take, is kept per connection. The clock
//! is read once a turn.
//!
//! Called in this order: [`Engine::connect`], then any number of times [`Engine::set_source`], [`Engine::ask`] and either
//! [`Engine::turns`] until something is reached or [`Engine::drain`].
//!
//! Invariants: `in_flight` is the number of occupied slots of all connections; a slot is occupied from the moment its request
//! is built, hence before it is sent; a connection's `unsent` is never longer than the requests of all its slots.

use std::{net::TcpStream, time::Instant};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, EventFlags},
    },
    fd::OwnedFd,
};

use super::{
    Config, DriveError, Wait,
    connection::{Connection, Slot},
    protocol::{Dialect, Expected, Malformed, Template},
    tally::Tally,
    workload::{KeySet, Operation, Source},
};

/// What one read asks for, in bytes, unless a reply is longer.
const READ_LEN_MIN: usize = 256 << 10;
/// Sockets that one call to epoll reports at most.
const EVENTS_MAX: usize = 1024;
/// How often a stall is looked for while nothing happens.
const STALL_CHECK_NANOS: i64 = 100_000_000;
/// How much of a malformed reply an error shows, in bytes.
const EXCERPT_LEN: usize = 64;

/// All connections of a run, in one language.
pub(super) struct Engine<'a, D> {
    dialect: D,
    config: &'a Config,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    connections: Vec<Connection>,
    /// By [`Operation`].
    templates: [Template; 2],
    /// By [`Operation`].
    expected: [Expected; 2],
    source: Source,
    random: fastrand::Rng,
    read_buffer: Box<[u8]>,
    write_buffer: Vec<u8>,
    in_flight: u64,
    /// When bytes last arrived, or the first request was sent.
    last_seen: Instant,
    /// What was counted so far.
    pub(super) tally: Tally,
}

impl<'a, D: Dialect> Engine<'a, D> {
    /// Opens and greets all connections. Nothing is asked yet.
    pub(super) fn connect(mut dialect: D, config: &'a Config) -> Result<Engine<'a, D>, DriveError> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(DriveError::io("make an epoll"))?;
        let mut connections = Vec::with_capacity(config.connections);
        let mut key_sets = Vec::new();
        for index in 0..config.connections {
            let failed = |source| DriveError::Connect {
                address: config.address,
                connection: index,
                source,
            };
            let mut stream =
                TcpStream::connect_timeout(&config.address, config.stall).map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            stream
                .set_read_timeout(Some(config.stall))
                .map_err(failed)?;
            let shard = dialect.greet(&mut stream, index)?;
            let keys = shard_keys(&dialect, config.keys, shard, &mut key_sets)?;
            stream.set_nonblocking(true).map_err(failed)?;
            epoll::add(
                &epoll,
                &stream,
                epoll::EventData::new_u64(index as u64),
                EventFlags::IN,
            )
            .map_err(DriveError::io("watch a connection"))?;
            connections.push(Connection::new(stream, keys));
        }
        let operations = [Operation::Get, Operation::Put];
        let read_len = READ_LEN_MIN.max(2 * dialect.reply_len_max(config.value_len));
        Ok(Engine {
            templates: operations.map(|operation| dialect.template(operation, config.value_len)),
            expected: operations.map(|operation| dialect.expected(operation)),
            dialect,
            config,
            epoll,
            events: Vec::with_capacity(EVENTS_MAX),
            connections,
            source: Source::Dry,
            random: fastrand::Rng::with_seed(config.seed),
            read_buffer: vec![0; read_len].into_boxed_slice(),
            write_buffer: Vec::with_capacity(READ_LEN_MIN),
            in_flight: 0,
            last_seen: Instant::now(),
            tally: Tally::new(config.value_len),
        })
    }

    /// What is asked from now on.
    pub(super) fn set_source(&mut self, source: Source) {
        self.source = source;
    }

    /// Puts `slots` requests in flight on each connection, of which none has any in flight.
    pub(super) fn ask(&mut self, slots: u32) -> Result<(), DriveError> {
        assert_eq!(
            self.in_flight, 0,
            "requests of another source are still in flight"
        );
        self.last_seen = Instant::now();
        for (index, connection) in self.connections.iter_mut().enumerate() {
            connection.reset(slots);
            self.write_buffer.clear();
            for slot in 0..slots {
                let Some((operation, number)) =
                    self.source.next(&connection.keys, &mut self.random)
                else {
                    break;
                };
                self.templates[operation as usize].append(slot, number, &mut self.write_buffer);
                connection.slots[slot as usize] = Slot::occupied(self.last_seen, operation, number);
                self.in_flight += 1;
            }
            send(&self.epoll, index, connection, &self.write_buffer)?;
        }
        Ok(())
    }

    /// Waits for events and handles them: one turn of each connection that has any.
    pub(super) fn turns(&mut self) -> Result<(), DriveError> {
        let timeout = match self.config.wait {
            Wait::Spin => Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            Wait::Sleep => Timespec {
                tv_sec: 0,
                tv_nsec: STALL_CHECK_NANOS,
            },
        };
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            Some(&timeout),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(DriveError::io("wait for replies")(error)),
        }
        if self.events.is_empty() && self.last_seen.elapsed() > self.config.stall {
            return Err(DriveError::Stalled {
                stall: self.config.stall,
                in_flight: self.in_flight,
            });
        }
        for at in 0..self.events.len() {
            let epoll::Event { flags, data } = self.events[at];
            let index = data.u64() as usize;
            if flags.contains(EventFlags::OUT) {
                send(&self.epoll, index, &mut self.connections[index], &[])?;
            }
            if flags.intersects(EventFlags::IN | EventFlags::ERR | EventFlags::HUP) {
                self.turn(index)?;
            }
        }
        Ok(())
    }

    /// Turns until no request is in flight. Ends only if the source does.
    pub(super) fn drain(&mut self) -> Result<(), DriveError> {
        while self.in_flight > 0 {
            self.turns()?;
        }
        Ok(())
    }

    /// One turn of one connection that has something to read.
    fn turn(&mut self, index: usize) -> Result<(), DriveError> {
        let connection = &mut self.connections[index];
        let Some(filled) = connection
            .receive(&mut self.read_buffer)
            .map_err(|source| connection.broken(index, source))?
        else {
            return Ok(());
        };
        let now = Instant::now();
        self.last_seen = now;
        let bytes = &self.read_buffer[..filled];
        self.write_buffer.clear();
        let mut at = 0;
        loop {
            let reply = match self.dialect.reply(&bytes[at..]) {
                Ok(Some(reply)) => reply,
                Ok(None) => break,
                Err(source) => return Err(malformed(index, source, &bytes[at..])),
            };
            at += reply.len;
            let (id, slot) = connection.answered::<D>(index, reply.slot)?;
            self.tally.count(
                slot,
                self.expected[slot.operation as usize],
                reply.outcome,
                now,
            );
            match self.source.next(&connection.keys, &mut self.random) {
                Some((operation, number)) => {
                    self.templates[operation as usize].append(id, number, &mut self.write_buffer);
                    connection.slots[id as usize] = Slot::occupied(now, operation, number);
                }
                None => self.in_flight -= 1,
            }
        }
        if at == 0 && filled == self.read_buffer.len() {
            return Err(malformed(
                index,
                Malformed::of("a reply is longer than any to what was asked"),
                bytes,
            ));
        }
        connection.keep(&bytes[at..]);
        send(&self.epoll, index, connection, &self.write_buffer)
    }
}

/// Sends what is left from before and `fresh`; has epoll report when there is room for what the socket doesn't take.
fn send(
    epoll: &OwnedFd,
    index: usize,
    connection: &mut Connection,
    fresh: &[u8],
) -> Result<(), DriveError> {
    let was_blocked = connection.is_blocked();
    connection
        .send(fresh)
        .map_err(|source| connection.broken(index, source))?;
    if connection.is_blocked() == was_blocked {
        return Ok(());
    }
    let flags = if was_blocked {
        EventFlags::IN
    } else {
        EventFlags::IN | EventFlags::OUT
    };
    epoll::modify(
        epoll,
        connection.stream(),
        epoll::EventData::new_u64(index as u64),
        flags,
    )
    .map_err(DriveError::io("watch a connection"))
}

/// The keys that a connection of this shard asks for. `known` holds the sets that were made already, by shard.
pub(crate) fn shard_keys<D: Dialect>(
    dialect: &D,
    keys: u64,
    shard: Option<u16>,
    known: &mut Vec<(u16, KeySet)>,
) -> Result<KeySet, DriveError> {
    let Some(shard) = shard else {
        return Ok(KeySet::All(keys));
    };
    if let Some((_, set)) = known.iter().find(|(of, _)| *of == shard) {
        return Ok(set.clone());
    }
    let numbers = dialect.keys_of(shard, keys);
    if numbers.is_empty() {
        return Err(DriveError::Config(format!(
            "none of the {keys} keys belongs to shard {shard}: ask for more keys"
        )));
    }
    let set = KeySet::Some(numbers.into());
    known.push((shard, set.clone()));
    Ok(set)
}

fn malformed(connection: usize, source: Malformed, bytes: &[u8]) -> DriveError {
    let excerpt = &bytes[..bytes.len().min(EXCERPT_LEN)];
    DriveError::Malformed {
        connection,
        source,
        bytes: excerpt.escape_ascii().to_string(),
    }
}
