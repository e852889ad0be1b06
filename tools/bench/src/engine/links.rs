//! Opening connections, losing them and opening them again.
//!
//! Nothing here ends a run once it has begun: what was in flight on a connection that is lost counts as errors, and the connection is opened
//! again after a pause that doubles with each failure and is never the same for two of them, so that a server that comes back isn't run over.

use std::{cmp::Reverse, io, time::Duration};

use rustix::event::epoll::{self, EventFlags};

use super::{
    EngineError, Load,
    clock::{Nanos, nanos},
    connection::State,
    worker::Worker,
};
use crate::measure::errors::Fault;

/// Connections that are being opened at the same time: fewer than a listener's queue holds, or some would wait a second for the kernel to
/// try again.
const OPENING_MAX: usize = 64;
/// Pause before a connection is opened again, the first time and at most.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long an unwelcome connection is waited for to be told.
const SETTLE_NANOS: Nanos = 20_000_000;
/// So much of what a server says unasked is shown, in bytes.
const WORDS_MAX: usize = 200;

/// Why a connection is given up.
pub(super) enum Loss<'a> {
    /// It ended, or an error of the socket.
    Broken,
    /// Something on it was not answered in time.
    Timeout,
    /// It brought what is no reply.
    Malformed(&'a str),
    /// It could not be opened.
    Unopened,
}

