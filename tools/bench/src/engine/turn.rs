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
    protocol::{Dialect, Outcome, Step},
    workload::Operation,
};

/// What a reply means for its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged<'a> {
    /// The second request follows.
    Again(Step<'a>),
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
            let oldest = self.connections[index].slots.oldest();
            let reply = match self.dialect.reply(&bytes[at..filled], oldest) {
                Ok(Some(reply)) => reply,
                Ok(None) => break,
                Err(why) => {
                    malformed = Some(why.0);
                    break;
                }
            };
            let whole = &bytes[at..at + reply.len];
            at += reply.len;
            let Some((slot, flight)) = self.connections[index].slots.answered(reply.slot) else {
                malformed = Some("it answers nothing that was asked".into());
                break;
            };
            let judged = judge(self.load, &self.dialect, &flight, reply.outcome, whole);
            if let Judged::Again(step) = judged {
                self.connections[index].slots.again(slot);
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
        if !matches!(judged, Judged::Again(_)) {
            self.load.over(&flight.ask);
        }
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
                    journal.unknown(&flight.ask, flight.second);
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
            second: false,
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
                self.attention.since()
            };
            let lag = self.lag(intended, sending, free_since);
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
        let since = self.attention.since();
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

/// Whether a reply is what was to come. `whole` is all of its bytes.
#[inline]
fn judge<'a, L: Load>(
    load: &L,
    dialect: &L::Dialect,
    flight: &Flight,
    outcome: Outcome<'a>,
    whole: &'a [u8],
) -> Judged<'a> {
    use Operation::{Add, Batch, CompareAndSet, Delete, Get, Put, ReadModifyWrite, Scan};
    const DONE: Judged<'static> = Judged::Ended(Ending::Done);
    let ask = &flight.ask;
    let missed = |keys| {
        if load.may_miss(ask) {
            Judged::Ended(Ending::Missed(keys))
        } else {
            Judged::Failed(Fault::MissingKey)
        }
    };
    if let Outcome::Value { bytes, .. } = outcome
        && matches!(ask.operation, Get | CompareAndSet | ReadModifyWrite)
        && !load.is_right(ask.key, bytes)
    {
        return Judged::Failed(Fault::WrongValue);
    }
    if !flight.second
        && let Some(step) = Step::after(ask.operation, &outcome)
    {
        return Judged::Again(step);
    }
    match (ask.operation, outcome) {
        (_, Outcome::Refused(words)) => Judged::Failed(Fault::Refused(words)),
        (Get, Outcome::Value { .. })
        | (Put | Delete | Add | CompareAndSet | ReadModifyWrite, Outcome::Done) => DONE,
        (Add, Outcome::Counter(sum)) => Judged::Ended(Ending::Counted(sum)),
        // Another client was first between the two requests: it wrote the key, deleted it, or made it.
        (CompareAndSet | Add | ReadModifyWrite, Outcome::Conflict)
        | (CompareAndSet | ReadModifyWrite, Outcome::Missing)
            if flight.second =>
        {
            Judged::Ended(Ending::Conflict)
        }
        (Get | Delete, Outcome::Missing) => missed(1),
        (Batch, Outcome::Many { missing, .. }) => {
            let mut is_right = true;
            dialect.values(ask, whole, &mut |key, bytes| {
                is_right &= load.is_right(key, bytes);
            });
            if !is_right {
                Judged::Failed(Fault::WrongValue)
            } else if missing > 0 {
                missed(missing)
            } else {
                DONE
            }
        }
        (Scan, Outcome::Many { .. }) => DONE,
        _ => Judged::Failed(Fault::WrongReply),
    }
}
