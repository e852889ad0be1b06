//! What one thread notes down. Recording an operation is a few additions in memory that is there already.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, Sender},
};

use hdrhistogram::Histogram;

use super::{
    distribution::histogram,
    errors::{Errors, Fault},
    interval::{Interval, Numbers, Phase},
};
use crate::{
    engine::clock::Nanos,
    workload::{Ask, Heat, Operation},
};

/// Cores of a server that are told apart; keys of those beyond are counted as of none.
const SERVER_CORES_MAX: u32 = 256;

/// The latencies of one operation on keys of one heat and one core.
#[derive(Debug)]
pub(crate) struct Series {
    /// In an open loop alone.
    pub(crate) response: Option<Histogram<u64>>,
    pub(crate) service: Histogram<u64>,
}

/// A thread's notes.
#[derive(Debug)]
pub(crate) struct Tally {
    is_open_loop: bool,
    /// The window ends at a time, and not with a number of operations.
    is_timed: bool,
    /// The window: from … to before. Unknown until a run begins, and its end in some runs until it comes.
    pub(crate) opens: Nanos,
    pub(crate) closes: Nanos,
    /// By core, operation and heat; made when first used, in the warm-up where there is one.
    series: Vec<Option<Box<Series>>>,
    pub(crate) lag: Histogram<u64>,
    /// How long the thread was away at a time, while the window was open or its operations in flight.
    pub(crate) pauses: Histogram<u64>,
    /// Ended in the window.
    pub(crate) operations: u64,
    /// When the last one ended.
    pub(crate) last_end: Nanos,
    pub(crate) conflicts: u64,
    pub(crate) misses: u64,
    /// Arrivals in the window.
    pub(crate) intended: u64,
    /// Started in the window.
    pub(crate) sent: u64,
    pub(crate) errors: Errors,
    /// Before the window.
    pub(crate) warm_up_errors: u64,
    /// What the first error was, for a person.
    pub(crate) first_error: Option<String>,
    /// Longest wait of what was never answered, so far.
    pub(crate) unanswered_age: Nanos,
    /// Longest wait of what was never sent.
    pub(crate) not_sent_age: Nanos,
    /// CPU time in the window, and how much of it went into looking at the clock.
    pub(crate) cpu_nanos: Nanos,
    pub(crate) spin_nanos: Nanos,
    /// How long both were counted.
    pub(crate) measured_nanos: Nanos,
    handover: Handover,
}

/// What is handed over during the run.
#[derive(Debug)]
struct Handover {
    thread: u32,
    interval_nanos: Nanos,
    /// What is being filled began and ends at these times. An interval lies in one phase, whole intervals begin with the window.
    begun: Nanos,
    ends: Nanos,
    numbers: Numbers,
    filling: Histogram<u64>,
    /// By operation, if that is kept.
    by_operation: Option<BTreeMap<Operation, Histogram<u64>>>,
    operations: u64,
    errors: u64,
    /// Until the end.
    to: Option<Sender<Interval>>,
    empty: Receiver<Histogram<u64>>,
}

/// How an operation ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As asked.
    Done,
    /// As asked, and this is what the counter holds since.
    Counted(i64),
    /// So many keys were not there, which may be.
    Missed(u32),
    /// A compare-and-set lost its race.
    Conflict,
}

impl Tally {
    pub(crate) fn new(
        thread: u32,
        is_open_loop: bool,
        interval_nanos: Nanos,
        keeps_operations: bool,
        to: Sender<Interval>,
        empty: Receiver<Histogram<u64>>,
    ) -> Tally {
        Tally {
            is_open_loop,
            is_timed: true,
            opens: Nanos::MAX,
            closes: Nanos::MAX,
            series: Vec::new(),
            lag: histogram(),
            pauses: histogram(),
            operations: 0,
            last_end: 0,
            conflicts: 0,
            misses: 0,
            intended: 0,
            sent: 0,
            errors: Errors::default(),
            warm_up_errors: 0,
            first_error: None,
            unanswered_age: 0,
            not_sent_age: 0,
            cpu_nanos: 0,
            spin_nanos: 0,
            measured_nanos: 0,
            handover: Handover {
                thread,
                interval_nanos,
                begun: 0,
                ends: Nanos::MAX,
                numbers: Numbers::default(),
                filling: histogram(),
                by_operation: keeps_operations.then(BTreeMap::new),
                operations: 0,
                errors: 0,
                to: Some(to),
                empty,
            },
        }
    }

    /// The run begins; the window opens and closes at these times. A window without a time closes when all is done that belongs to it.
    pub(crate) fn begin(&mut self, begins: Nanos, opens: Nanos, closes: Option<Nanos>) {
        self.opens = opens;
        self.closes = closes.unwrap_or(Nanos::MAX);
        self.is_timed = closes.is_some();
        self.next_interval(begins);
    }

    /// Whether something that was meant to happen then belongs to the window.
    #[inline]
    pub(crate) fn belongs(&self, intended: Nanos) -> bool {
        intended >= self.opens && intended < self.closes
    }

    /// An operation was sent, so long after it could have been.
    #[inline]
    pub(crate) fn started(&mut self, intended: Nanos, sent: Nanos, lag: Nanos) {
        if self.belongs(sent) {
            self.sent += 1;
        }
        if self.is_open_loop && self.belongs(intended) {
            self.intended += 1;
            self.lag.saturating_record(lag);
        }
    }

    /// The thread was away from … to.
    #[cold]
    pub(crate) fn paused(&mut self, from: Nanos, to: Nanos) {
        let pause = to.saturating_sub(from.max(self.opens));
        if pause > 0 {
            self.pauses.saturating_record(pause);
        }
    }

