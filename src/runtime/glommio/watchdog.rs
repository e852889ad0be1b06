//! Wakes an executor that sleeps though it has work.
//!
//! glommio (0.9) looks at its rings, which may make tasks runnable, and then runs them unless the preemption timer has fired
//! already. If it has, because the thread was off its core for a millisecond just there, glommio takes "nothing ran" for
//! "nothing to run" and parks with runnable tasks. Any later event wakes it, but if everyone waits for those tasks none comes.
//! A timer in each executor would cure it and cost an idle core 1.3 % at 5 ms; and it can be lost in the same way.
//!
//! So one thread watches from outside. Each executor shows a [`Pulse`]: how many turns it has ended because something was
//! delivered, and how often others have sent it something. An executor without progress for [`GAP_FIRST`] is **poked**: a task that
//! does nothing but count is woken. Tasks run in the order in which they were woken, so a counted poke proves that everything that was
//! runnable before has run. Until it is counted the executor is poked again at every tick; once it is, the next poke comes after
//! twice the time. So:
//!
//! - an executor that got stuck gets on after about as long as it had been quiet before, at least [`GAP_FIRST`];
//! - one that is idle is poked a few times, and then left alone ([`GAP_LAST`]), and the watchdog sleeps when all are;
//! - a busy one is never poked, and what it pays are a plain store and two loads a turn.
//!
//! An executor may also park before it has run anything at all, and then there is nothing that could be poked. So it is proven
//! before it gets work ([`Executor::prove`](super::executor::Executor::prove)), which leaves the task that is poked behind, and it is
//! poked from the start.
//!
//! The one gap: an executor that has been quiet for longer than that, and gets stuck on the first thing that comes over a socket, shows
//! nothing. It has connections then, whose housekeeping timer wakes it within half a second; and if that timer is lost too,
//! the watchdog finds it overdue when it looks, which it does every [`BACKSTOP`] even in its sleep.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use super::clock::SystemClock;
use crate::ports::Clock;
use crate::types::MonoNanos;

/// An executor without progress for so long is poked, and the watchdog looks this often while any makes progress.
const GAP_FIRST: Duration = Duration::from_millis(5);
/// An executor that has answered a poke after so long without progress is left alone.
const GAP_LAST: Duration = Duration::from_millis(500);
/// How often the watchdog looks while all executors are left alone.
const BACKSTOP: Duration = Duration::from_millis(500);
/// An executor that doesn't answer so many pokes is not asleep but held up; it is poked at [`GAP_LAST`] from then on, because
/// glommio counts each unanswered one in 15 bits.
const POKES_QUICK: u32 = 100;

const NOT_ARMED: u64 = u64::MAX;

/// What the watchdog sees of one executor.
#[derive(Debug)]
pub struct Pulse {
    /// Turns that ended because something was delivered. Written by the executor alone.
    turns: AtomicU64,
    /// When the executor's timer fires, in nanoseconds of the node's clock.
    armed: AtomicU64,
    /// How often other threads sent something to the executor.
    inbound: AtomicU64,
    /// How often the poked task has run.
    answered: AtomicU64,
    poked: Mutex<Option<Waker>>,
    /// The executor naps, or is about to look for the last time before it does.
    napping: AtomicBool,
    /// What ends its naps.
    call: OnceLock<Arc<OwnedFd>>,
    thread: Arc<WatchdogThread>,
}

/// How to wake the watchdog.
#[derive(Debug, Default)]
struct WatchdogThread {
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

impl WatchdogThread {
    /// A word that is missed because the watchdog is just lying down costs no more than [`BACKSTOP`]: not worth a fence a turn.
    #[inline]
    fn wake(&self) {
        if self.asleep.load(Ordering::Relaxed) {
            self.asleep.store(false, Ordering::Relaxed);
            if let Some(thread) = self.thread.get() {
                thread.unpark();
            }
        }
    }
}

impl Pulse {
    /// One for each shard.
    #[must_use]
    pub fn all(shard_count: u16) -> Vec<Arc<Pulse>> {
        let thread = Arc::<WatchdogThread>::default();
        let pulse = |_| {
            Arc::new(Pulse {
                turns: AtomicU64::new(0),
                armed: AtomicU64::new(NOT_ARMED),
                inbound: AtomicU64::new(0),
                answered: AtomicU64::new(0),
                poked: Mutex::new(None),
                napping: AtomicBool::new(false),
                call: OnceLock::new(),
                thread: Arc::clone(&thread),
            })
        };
        (0..shard_count).map(pulse).collect()
    }

