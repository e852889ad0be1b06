//! When a turn ends: after everything that was ready has been delivered, or at a deadline.
//!
//! glommio runs woken tasks in the order in which they were woken. One pass over the rings wakes every connection that has
//! bytes, one after the other; the first of them to deliver something wakes the turn's task, which therefore runs after all of
//! them: a turn gathers whatever was ready, without a timer and without waiting for what is not. That is also what makes group
//! commit work.
//!
//! The deadline is armed lazily. It moves with nearly every turn, mostly later, and a timer that fires too early costs less than one
//! that is moved at every turn: so the timer is touched only if the deadline came nearer, and looks again when it fires.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::timer::Timer;

use super::watchdog::Pulse;
use crate::types::MonoNanos;

/// Wakes one task of the same executor, however often it is asked to, once.
#[derive(Debug, Default)]
pub(super) struct Signal {
    given: Cell<bool>,
    /// The task that waits; always the same one, so it is asked for only once.
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    /// Gives the signal. The task that waits for it runs after everything that is runnable now.
    #[inline]
    pub(super) fn give(&self) {
        if !self.given.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Whether it was given and not taken.
    pub(super) fn is_given(&self) -> bool {
        self.given.get()
    }

    /// Takes the signal back, if it was given.
    pub(super) fn poll_taken(&self, context: &Context<'_>) -> Poll<()> {
        if self.given.replace(false) {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until the signal is given. One task at a time may wait.
    pub(super) async fn taken(&self) {
        poll_fn(|context| self.poll_taken(context)).await;
    }
}

/// Lets everything run that is runnable now.
pub(super) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The time at which a turn is to end though nothing happens.
#[derive(Debug)]
pub(super) struct Alarm {
    deadline: Cell<Option<MonoNanos>>,
    /// When the timer fires: at the deadline, or before it.
    armed: Cell<Option<MonoNanos>>,
    nearer: Signal,
    /// Shows the watchdog when the timer is to fire.
    pulse: Arc<Pulse>,
}

impl Alarm {
    pub(super) fn new(pulse: Arc<Pulse>) -> Alarm {
        Alarm {
            deadline: Cell::new(None),
            armed: Cell::new(None),
            nearer: Signal::default(),
            pulse,
        }
    }

    /// Sets the deadline; the one before doesn't count any more.
    #[inline]
    pub(super) fn set(&self, deadline: Option<MonoNanos>) {
        self.deadline.set(deadline);
        if let Some(deadline) = deadline
            && self.armed.get().is_none_or(|armed| deadline < armed)
        {
            self.nearer.give();
        }
    }

    fn arm(&self, at: Option<MonoNanos>) {
        self.armed.set(at);
        self.pulse.armed(at);
    }

    /// Whether the deadline is further away than this time.
    pub(super) fn is_after(&self, time: MonoNanos) -> bool {
        self.deadline.get().is_none_or(|deadline| deadline > time)
    }

    /// Waits until the deadline has come, and forgets it. `now` reads the clock.
    pub(super) async fn rung(&self, now: impl Fn() -> MonoNanos) {
        let mut timer: Option<Timer> = None;
        poll_fn(|context| {
            // Whether it was given doesn't matter: the deadline says it all.
            while self.nearer.poll_taken(context).is_ready() {}
            loop {
                let Some(deadline) = self.deadline.get() else {
                    self.arm(None);
                    return Poll::Pending;
                };
                let now = now();
                if deadline <= now {
                    self.deadline.set(None);
                    self.arm(None);
                    return Poll::Ready(());
                }
                let armed = self.armed.get();
                if armed.is_none_or(|armed| armed > deadline || armed <= now) {
                    timer = Some(Timer::new(Duration::from_nanos(deadline.0 - now.0)));
                    self.arm(Some(deadline));
                }
                let armed = timer.as_mut().expect("an armed alarm has its timer");
                if Pin::new(armed).poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.arm(None);
            }
        })
        .await;
    }
}