impl<L: Load> Worker<'_, L> {
    /// Opens all connections, or says why that is not possible.
    pub(super) fn open_all(&mut self) -> Result<(), EngineError> {
        let count = self.connections.len();
        let mut begun = 0;
        while (self.open as usize) < count {
            while begun < count && begun - (self.open as usize) < OPENING_MAX {
                self.open_one(begun)
                    .map_err(|source| self.cannot_open(source))?;
                begun += 1;
            }
            self.wait(10_000_000)?;
            self.handle_while_opening()?;
            let now = self.clock.now();
            for connection in &self.connections[..begun] {
                if let State::Connecting(until) | State::Greeting(until) = connection.state
                    && now > until
                {
                    return Err(self.cannot_open(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        // Servers that have enough clients take one more and then tell it to go.
        self.wait(SETTLE_NANOS)?;
        self.handle_while_opening()
    }

    fn handle_while_opening(&mut self) -> Result<(), EngineError> {
        for (index, flags) in self.events() {
            if self.connections[index].state == State::Open {
                let source = match self.connections[index].receive(&mut self.read_buffer) {
                    Ok(None) => continue,
                    Ok(Some(filled)) => {
                        let words = &self.read_buffer[..filled.min(WORDS_MAX)];
                        io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            format!("it said, unasked: {}", words.escape_ascii()),
                        )
                    }
                    Err(error) => error,
                };
                return Err(self.cannot_open(source));
            }
            self.try_open_further(index, flags)
                .map_err(|error| self.not_opened(index, error))?;
        }
        Ok(())
    }

    /// A connection that is being opened has an event. A failure is counted.
    pub(super) fn open_further(
        &mut self,
        index: usize,
        flags: EventFlags,
    ) -> Result<(), EngineError> {
        match self.try_open_further(index, flags) {
            Ok(()) => {}
            Err(Unopened::Engine(error)) => return Err(error),
            Err(Unopened::Socket(_)) => self.lose(index, &Loss::Unopened),
            Err(Unopened::Refused(reason)) => {
                let now = self.clock.now();
                self.fail(&Fault::Refused(reason.as_bytes()), now, now);
                self.lose(index, &Loss::Unopened);
            }
        }
        if self.connections[index].state == State::Open {
            let now = self.clock.now();
            self.offer(index, now);
        }
        Ok(())
    }

    /// Opens again what is due for it.
    pub(super) fn reopen_due(&mut self, now: Nanos) -> Result<(), EngineError> {
        for _ in 0..OPENING_MAX {
            match self.reopen.peek() {
                Some(&Reverse((due, index))) if due <= now => {
                    self.reopen.pop();
                    if self.open_one(index).is_err() {
                        self.lose(index, &Loss::Unopened);
                    }
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// Looks whether something on a connection takes too long.
    pub(super) fn look_over(&mut self, index: usize, now: Nanos) {
        let connection = &self.connections[index];
        match connection.state {
            State::Connecting(until) | State::Greeting(until) if now > until => {
                self.lose(index, &Loss::Unopened);
            }
            State::Open if connection.slots.in_flight() > 0 => {
                let limit = nanos(self.config.timeout);
                let sent = connection.slots.oldest_sent();
                if sent.is_some_and(|sent| now.saturating_sub(sent) > limit) {
                    self.lose(index, &Loss::Timeout);
                }
            }
            _ => {}
        }
    }

    /// Gives a connection up with all that is in flight on it, to be opened again later.
    pub(super) fn lose(&mut self, index: usize, loss: &Loss<'_>) {
        let now = self.clock.now();
        let limit = nanos(self.config.timeout);
        let connection = &mut self.connections[index];
        let was_open = connection.state == State::Open;
        connection.close();
        let (load, tally, journal) = (self.load, &mut self.tally, &mut self.journal);
        let mut lost = 0;
        let mut is_blamed = false;
        connection.slots.clear(|flight| {
            lost += 1;
            let fault = match loss {
                Loss::Broken | Loss::Unopened => Fault::Broken,
                Loss::Timeout if now.saturating_sub(flight.sent) > limit => Fault::Timeout,
                Loss::Malformed(why) if !is_blamed => {
                    is_blamed = true;
                    Fault::Malformed(why)
                }
                Loss::Timeout | Loss::Malformed(_) => Fault::GivenUp,
            };
            tally.failed(&fault, flight.intended, now);
            load.over(&flight.ask);
            if let Some(journal) = journal {
                journal.unknown(&flight.ask, flight.second);
            }
        });
        self.in_flight -= lost;
        match loss {
            Loss::Unopened => tally.failed(&Fault::CannotConnect, now, now),
            Loss::Broken if lost == 0 => tally.failed(&Fault::Broken, now, now),
            Loss::Malformed(why) if lost == 0 => tally.failed(&Fault::Malformed(why), now, now),
            _ => {}
        }
        self.should_stop |= self.config.stop_on_error;
        if was_open {
            self.open -= 1;
        }
        let doubled = PAUSE_MIN * 2_u32.saturating_pow(connection.failures.min(16));
        connection.failures = connection.failures.saturating_add(1);
        let pause = doubled.min(PAUSE_MAX).mul_f64(0.5 + self.random.f64());
        self.reopen.push(Reverse((now + nanos(pause), index)));
    }

    /// Counts an error of one operation.
    #[cold]
    pub(super) fn fail(&mut self, fault: &Fault<'_>, intended: Nanos, now: Nanos) {
        self.tally.failed(fault, intended, now);
        self.should_stop |= self.config.stop_on_error;
    }

    /// Has epoll report what the connection waits for.
    pub(super) fn watch(&mut self, index: usize) -> Result<(), EngineError> {
        let connection = &mut self.connections[index];
        let wanted = connection.wanted();
        connection.interest = wanted;
        let stream = connection
            .stream()
            .map_err(EngineError::io("watch a connection"))?;
        epoll::modify(
            &self.poller,
            stream,
            epoll::EventData::new_u64(index as u64),
            wanted,
        )
        .map_err(EngineError::io("watch a connection"))
    }

    fn open_one(&mut self, index: usize) -> io::Result<()> {
        let until = self.clock.now() + nanos(self.config.connect_timeout);
        let connection = &mut self.connections[index];
        connection.interest = EventFlags::OUT;
        let stream = connection.connect(self.config.address, until)?;
        epoll::add(
            &self.poller,
            stream,
            epoll::EventData::new_u64(index as u64),
            EventFlags::OUT,
        )?;
        Ok(())
    }

    fn try_open_further(&mut self, index: usize, flags: EventFlags) -> Result<(), Unopened> {
        let connection = &mut self.connections[index];
        match connection.state {
            State::Connecting(until) => {
                connection.connected()?;
                self.write_buffer.clear();
                self.load
                    .greeting(connection.number, &mut self.write_buffer);
                if self.write_buffer.is_empty() {
                    connection.state = State::Open;
                    self.open += 1;
                } else {
                    connection.state = State::Greeting(until);
                }
                connection.send(&self.write_buffer)?;
                self.watch(index).map_err(Unopened::Engine)
            }
            State::Greeting(_) => {
                if flags.contains(EventFlags::OUT) {
                    connection.send(&[])?;
                }
                if let Some(filled) = connection.receive(&mut self.read_buffer)? {
                    let bytes = &self.read_buffer[..filled];
                    match self.load.greeted(connection.number, bytes) {
                        Ok(Some(len)) => {
                            connection.keep(&bytes[len.min(filled)..]);
                            connection.state = State::Open;
                            self.open += 1;
                        }
                        Ok(None) => connection.keep(bytes),
                        Err(reason) => return Err(Unopened::Refused(reason)),
                    }
                }
                if connection.wanted() != connection.interest {
                    self.watch(index).map_err(Unopened::Engine)?;
                }
                Ok(())
            }
            State::Open | State::Closed => Ok(()),
        }
    }

    fn not_opened(&self, index: usize, error: Unopened) -> EngineError {
        match error {
            Unopened::Engine(error) => error,
            Unopened::Socket(source) => self.cannot_open(source),
            Unopened::Refused(reason) => EngineError::Greeting {
                address: self.config.address,
                connection: self.connections[index].number,
                reason,
            },
        }
    }

    fn cannot_open(&self, source: io::Error) -> EngineError {
        EngineError::Connect {
            address: self.config.address,
            opened: self.open,
            wanted: self.connections.len() as u32,
            source,
        }
    }
}

/// Why a connection is not open.
enum Unopened {
    /// The socket's error.
    Socket(io::Error),
    /// The server's words.
    Refused(String),
    /// The generator's own fault.
    Engine(EngineError),
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Unopened {
        Unopened::Socket(error)
    }
}
