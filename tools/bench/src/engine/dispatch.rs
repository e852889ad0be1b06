//! Starting operations: which connection takes what is due.
//!
//! Connections with a free slot stand in a line. In an open loop each that comes to its front takes one arrival, or a few in a row if more are due than a
//! round can hand out one by one: then the same number of writes carries more. In a closed loop it fills all its slots at once.

use super::{
    EngineError, Load, Source,
    clock::Nanos,
    connection::State,
    slots::Flight,
    worker::{Thought, Worker},
};
use crate::protocol::{Dialect, Step};

/// Connections that are written to before answers are looked for again.
const WRITES_A_ROUND: usize = 64;

impl<L: Load> Worker<'_, L> {
    /// Puts a connection in the line, if it takes more. It does since this moment.
    pub(super) fn offer(&mut self, index: usize, since: Nanos) {
        if !self.connections[index].takes_more() {
            return;
        }
        if !self.has_room() {
            self.free_since = since;
        }
        let connection = &mut self.connections[index];
        if !connection.is_listed {
            connection.is_listed = true;
            self.available.push_back(index);
        }
    }

    /// Whether some connection takes more.
    pub(super) fn has_room(&mut self) -> bool {
        while let Some(&index) = self.available.front() {
            let connection = &mut self.connections[index];
            if connection.takes_more() {
                return true;
            }
            connection.is_listed = false;
            self.available.pop_front();
        }
        false
    }

    /// Starts what is due. Answers whether that was anything.
    pub(super) fn dispatch(&mut self) -> Result<bool, EngineError> {
        if self.is_open_loop {
            self.dispatch_arrivals()
        } else {
            self.dispatch_thoughts()?;
            self.dispatch_free()
        }
    }

    fn dispatch_arrivals(&mut self) -> Result<bool, EngineError> {
        let mut writes = 0;
        while self.next_arrival != Nanos::MAX && self.has_room() {
            let now = self.clock.now();
            if !self.is_due(now) {
                break;
            }
            if writes == WRITES_A_ROUND {
                self.chunk = (self.chunk * 2).min(self.config.pipeline);
                return Ok(true);
            }
            writes += 1;
            let Some(index) = self.available.pop_front() else {
                break;
            };
            self.connections[index].is_listed = false;
            self.write_buffer.clear();
            let mut taken = 0;
            while taken < self.chunk && self.is_due(now) && self.start_arrival(index, now) {
                taken += 1;
            }
            self.send(index)?;
            // Behind the others, with what room it has left; the moment since which there is room stays.
            let since = self.free_since;
            self.offer(index, since);
        }
        if writes < WRITES_A_ROUND / 2 {
            self.chunk = (self.chunk / 2).max(1);
        }
        Ok(writes > 0)
    }

    /// Builds the next arrival's request, if this connection takes it.
    fn start_arrival(&mut self, index: usize, now: Nanos) -> bool {
        let intended = self.next_arrival;
        let lag = self.lag(intended, now, self.free_since);
        if !self.start(index, intended, now) {
            return false;
        }
        self.tally.started(intended, now, lag);
        self.advance();
        true
    }

    /// How late an operation is sent through the generator's own fault, with room for it since `free_since`.
    #[inline]
    pub(super) fn lag(&self, intended: Nanos, sent: Nanos, free_since: Nanos) -> Nanos {
        let with_room = sent.saturating_sub(intended.max(free_since));
        let wait = sent.saturating_sub(intended);
        with_room.max(self.attention.share_of(wait))
    }

    /// Slots whose time to think is over.
    fn dispatch_thoughts(&mut self) -> Result<(), EngineError> {
        let mut writes = 0;
        while let Some(thought) = self.thinking.front() {
            let now = self.clock.now();
            if thought.due > now || writes == WRITES_A_ROUND {
                break;
            }
            let &Thought {
                connection: index,
                incarnation,
                ..
            } = thought;
            self.thinking.pop_front();
            let connection = &self.connections[index];
            // A connection that was opened again meanwhile has filled all its slots anew.
            if connection.incarnation == incarnation
                && connection.takes_more()
                && now < self.closes
                && self.quota > 0
            {
                self.write_buffer.clear();
                if self.start(index, now, now) {
                    self.tally.started(now, now, 0);
                }
                self.send(index)?;
                writes += 1;
            }
        }
        Ok(())
    }

    /// Fills connections that have just begun.
    fn dispatch_free(&mut self) -> Result<bool, EngineError> {
        let mut writes = 0;
        while self.has_room() && writes < WRITES_A_ROUND {
            let now = self.clock.now();
            if now >= self.closes || self.quota == 0 {
                break;
            }
            let Some(index) = self.available.pop_front() else {
                break;
            };
            self.connections[index].is_listed = false;
            self.write_buffer.clear();
            while self.quota > 0 && self.connections[index].takes_more() {
                if !self.start(index, now, now) {
                    break;
                }
                self.tally.started(now, now, 0);
            }
            self.send(index)?;
            writes += 1;
        }
        Ok(writes > 0)
    }

    /// Builds one operation's request into the write buffer and occupies a slot for it. `false` if the connection takes no more.
    fn start(&mut self, index: usize, intended: Nanos, now: Nanos) -> bool {
        let connection = &mut self.connections[index];
        if !connection.takes_more() {
            return false;
        }
        let Some(ask) = connection.source.next(intended - self.begins) else {
            connection.is_dry = true;
            self.dry += 1;
            return false;
        };
        let flight = Flight {
            ask,
            second: false,
            intended,
            sent: now,
        };
        let Some(slot) = connection.slots.take(flight) else {
            return false;
        };
        self.dialect
            .request(slot, &ask, Step::First, &mut self.write_buffer);
        self.in_flight += 1;
        self.spend_quota(intended);
        true
    }

    /// Sends what was built, or what is left from before.
    pub(super) fn send(&mut self, index: usize) -> Result<(), EngineError> {
        let connection = &mut self.connections[index];
        if connection.state == State::Closed {
            return Ok(());
        }
        connection.slots.sent(self.clock.now());
        match connection.send(&self.write_buffer) {
            Ok(false) => Ok(()),
            Ok(true) => self.watch(index),
            Err(_) => {
                self.lose(index, &super::links::Loss::Broken);
                Ok(())
            }
        }
    }

    /// Sends what is left from before.
    pub(super) fn flush(&mut self, index: usize) -> Result<(), EngineError> {
        self.write_buffer.clear();
        self.send(index)
    }
}