    /// A turn has ended; `delivered` says whether anything but the alarm had asked for it.
    #[inline]
    pub(super) fn turn_ended(&self, delivered: bool) {
        if delivered {
            let turns = self.turns.load(Ordering::Relaxed);
            self.turns.store(turns + 1, Ordering::Relaxed);
            self.thread.wake();
        }
    }

    /// The executor's timer is to fire at this time; none: it has none.
    pub(super) fn armed(&self, at: Option<MonoNanos>) {
        let at = at.map_or(NOT_ARMED, |at| at.0);
        self.armed.store(at, Ordering::Relaxed);
    }

    /// Another thread has sent something to the executor.
    #[inline]
    pub(super) fn sent_to(&self) {
        self.inbound.fetch_add(1, Ordering::SeqCst);
        // What was sent is there before this is read: either the executor finds it, or this finds that it naps.
        if self.napping.load(Ordering::SeqCst)
            && self.napping.swap(false, Ordering::SeqCst)
            && let Some(call) = self.call.get()
        {
            // It fails only where calls beyond number are there already.
            let _ = rustix::io::write(call, &1u64.to_ne_bytes());
        }
        self.thread.wake();
    }

    /// The executor's naps end when this is written to.
    pub(super) fn called_by(&self, call: Arc<OwnedFd>) {
        // There is one executor for a shard.
        let _ = self.call.set(call);
    }

    /// The executor is going to nap, if it finds nothing that was sent before this; or it has.
    #[inline]
    pub(super) fn naps(&self, naps: bool) {
        self.napping.store(naps, Ordering::SeqCst);
    }

    /// This wakes the task that is to be poked.
    pub(super) fn poked_by(&self, waker: Waker) {
        let mut poked = self.poked.lock().unwrap_or_else(PoisonError::into_inner);
        *poked = Some(waker);
    }

    /// The task that is poked: counts each time, shows how it is woken, and never ends.
    pub(super) async fn answer(&self, show: impl Fn(&Waker)) {
        poll_fn(|context| {
            self.answered.fetch_add(1, Ordering::Relaxed);
            show(context.waker());
            Poll::<()>::Pending
        })
        .await;
    }

    fn poke(&self) {
        let poked = self.poked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*poked {
            waker.wake_by_ref();
        }
    }

    fn shown(&self) -> Shown {
        Shown {
            progress: (
                self.turns.load(Ordering::Relaxed),
                self.inbound.load(Ordering::Relaxed),
            ),
            answered: self.answered.load(Ordering::Relaxed),
            armed: self.armed.load(Ordering::Relaxed),
        }
    }
}

/// What an executor shows at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    progress: (u64, u64),
    answered: u64,
    armed: u64,
}

/// What the watchdog knows of one executor, and decides about it.
#[derive(Debug)]
struct Vigil {
    progress: (u64, u64),
    /// How long after the last progress, or the last poke that was answered, the next poke comes.
    gap: Duration,
    /// When it is to be poked; none while it is left alone.
    poke_at: Option<MonoNanos>,
    /// What was answered when it was poked, while it is not known to have answered.
    unanswered: Option<u64>,
    /// Pokes since then.
    pokes: u32,
}

impl Vigil {
    fn new() -> Vigil {
        Vigil {
            progress: (0, 0),
            gap: GAP_FIRST,
            poke_at: None,
            unanswered: None,
            pokes: 0,
        }
    }

    /// Of an executor that is about to run: its first tasks may be what it parks with.
    fn of_start(now: MonoNanos) -> Vigil {
        Vigil {
            poke_at: Some(now),
            ..Vigil::new()
        }
    }

