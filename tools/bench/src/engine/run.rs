//! A run from the first thread to the result.
//!
//! The calling thread starts the others, waits until all connections are open, names the moment at which all begin, and then collects what
//! they hand over until the last one has ended.

use std::{
    sync::{
        atomic::AtomicBool,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use hdrhistogram::Histogram;

use super::{
    Config, EngineError, Length, Load, affinity,
    clock::{Clock, Nanos, nanos},
    worker::{Remains, Wiring, Worker},
};
use crate::{
    measure::{
        Journal, Live,
        collect::{self, Parts},
        interval::{Collector, Interval},
        process,
    },
    results::Run,
};

/// From the moment at which all threads are ready to the beginning: long enough for all of them to wake.
const LEAD_NANOS: Nanos = 2_000_000;
/// How often is looked whether a thread has ended.
const POLL: Duration = Duration::from_millis(20);

/// What a run leaves.
#[derive(Debug)]
pub struct Finished {
    /// What was measured. Its label is for the caller to give.
    pub run: Run,
    /// What a server must still know, if [`Config::journal`] asked for it.
    pub journal: Option<Journal>,
}

/// One thread, seen by the one that started it.
struct Thread<'scope> {
    handle: thread::ScopedJoinHandle<'scope, Result<Remains, EngineError>>,
    begin: Sender<Nanos>,
    empty: Sender<Histogram<u64>>,
}

/// Carries a load out. Setting `stop` ends the window early; what is in flight is still waited for. `watch` is told some times a second how it goes.
///
/// # Errors
///
/// [`EngineError`], before the first operation was sent but for a fault of the generator itself.
pub fn run<L: Load>(
    load: &L,
    config: &Config,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Live),
) -> Result<Finished, EngineError> {
    config.check()?;
    affinity::raise_descriptor_limit(config.connections)?;
    if let Some(pid) = config.server_pid {
        process::cpu_time(pid).map_err(|source| EngineError::ServerCpu { pid, source })?;
    }
    let clock = Clock::new();
    let failed = AtomicBool::new(false);
    let failed = &failed;
    thread::scope(|scope| {
        let (intervals, collected) = mpsc::channel();
        let (ready, readies) = mpsc::channel();
        let mut threads = Vec::new();
        for thread in 0..config.threads {
            let (begin, begins) = mpsc::channel();
            let (empty, empties) = mpsc::channel();
            let wiring = Wiring {
                thread,
                clock,
                stop,
                failed,
                intervals: intervals.clone(),
                empty: empties,
            };
            let ready = ready.clone();
            let handle = thread::Builder::new()
                .name(format!("load-{thread}"))
                .spawn_scoped(scope, move || work(load, config, wiring, ready, &begins))
                .map_err(EngineError::io("start a thread"))?;
            threads.push(Thread {
                handle,
                begin,
                empty,
            });
        }
        drop((intervals, ready));
        // Each thread says when it is ready; one that fails lets go of its sender instead.
        if readies.iter().count() == threads.len() {
            let begins = clock.now() + LEAD_NANOS;
            for thread in &threads {
                // A thread that is gone will be found below.
                let _ = thread.begin.send(begins);
            }
            let watching = Watching {
                config,
                clock,
                begins,
                collector: Collector::new(config.threads, config.slice, config.live),
                server_cpu: (None, None),
            };
            watching.until_all_end(threads, &collected, watch)
        } else {
            // Without a word to begin the others end too.
            let failed = threads.into_iter().enumerate().map(|(index, thread)| {
                drop(thread.begin);
                join(index, thread.handle)
            });
            let errors = failed.filter_map(Result::err).collect::<Vec<_>>();
            Err(errors
                .into_iter()
                .reduce(|first, next| match first {
                    EngineError::Thread { .. } => next,
                    _ => first,
                })
                .unwrap_or(EngineError::Thread { thread: 0 }))
        }
    })
}

/// One thread's way.
fn work<L: Load>(
    load: &L,
    config: &Config,
    wiring: Wiring<'_>,
    ready: Sender<u32>,
    begins: &Receiver<Nanos>,
) -> Result<Remains, EngineError> {
    let thread = wiring.thread;
    if !config.cores.is_empty() {
        let core = config.cores[thread as usize % config.cores.len()];
        affinity::pin_to(&[core])?;
    }
    affinity::ask_for_short_timers();
    let mut worker = Worker::new(load, config, wiring)?;
    worker.open_all()?;
    // If nobody listens, a thread has failed and nobody says to begin either.
    let _ = ready.send(thread);
    drop(ready);
    let Ok(begins) = begins.recv() else {
        return Err(EngineError::Thread { thread });
    };
    worker.begin(begins);
    worker.carry_out()
}

/// The starter while the threads work.
struct Watching<'a> {
    config: &'a Config,
    clock: Clock,
    begins: Nanos,
    collector: Collector,
    /// Of the server, when the window opened and when it closed.
    server_cpu: (Option<Duration>, Option<Duration>),
}

impl Watching<'_> {
    fn until_all_end(
        mut self,
        threads: Vec<Thread<'_>>,
        collected: &Receiver<Interval>,
        watch: &mut dyn FnMut(&Live),
    ) -> Result<Finished, EngineError> {
        let live = nanos(self.config.live);
        let mut last_view = self.begins;
        loop {
            let message = collected.recv_timeout(POLL);
            let now = self.clock.now();
            self.look_at_server(now);
            match message {
                Ok(interval) => {
                    let thread = interval.thread as usize;
                    let empty = self.collector.take(interval);
                    // A thread that has ended needs none.
                    let _ = threads[thread].empty.send(empty);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if now >= last_view + live {
                let since_begin = Duration::from_nanos(now.saturating_sub(self.begins));
                let since_last = Duration::from_nanos(now - last_view);
                watch(&self.collector.view(since_begin, since_last));
                last_view = now;
            }
        }
        let (mut tallies, mut journal) = (Vec::new(), None::<Journal>);
        let mut gave_up = false;
        for (index, thread) in threads.into_iter().enumerate() {
            let remains = join(index, thread.handle)?;
            tallies.push(remains.tally);
            gave_up |= remains.gave_up;
            if let Some(of_thread) = remains.journal {
                journal.get_or_insert_default().merge(of_thread);
            }
        }
        self.close_server();
        let server_cpu = match self.server_cpu {
            (Some(before), Some(after)) => Some(after.saturating_sub(before)),
            _ => None,
        };
        let run = collect::run(Parts {
            config: self.config,
            tallies,
            timeline: self.collector.finish(),
            server_cpu,
            gave_up,
        });
        Ok(Finished { run, journal })
    }

    /// Reads the server's CPU time when the window opens and when it closes.
    fn look_at_server(&mut self, now: Nanos) {
        let opens = self.begins + nanos(self.config.warm_up);
        if self.server_cpu.0.is_none() && now >= opens {
            self.server_cpu.0 = self.server_time();
        }
        if let Length::Time(time) = self.config.length
            && now >= opens.saturating_add(nanos(time))
        {
            self.close_server();
        }
    }

    fn close_server(&mut self) {
        if self.server_cpu.1.is_none() {
            self.server_cpu.1 = self.server_time();
        }
    }

    /// `None` too if it died meanwhile: then there is nothing to set the operations against.
    fn server_time(&self) -> Option<Duration> {
        process::cpu_time(self.config.server_pid?).ok()
    }
}

fn join(
    index: usize,
    handle: thread::ScopedJoinHandle<'_, Result<Remains, EngineError>>,
) -> Result<Remains, EngineError> {
    handle.join().unwrap_or(Err(EngineError::Thread {
        thread: index as u32,
    }))
}
