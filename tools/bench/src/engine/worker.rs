//! One thread: its connections, its share of the schedule and its loop.
//!
//! Called in this order: [`Worker::new`], [`Worker::open_all`], [`Worker::begin`], [`Worker::carry_out`].
//!
//! A **round** of the loop is: wait for events, no longer than until something is due; handle them, a turn of each connection; start what is due; every
//! few milliseconds look after timeouts, connections to open again and what is to be handed over.
//!
//! Invariants: `in_flight` is the number of occupied slots of all connections. A connection that is open and has a free slot and something to ask is in
//! `available`, unless its slots are thinking. Nothing starts before `begins` or, but for an open loop's backlog, from `closes` on.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::{
        atomic::AtomicBool,
        mpsc::{Receiver, Sender},
    },
};

use hdrhistogram::Histogram;
use rustix::{
    buffer::spare_capacity,
    event::{
        PollFd, PollFlags, Timespec,
        epoll::{self, EventFlags},
        poll,
    },
    fd::OwnedFd,
};

use super::{
    Config, EngineError, Length, Load, Pace,
    alarm::{ALARM_NANOS, Alarm},
    attention::Attention,
    clock::{Clock, Nanos, nanos},
    connection::{Connection, State},
    slots::Slots,
};
use crate::{
    measure::{
        interval::{Interval, intervals_per_slice},
        journal::Journal,
        tally::Tally,
    },
    protocol::Dialect,
};

/// What one read asks for, in bytes, unless a reply is longer.
const READ_LEN: usize = 256 << 10;
/// Sockets that one call to epoll reports at most: so few that the work of a round stays under a millisecond, and a longer one says that the thread was away.
const EVENTS_MAX: usize = 128;
/// What epoll names the alarm by; connections have their indices.
const ALARM_EVENT: u64 = u64::MAX;

/// What a thread needs of the one that starts it.
pub(super) struct Wiring<'a> {
    pub(super) thread: u32,
    pub(super) clock: Clock,
    /// Set by the caller.
    pub(super) stop: &'a AtomicBool,
    /// Set by the first thread that is to end the run at an error. The caller's is not ours to set: it outlives the run.
    pub(super) failed: &'a AtomicBool,
    pub(super) intervals: Sender<Interval>,
    pub(super) empty: Receiver<Histogram<u64>>,
}

/// A slot whose answer is being thought about.
pub(super) struct Thought {
    pub(super) due: Nanos,
    pub(super) connection: usize,
    pub(super) incarnation: u32,
}

/// What a thread leaves.
pub(super) struct Remains {
    pub(super) tally: Tally,
    pub(super) journal: Option<Journal>,
    /// It stopped before the window's end: asked to, or for want of a server.
    pub(super) gave_up: bool,
}

/// A thread's state.
pub(super) struct Worker<'a, L: Load> {
    pub(super) load: &'a L,
    pub(super) config: &'a Config,
    pub(super) clock: Clock,
    pub(super) stop: &'a AtomicBool,
    pub(super) failed: &'a AtomicBool,
    pub(super) dialect: L::Dialect,
    pub(super) poller: OwnedFd,
    alarm: Alarm,
    events: Vec<epoll::Event>,
    pub(super) connections: Vec<Connection<L::Source>>,
    pub(super) read_buffer: Vec<u8>,
    pub(super) write_buffer: Vec<u8>,
    pub(super) tally: Tally,
    pub(super) journal: Option<Journal>,
    pub(super) in_flight: u64,
    /// Open connections.
    pub(super) open: u32,
    /// Connections whose sources have ended.
    pub(super) dry: u32,
    pub(super) begins: Nanos,
    /// Nothing is started from then on.
    pub(super) closes: Nanos,
    /// Operations that may still be started.
    pub(super) quota: u64,
    pub(super) is_open_loop: bool,
    pub(super) think_nanos: Nanos,
    arrivals: Option<L::Arrivals>,
    /// The intended start of the next arrival; `Nanos::MAX` if there is none.
    pub(super) next_arrival: Nanos,
    /// Connections with a free slot, in turn. Some may have none by now.
    pub(super) available: VecDeque<usize>,
    /// Since when there is one in it.
    pub(super) free_since: Nanos,
    pub(super) thinking: VecDeque<Thought>,
    /// How many arrivals in a row one connection takes.
    pub(super) chunk: u32,
    pub(super) attention: Attention,
    pub(super) reopen: BinaryHeap<Reverse<(Nanos, usize)>>,
    pub(super) random: fastrand::Rng,
    pub(super) next_tick: Nanos,
    pub(super) sweep_at: usize,
    /// When there was a connection last.
    pub(super) connected_at: Nanos,
    pub(super) spin_nanos: Nanos,
    /// CPU time and spin time when the window opened.
    pub(super) opened_with: Option<(Nanos, Nanos)>,
    /// An error has come, where that ends the run.
    pub(super) should_stop: bool,
}

