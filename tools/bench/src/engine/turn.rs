//! Answers: one turn of one connection that has something to read.
//!
//! Read once, whatever is there; for each whole reply judge it, end its operation or send its second step, and let the next operation take the slot; then
//! write all that was built at once.

use super::{
    EngineError, Load, Source,
    links::Loss,
    slots::Flight,
    worker::{Thought, Worker},
};
use crate::{
    measure::{errors::Fault, tally::Ending},
    protocol::{Dialect, Outcome, Step, Token},
    workload::{Ask, Operation},
};

/// What a reply means for its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged<'a> {
    /// The second request follows.
    Again(Token),
    Ended(Ending),
    Failed(Fault<'a>),
}

impl<L: Load> Worker<'_, L> {
    /// One turn. An error of the connection ends the connection alone.
    pub(super) fn turn(&mut self, index: usize) -> Result<(), EngineError> {
        let arrived = self.clock.now();
        let filled = match self.connections[index].receive(&mut self.read_buffer) {
            Ok(Some(filled)) => filled,
            Ok(None) => return Ok(()),
            Err(_) => {
                self.lose(index, &Loss::Broken);
                return Ok(());
            }
        };
        let sending = self.clock.now();
        // The buffer is lent for the turn, so that replies may point into it while slots and notes change.
        let bytes = std::mem::take(&mut self.read_buffer);
        self.write_buffer.clear();
        let mut at = 0;
        let mut malformed = None;
        while at < filled {
            let slots = &self.connections[index].slots;
            let ask = |named| slots.peek(named).map(|flight| (flight.ask, flight.step));
            let reply = match self.dialect.reply(&bytes[at..filled], &ask) {
                Ok(Some(reply)) => reply,
                Ok(None) => break,
                Err(why) => {
                    malformed = Some(why.0);
                    break;
                }
            };
            at += reply.len;
            let Some((slot, flight)) = self.connections[index].slots.answered(reply.slot) else {
                malformed = Some("it answers nothing that was asked".into());
                break;
            };
            let judged = judge(self.load, &flight.ask, flight.step, reply.outcome);
            if let Judged::Again(token) = judged {
                let step = Step::Second(token);
                self.connections[index].slots.again(slot, step);
                self.dialect
                    .request(slot, &flight.ask, step, &mut self.write_buffer);
            } else {
                self.note(&flight, judged, arrived);
                self.refill(index, slot, arrived, sending);
            }
        }
        let connection = &mut self.connections[index];
        if malformed.is_none() {
            connection.keep(&bytes[at..filled]);
        }
        self.read_buffer = bytes;
        if let Some(why) = malformed {
            // What was built for slots of this turn is lost with the connection, and counted so.
            self.lose(index, &Loss::Malformed(&why));
            return Ok(());
        }
        self.connections[index].failures = 0;
        if self.write_buffer.is_empty() {
            return Ok(());
        }
        self.send(index)
    }

    /// Notes how an operation ended.
    #[inline]
    fn note(&mut self, flight: &Flight, judged: Judged<'_>, arrived: u64) {
        match judged {
            Judged::Again(_) => {}
            Judged::Ended(ending) => {
                self.tally.ended(
                    &flight.ask,
                    self.load.server_core(flight.ask.key),
                    ending,
                    flight.intended,
                    flight.sent,
                    arrived,
                );
                if let Some(journal) = &mut self.journal {
                    journal.ended(&flight.ask, ending);
                }
            }
            Judged::Failed(fault) => {
                self.fail(&fault, flight.intended, arrived);
                if let Some(journal) = &mut self.journal {
                    journal.unknown(&flight.ask, flight.step);
                }
            }
        }
    }

    /// Gives a slot whose operation has ended to the next one.
    #[inline]
    fn refill(&mut self, index: usize, slot: u32, arrived: u64, sending: u64) {
        let intended = if self.is_open_loop {
            if !self.is_due(sending) {
                self.free(index, slot);
                return;
            }
            self.next_arrival
        } else if self.think_nanos == 0 && sending < self.closes && self.quota > 0 {
            sending
        } else {
            self.free_to_think(index, slot, arrived);
            return;
        };
        let connection = &mut self.connections[index];
        let Some(ask) = connection.source.next(intended - self.begins) else {
            if !connection.is_dry {
                connection.is_dry = true;
                self.dry += 1;
            }
            connection.slots.release(slot);
            self.in_flight -= 1;
            return;
        };
        let flight = Flight {
            ask,
            step: Step::First,
            intended,
            sent: sending,
        };
        connection.slots.replace(slot, flight);
        self.dialect
            .request(slot, &ask, Step::First, &mut self.write_buffer);
        self.spend_quota(intended);
        if self.is_open_loop {
            let free_since = if self.has_room() {
                self.free_since
            } else {
                self.attentive_since
            };
            let lag = sending.saturating_sub(intended.max(free_since));
            self.tally.started(intended, sending, lag);
            self.advance();
        } else {
            self.tally.started(sending, sending, 0);
        }
    }

    /// Nothing waits for this slot.
    fn free(&mut self, index: usize, slot: u32) {
        self.connections[index].slots.release(slot);
        self.in_flight -= 1;
        let since = self.attentive_since;
        self.offer(index, since);
    }

    /// The next operation of this slot comes after a time to think, if at all.
    fn free_to_think(&mut self, index: usize, slot: u32, arrived: u64) {
        let connection = &mut self.connections[index];
        connection.slots.release(slot);
        self.in_flight -= 1;
        if self.think_nanos > 0 && arrived < self.closes {
            self.thinking.push_back(Thought {
                due: arrived + self.think_nanos,
                connection: index,
                incarnation: connection.incarnation,
            });
        }
    }
}

/// Whether a reply is what was to come.
#[inline]
fn judge<'a, L: Load>(load: &L, ask: &Ask, step: Step, outcome: Outcome<'a>) -> Judged<'a> {
    use Operation::{Add, Batch, CompareAndSet, Delete, Get, Put, ReadModifyWrite, Scan};
    const DONE: Judged<'static> = Judged::Ended(Ending::Done);
    let missed = |keys| {
        if load.may_miss(ask) {
            Judged::Ended(Ending::Missed(keys))
        } else {
            Judged::Failed(Fault::MissingKey)
        }
    };
    let has_read = |bytes: &[u8], then: Judged<'a>| {
        if load.is_right(ask, bytes) {
            then
        } else {
            Judged::Failed(Fault::WrongValue)
        }
    };
    match (ask.operation, step, outcome) {
        (_, _, Outcome::Refused(words)) => Judged::Failed(Fault::Refused(words)),
        (Get, _, Outcome::Value { bytes, .. }) => has_read(bytes, DONE),
        (CompareAndSet | ReadModifyWrite, Step::First, Outcome::Value { bytes, token }) => {
            has_read(bytes, Judged::Again(token))
        }
        (Put | Delete | Add, _, Outcome::Done)
        | (Add, _, Outcome::Value { .. })
        | (CompareAndSet | ReadModifyWrite, Step::Second(_), Outcome::Done) => DONE,
        // Another client deleted it between the two requests.
        (CompareAndSet, Step::Second(_), Outcome::Conflict | Outcome::Missing) => {
            Judged::Ended(Ending::Conflict)
        }
        (Get | Delete, _, Outcome::Missing)
        | (CompareAndSet | ReadModifyWrite, Step::First, Outcome::Missing) => missed(1),
        (Batch | Scan, _, Outcome::Many { missing: 0, .. }) => DONE,
        (Batch | Scan, _, Outcome::Many { missing, .. }) => missed(missing),
        _ => Judged::Failed(Fault::WrongReply),
    }
}
