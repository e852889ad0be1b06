//! What is not urgent in a thread's loop, and how a run ends.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    EngineError, Load,
    clock::{Nanos, nanos, thread_cpu},
    worker::Worker,
};
use crate::measure::{errors::Fault, interval::Numbers};

/// How often is looked after what is not urgent.
const TICK_NANOS: Nanos = 5_000_000;
/// Each connection is looked over for timeouts so many times in the length of one.
const SWEEPS_A_TIMEOUT: Nanos = 8;

impl<L: Load> Worker<'_, L> {
    /// What is not urgent. Answers whether there is no point in going on.
    pub(super) fn tick(&mut self, now: Nanos) -> Result<bool, EngineError> {
        self.next_tick = now + TICK_NANOS;
        self.measure_cpu(now, false);
        let count = self.connections.len() as Nanos;
        let slice = (count * TICK_NANOS * SWEEPS_A_TIMEOUT / nanos(self.config.timeout).max(1))
            .clamp(1, count);
        for _ in 0..slice {
            self.sweep_at = (self.sweep_at + 1) % self.connections.len();
            self.look_over(self.sweep_at, now);
        }
        self.reopen_due(now)?;
        if self.is_open_loop {
            self.give_up_old(now);
        }
        if self.open > 0 {
            self.connected_at = now;
        }
        let numbers = self.numbers(now);
        self.tally.hand_over_if_due(now, numbers);
        // A window that ends by the clock waits for a server that is away; one that ends with the last operation would wait for ever.
        let is_hopeless = self.closes == Nanos::MAX
            && now.saturating_sub(self.connected_at) > nanos(self.config.away_max);
        if self.should_stop {
            // The other threads end with this one.
            self.failed.store(true, Ordering::Relaxed);
        }
        let is_set = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let should_end = is_set(self.failed) || is_set(self.stop) || is_hopeless;
        if should_end && now < self.closes {
            self.close_at(now);
            return Ok(true);
        }
        Ok(false)
    }

    /// The window ends at this time: nothing more is started.
    fn close_at(&mut self, now: Nanos) {
        self.closes = now;
        self.tally.closes = now;
        if self.next_arrival >= now {
            self.next_arrival = Nanos::MAX;
        }
    }

    pub(super) fn is_over(&mut self, now: Nanos) -> bool {
        let has_backlog = self.is_open_loop
            && self.next_arrival != Nanos::MAX
            && self.quota > 0
            && !self.is_dry();
        let may_start = has_backlog
            || !self.is_open_loop && now < self.closes && self.quota > 0 && !self.is_dry();
        if self.in_flight == 0 && !may_start {
            // What is between a time to think and the next start was answered.
            return true;
        }
        now >= self.closes.saturating_add(nanos(self.config.drain))
    }

    fn is_dry(&self) -> bool {
        self.dry as usize == self.connections.len()
    }

    /// Counts what is neither answered nor sent when the time to drain is over.
    pub(super) fn leave_rest(&mut self, now: Nanos) {
        for connection in &mut self.connections {
            let (load, tally, journal) = (self.load, &mut self.tally, &mut self.journal);
            connection.slots.clear(|flight| {
                let age = now.saturating_sub(flight.intended);
                tally.unanswered_age = tally.unanswered_age.max(age);
                tally.failed(&Fault::Unanswered, flight.intended, now);
                load.over(&flight.ask);
                if let Some(journal) = journal {
                    journal.unknown(&flight.ask, flight.second);
                }
            });
        }
        self.in_flight = 0;
        if !self.is_dry() {
            while self.next_arrival != Nanos::MAX && self.quota > 0 {
                self.tally.not_sent(self.next_arrival, now);
                self.quota -= 1;
                self.advance();
            }
        }
    }

    /// Arrivals that have waited too long for a slot will not be sent.
    fn give_up_old(&mut self, now: Nanos) {
        let wait_max = nanos(self.config.wait_max);
        while self.next_arrival != Nanos::MAX
            && now.saturating_sub(self.next_arrival) > wait_max
            && self.quota > 0
        {
            self.tally.not_sent(self.next_arrival, now);
            self.spend_quota(self.next_arrival);
            self.advance();
        }
    }

    pub(super) fn measure_cpu(&mut self, now: Nanos, is_end: bool) {
        if now < self.tally.opens {
            return;
        }
        match self.opened_with {
            None => self.opened_with = Some((thread_cpu(), self.spin_nanos)),
            Some((cpu, spin)) if (now >= self.closes || is_end) && self.tally.cpu_nanos == 0 => {
                self.tally.cpu_nanos = thread_cpu() - cpu;
                self.tally.spin_nanos = self.spin_nanos - spin;
                self.tally.measured_nanos = now - self.tally.opens;
            }
            Some(_) => {}
        }
    }

    pub(super) fn numbers(&self, now: Nanos) -> Numbers {
        Numbers {
            in_flight: self.in_flight,
            open: self.open,
            behind_nanos: if self.next_arrival == Nanos::MAX {
                0
            } else {
                now.saturating_sub(self.next_arrival)
            },
            ..Numbers::default()
        }
    }
}