    /// Whether to poke the executor now.
    fn look(&mut self, now: MonoNanos, shown: &Shown) -> bool {
        if shown.progress != self.progress {
            self.progress = shown.progress;
            self.unanswered = None;
            self.pokes = 0;
            self.gap = GAP_FIRST;
            self.poke_at = Some(later(now, GAP_FIRST));
            return false;
        }
        if self
            .unanswered
            .is_some_and(|before| before != shown.answered)
        {
            self.unanswered = None;
            self.pokes = 0;
            self.gap *= 2;
            self.poke_at = (self.gap <= GAP_LAST).then(|| later(now, self.gap));
        }
        let overdue = shown.armed != NOT_ARMED && later(MonoNanos(shown.armed), GAP_FIRST) < now;
        if self.poke_at.is_none() && overdue {
            self.gap = GAP_FIRST;
            self.poke_at = Some(now);
        }
        let poke = self.poke_at.is_some_and(|at| at <= now);
        if poke {
            self.unanswered.get_or_insert(shown.answered);
            self.pokes += 1;
            let again = if self.pokes < POKES_QUICK {
                GAP_FIRST
            } else {
                GAP_LAST
            };
            self.poke_at = Some(later(now, again));
        }
        poke
    }
}

fn later(time: MonoNanos, by: Duration) -> MonoNanos {
    MonoNanos(time.0.saturating_add(by.as_nanos() as u64))
}

/// Starts the thread that watches over these executors, for as long as the process lives. `clock` is the one that they read.
///
/// # Errors
/// When the kernel gives no thread.
pub fn start_watchdog(pulses: &[Arc<Pulse>], clock: SystemClock) -> io::Result<()> {
    let pulses = pulses.to_vec();
    thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || watch(&pulses, clock))?;
    Ok(())
}

fn watch(pulses: &[Arc<Pulse>], clock: SystemClock) {
    let Some(first) = pulses.first() else {
        return;
    };
    let this = &first.thread;
    // One watchdog for a set of pulses: a second one would only do the same work again.
    if this.thread.set(thread::current()).is_err() {
        return;
    }
    let began = clock.now().mono;
    let mut vigils: Vec<Vigil> = pulses.iter().map(|_| Vigil::of_start(began)).collect();
    loop {
        let now = clock.now().mono;
        for (pulse, vigil) in pulses.iter().zip(&mut vigils) {
            if vigil.look(now, &pulse.shown()) {
                pulse.poke();
            }
        }
        match vigils.iter().filter_map(|vigil| vigil.poke_at).min() {
            // Progress is looked for no less often than the first gap, so that it is never poked for nothing.
            Some(at) => {
                let wait = Duration::from_nanos(at.0.saturating_sub(now.0));
                if wait > GAP_FIRST {
                    sleep_until_woken(this, wait);
                } else {
                    thread::sleep(GAP_FIRST);
                }
            }
            None => sleep_until_woken(this, BACKSTOP),
        }
    }
}