    /// An operation ended well.
    #[inline]
    pub(crate) fn ended(
        &mut self,
        ask: &Ask,
        server_core: Option<u32>,
        ending: Ending,
        intended: Nanos,
        sent: Nanos,
        now: Nanos,
    ) {
        let response = now.saturating_sub(if self.is_open_loop { intended } else { sent });
        if now >= self.handover.ends {
            self.hand_over(now);
        }
        self.handover.operations += 1;
        self.handover.filling.saturating_record(response);
        if let Some(by_operation) = &mut self.handover.by_operation {
            let of_operation = by_operation.entry(ask.operation);
            of_operation
                .or_insert_with(histogram)
                .saturating_record(response);
        }
        let is_in_window = self.belongs(intended);
        if (self.is_timed && self.belongs(now)) || (!self.is_timed && is_in_window) {
            self.operations += 1;
        }
        let is_open_loop = self.is_open_loop;
        let series = self.series(ask.operation, ask.heat, server_core);
        if is_in_window {
            series.service.saturating_record(now.saturating_sub(sent));
            if is_open_loop && let Some(histogram) = &mut series.response {
                histogram.saturating_record(response);
            }
            self.last_end = self.last_end.max(now);
            match ending {
                Ending::Done | Ending::Counted(_) => {}
                Ending::Missed(keys) => self.misses += u64::from(keys),
                Ending::Conflict => self.conflicts += 1,
            }
        }
    }

    /// Something went wrong with what was meant to happen at `intended`.
    #[cold]
    pub(crate) fn failed(&mut self, fault: &Fault<'_>, intended: Nanos, now: Nanos) {
        if now >= self.handover.ends {
            self.hand_over(now);
        }
        self.handover.errors += 1;
        if self.belongs(intended) {
            self.errors.count(fault, 1);
            self.last_end = self.last_end.max(now);
        } else if intended < self.opens {
            self.warm_up_errors += 1;
        }
        if self.first_error.is_none() {
            self.first_error = Some(fault.kind());
        }
    }

    /// An arrival is given up that was never sent.
    #[cold]
    pub(crate) fn not_sent(&mut self, intended: Nanos, now: Nanos) {
        if self.belongs(intended) {
            self.intended += 1;
        }
        self.not_sent_age = self.not_sent_age.max(now.saturating_sub(intended));
        self.failed(&Fault::NotSent, intended, now);
    }

    /// Hands over what is due, with what is so at the moment.
    pub(crate) fn hand_over_if_due(&mut self, now: Nanos, numbers: Numbers) {
        self.handover.numbers = numbers;
        if now >= self.handover.ends {
            self.hand_over(now);
        }
    }

    /// Hands over what is left; nothing more comes from this thread.
    pub(crate) fn hand_over_rest(&mut self, now: Nanos, numbers: Numbers) {
        self.handover.numbers = numbers;
        self.hand_over(now);
        self.handover.to = None;
    }

    #[cold]
    fn hand_over(&mut self, now: Nanos) {
        let handover = &mut self.handover;
        let (phase, index) = if handover.begun < self.opens {
            (Phase::WarmUp, 0)
        } else if handover.begun >= self.closes {
            (Phase::Drain, 0)
        } else {
            let since = handover.begun - self.opens;
            (Phase::Window, since / handover.interval_nanos)
        };
        let fresh = handover.empty.try_recv();
        let full = std::mem::replace(&mut handover.filling, fresh.unwrap_or_else(|_| histogram()));
        let numbers = Numbers {
            operations: std::mem::take(&mut handover.operations),
            errors: std::mem::take(&mut handover.errors),
            ..handover.numbers
        };
        let by_operation = handover.by_operation.as_mut().map(std::mem::take);
        let by_operation = by_operation.unwrap_or_default();
        if let Some(to) = &handover.to {
            // If nobody listens any more, the run is over.
            let _ = to.send(Interval {
                thread: handover.thread,
                phase,
                index,
                numbers,
                response_nanos: full,
                by_operation,
            });
        }
        self.next_interval(now);
    }

    /// What is filled from now on ends with its interval or with the phase.
    fn next_interval(&mut self, now: Nanos) {
        let length = self.handover.interval_nanos;
        (self.handover.begun, self.handover.ends) = if now < self.opens {
            (now, (now + length).min(self.opens))
        } else if now < self.closes {
            let begun = self.opens + (now - self.opens) / length * length;
            (begun, (begun + length).min(self.closes))
        } else {
            (now, now + length)
        };
    }

    /// Each series that has anything, with what it is of.
    pub(crate) fn each_series(&self, mut each: impl FnMut(Operation, Heat, Option<u32>, &Series)) {
        for (index, series) in self.series.iter().enumerate() {
            if let Some(series) = series
                && !series.service.is_empty()
            {
                let heat = if index % 2 == 0 {
                    Heat::Hot
                } else {
                    Heat::Cold
                };
                let operation = Operation::ALL[index / 2 % Operation::ALL.len()];
                let core = (index / 2 / Operation::ALL.len()).checked_sub(1);
                each(operation, heat, core.map(|core| core as u32), series);
            }
        }
    }

    #[inline]
    fn series(&mut self, operation: Operation, heat: Heat, core: Option<u32>) -> &mut Series {
        let core = match core {
            Some(core) if core < SERVER_CORES_MAX => core as usize + 1,
            _ => 0,
        };
        let heat = match heat {
            Heat::Hot => 0,
            Heat::Cold => 1,
        };
        let index = (core * Operation::ALL.len() + operation as usize) * 2 + heat;
        if index >= self.series.len() {
            self.series.resize_with(index + 1, || None);
        }
        let is_open_loop = self.is_open_loop;
        self.series[index].get_or_insert_with(|| {
            Box::new(Series {
                response: is_open_loop.then(histogram),
                service: histogram(),
            })
        })
    }
}