impl<'a, L: Load> Worker<'a, L> {
    pub(super) fn new(
        load: &'a L,
        config: &'a Config,
        wiring: Wiring<'a>,
    ) -> Result<Worker<'a, L>, EngineError> {
        let thread = wiring.thread;
        let poller =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(EngineError::io("make an epoll"))?;
        let alarm = Alarm::new()?;
        let data = epoll::EventData::new_u64(ALARM_EVENT);
        epoll::add(&poller, &alarm, data, EventFlags::IN)
            .map_err(EngineError::io("wait for a timer"))?;
        let (first, count) = config.connections_of(thread);
        let connections = (first..first + count)
            .map(|number| {
                let slots = Slots::new(config.pipeline, L::Dialect::IN_ORDER);
                Connection::new(number, load.source(number), slots)
            })
            .collect();
        let is_open_loop = config.is_open();
        let interval_nanos = nanos(config.slice) / intervals_per_slice(config.slice, config.live);
        Ok(Worker {
            load,
            config,
            clock: wiring.clock,
            stop: wiring.stop,
            failed: wiring.failed,
            dialect: load.dialect(thread),
            poller,
            alarm,
            events: Vec::with_capacity(EVENTS_MAX),
            connections,
            read_buffer: vec![0; READ_LEN],
            write_buffer: Vec::with_capacity(READ_LEN),
            tally: Tally::new(
                thread,
                is_open_loop,
                interval_nanos,
                config.keep_slices,
                wiring.intervals,
                wiring.empty,
            ),
            journal: config.journal.then(Journal::default),
            in_flight: 0,
            open: 0,
            dry: 0,
            begins: 0,
            closes: Nanos::MAX,
            quota: config.quota_of(thread),
            is_open_loop,
            think_nanos: match config.pace {
                Pace::Closed { think } => nanos(think),
                Pace::Open { .. } => 0,
            },
            arrivals: is_open_loop.then(|| load.arrivals(thread, config.threads)),
            next_arrival: Nanos::MAX,
            available: VecDeque::with_capacity(count as usize),
            free_since: 0,
            thinking: VecDeque::new(),
            chunk: 1,
            attention: Attention::new(0),
            reopen: BinaryHeap::new(),
            random: fastrand::Rng::new(),
            next_tick: 0,
            sweep_at: 0,
            connected_at: 0,
            spin_nanos: 0,
            opened_with: None,
            should_stop: false,
        })
    }

    /// The run begins at this time.
    pub(super) fn begin(&mut self, begins: Nanos) {
        self.begins = begins;
        let opens = begins + nanos(self.config.warm_up);
        let closes = match self.config.length {
            Length::Time(time) => Some(opens.saturating_add(nanos(time))),
            Length::Operations(_) | Length::Sources => None,
        };
        self.closes = closes.unwrap_or(Nanos::MAX);
        self.tally.begin(begins, opens, closes);
        self.connected_at = begins;
        self.attention = Attention::new(begins);
        self.advance();
        for index in 0..self.connections.len() {
            self.offer(index, begins);
        }
        // A clock that has not reached the beginning yet would start everything early.
        while self.clock.now() < begins {
            std::hint::spin_loop();
        }
    }

    /// Rounds until all is done that belongs to the window, or the time to drain is over.
    pub(super) fn carry_out(mut self) -> Result<Remains, EngineError> {
        let mut gave_up = false;
        let mut now = self.clock.now();
        loop {
            let timeout = self.timeout(now);
            let entered = now;
            self.wait(timeout)?;
            let returned = self.clock.now();
            let is_behind = self.next_arrival < entered;
            if let Some(pause) = self.attention.round(entered, timeout, returned, is_behind) {
                self.tally.paused(pause.begun, pause.ended);
            }
            let mut is_idle = self.events.is_empty() && timeout == 0;
            for at in 0..self.events.len() {
                let epoll::Event { flags, data } = self.events[at];
                self.event(data.u64() as usize, flags)?;
            }
            is_idle &= !self.dispatch()?;
            now = self.clock.now();
            if is_idle {
                self.spin_nanos += now - entered;
            }
            if now >= self.next_tick {
                gave_up |= self.tick(now)?;
                if self.is_over(now) {
                    break;
                }
            } else if self.in_flight == 0 && self.is_over(now) {
                break;
            }
        }
        self.leave_rest(now);
        self.measure_cpu(now, true);
        let numbers = self.numbers(now);
        self.tally.hand_over_rest(now, numbers);
        Ok(Remains {
            tally: self.tally,
            journal: self.journal,
            gave_up,
        })
    }

    /// Whether an arrival is due that may still be started.
    #[inline]
    pub(super) fn is_due(&self, now: Nanos) -> bool {
        self.next_arrival <= now && self.quota > 0
    }

    /// Goes on to the next arrival.
    #[inline]
    pub(super) fn advance(&mut self) {
        let next = self.arrivals.as_mut().and_then(Iterator::next);
        self.next_arrival = next.map_or(Nanos::MAX, |offset| self.begins.saturating_add(offset));
        // What is meant to start after the window is not part of the run.
        if self.next_arrival >= self.closes {
            self.next_arrival = Nanos::MAX;
        }
    }

    /// Waits for events, so long at most.
    pub(super) fn wait(&mut self, timeout: Nanos) -> Result<(), EngineError> {
        let timespec = |nanos: Nanos| Timespec {
            tv_sec: (nanos / 1_000_000_000) as i64,
            tv_nsec: (nanos % 1_000_000_000) as i64,
        };
        self.events.clear();
        // epoll's timeout has whole milliseconds, rounded up, before Linux 5.11: starts would be half a millisecond late. The epoll instance
        // can be polled itself, to the nanosecond. Without something that is due at a time, that call is saved.
        let is_exact = timeout > 0 && (self.is_open_loop || !self.thinking.is_empty());
        let waited = if is_exact {
            let mut poller = [PollFd::new(&self.poller, PollFlags::IN)];
            poll(&mut poller, Some(&timespec(timeout)))
        } else {
            Ok(0)
        };
        let rest = if is_exact {
            Some(timespec(0))
        } else {
            // The alarm rings before: no need of a timer of this call's own.
            (timeout < ALARM_NANOS).then(|| timespec(timeout))
        };
        let taken = waited.and_then(|_| {
            epoll::wait(
                &self.poller,
                spare_capacity(&mut self.events),
                rest.as_ref(),
            )
        });
        match taken {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(EngineError::io("wait for replies")(error)),
        }
        let is_alarm = |event: &epoll::Event| event.data.u64() == ALARM_EVENT;
        if let Some(at) = self.events.iter().position(is_alarm) {
            self.events.swap_remove(at);
            self.alarm.heard()?;
        }
        Ok(())
    }

    /// What epoll has to say of the connections, one after the other.
    pub(super) fn events(&self) -> impl Iterator<Item = (usize, EventFlags)> + use<L> {
        let events: Vec<_> = self
            .events
            .iter()
            .map(|event| (event.data.u64() as usize, event.flags))
            .collect();
        events.into_iter()
    }

    /// How long may be slept now.
    fn timeout(&mut self, now: Nanos) -> Nanos {
        let tick = self.next_tick.saturating_sub(now);
        let due = if self.is_open_loop {
            if self.next_arrival == Nanos::MAX || self.quota == 0 || !self.has_room() {
                return tick;
            }
            self.next_arrival
        } else if self.has_room() && now < self.closes && self.quota > 0 {
            return 0;
        } else {
            match self.thinking.front() {
                Some(thought) => thought.due,
                None => return tick,
            }
        };
        let spin = if self.is_open_loop {
            nanos(self.config.spin)
        } else {
            0
        };
        tick.min(due.saturating_sub(spin).saturating_sub(now))
    }

    /// One operation less may be started, if this one belongs to the window.
    #[inline]
    pub(super) fn spend_quota(&mut self, intended: Nanos) {
        if intended >= self.tally.opens {
            self.quota -= 1;
        }
    }

    fn event(&mut self, index: usize, flags: EventFlags) -> Result<(), EngineError> {
        match self.connections[index].state {
            State::Open => {
                if flags.contains(EventFlags::OUT) {
                    self.flush(index)?;
                }
                if flags.intersects(EventFlags::IN | EventFlags::ERR | EventFlags::HUP) {
                    self.turn(index)?;
                }
                Ok(())
            }
            State::Closed => Ok(()),
            State::Connecting(_) | State::Greeting(_) => self.open_further(index, flags),
        }
    }
}