fn sleep_until_woken(this: &WatchdogThread, wait: Duration) {
    this.asleep.store(true, Ordering::Relaxed);
    thread::park_timeout(wait);
    this.asleep.store(false, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;

    const MILLI: u64 = 1_000_000;

    /// Looks every millisecond from `from` for `millis`, and gives the times of the pokes.
    fn pokes(
        vigil: &mut Vigil,
        from: u64,
        millis: u64,
        mut shown: impl FnMut(u64) -> Shown,
    ) -> Vec<u64> {
        (from..from + millis)
            .filter(|&milli| vigil.look(MonoNanos(milli * MILLI), &shown(milli)))
            .collect()
    }

    fn quiet(answered: u64) -> Shown {
        Shown {
            progress: (1, 0),
            answered,
            armed: NOT_ARMED,
        }
    }

    /// A single poke can be lost in the very way that it is to cure: an executor that doesn't answer must be poked until it does.
    #[test]
    fn a_stuck_executor_is_poked_until_it_answers() {
        let mut vigil = Vigil::new();
        let stuck = pokes(&mut vigil, 0, 100, |_| quiet(0));
        assert_eq!(stuck, (1..20).map(|n| n * 5).collect::<Vec<_>>());
    }

    /// An idle server that burns its core is what users of others complain about: pokes that find nothing must end.
    #[test]
    fn an_idle_executor_is_left_alone() {
        let mut vigil = Vigil::new();
        let mut answered = 0;
        let mut last = 0;
        let mut count = 0;
        for milli in 0..10_000 {
            if vigil.look(MonoNanos(milli * MILLI), &quiet(answered)) {
                answered += 1;
                count += 1;
                last = milli;
            }
        }
        assert!(count <= 8, "{count} pokes");
        assert!(last < 1500, "the last one after {last} ms");
        assert!(vigil.poke_at.is_none());
    }

    /// A busy executor has better to do than to answer pokes.
    #[test]
    fn a_busy_executor_is_never_poked() {
        let mut vigil = Vigil::new();
        let busy = pokes(&mut vigil, 0, 1000, |milli| Shown {
            progress: (milli / 4, 0),
            ..Shown {
                armed: NOT_ARMED,
                ..Shown::default()
            }
        });
        assert!(busy.is_empty(), "{busy:?}");
    }

    /// Something that another shard sends to an idle executor counts before the executor has shown anything itself.
    #[test]
    fn what_is_sent_to_an_idle_executor_is_watched() {
        let mut vigil = Vigil::new();
        let mut answered = 0;
        for milli in 0..5000 {
            answered += u64::from(vigil.look(MonoNanos(milli * MILLI), &quiet(answered)));
        }
        let sent = Shown {
            progress: (1, 1),
            ..quiet(answered)
        };
        assert_eq!(pokes(&mut vigil, 5000, 8, |_| sent), [5005]);
    }

    /// An idle executor whose timer was lost would never expire a key again.
    #[test]
    fn an_overdue_timer_is_noticed() {
        let mut vigil = Vigil::new();
        let shown = Shown {
            armed: 100 * MILLI,
            ..Shown::default()
        };
        assert_eq!(pokes(&mut vigil, 0, 108, |_| shown), [106]);
    }

    /// Two executors at ping-pong: each hop is a chance for glommio to park with the next one runnable. Without the watchdog it hung
    /// in one of 42 runs on a quiet machine, and in two of three where the core was shared.
    fn ping_pong(round_trips: u64) {
        let clock = SystemClock::start();
        let pulses = Pulse::all(2);
        start_watchdog(&pulses, clock).unwrap();
        let (to_left, from_right) = flume::bounded::<u64>(8);
        let (to_right, from_left) = flume::bounded::<u64>(8);
        let run = |inbox: flume::Receiver<u64>, peer: flume::Sender<u64>, me: usize| {
            let pulses = pulses.clone();
            thread::spawn(move || {
                let executor = LocalExecutorBuilder::new(Placement::Unbound)
                    .preempt_timer(Duration::from_millis(1))
                    .io_memory(64 << 10)
                    .make()
                    .unwrap();
                executor.run(async move {
                    let own = Arc::clone(&pulses[me]);
                    let other = Arc::clone(&pulses[1 - me]);
                    let answering = Arc::clone(&own);
                    glommio::spawn_local(async move {
                        answering
                            .answer(|waker| answering.poked_by(waker.clone()))
                            .await;
                    })
                    .detach();
                    if me == 0 {
                        peer.send(round_trips).unwrap();
                        other.sent_to();
                    }
                    while let Ok(left) = inbox.recv_async().await {
                        own.turn_ended(true);
                        let next = left - u64::from(me == 0);
                        if next == 0 {
                            break;
                        }
                        if peer.send(next).is_err() {
                            break;
                        }
                        other.sent_to();
                    }
                });
            })
        };
        let began = Instant::now();
        let left = run(from_right, to_right, 0);
        let right = run(from_left, to_left, 1);
        left.join().unwrap();
        // The right executor ends because nobody can send to it any more.
        right.join().unwrap();
        println!("{round_trips} round trips in {:?}", began.elapsed());
    }

    #[test]
    fn executors_at_ping_pong_never_sleep_for_good() {
        ping_pong(50_000);
    }

    #[test]
    #[ignore = "takes minutes: run it after a change to the watchdog or an update of glommio"]
    fn executors_at_ping_pong_never_sleep_for_good_a_million_times() {
        ping_pong(1_000_000);
    }
}
