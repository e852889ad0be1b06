//! Time as users would see it: latency from the intended start, whatever server and generator do.

use std::{
    sync::{Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

use corduroy_bench::{
    engine::{Config, Length},
    results::Pacing,
    workload::Operation,
};

use crate::common::{Act, LineLoad, Server, all, ask, closed, errors, has_warning, open, run};

/// A server that answers nothing for a second, once, some time after its first request.
fn pausing(after: Duration) -> Server {
    let first = OnceLock::new();
    Server::start(move |_| {
        let begun = *first.get_or_init(Instant::now);
        let (from, to) = (begun + after, begun + after + Duration::from_secs(1));
        let now = Instant::now();
        if now >= from && now < to {
            thread::sleep(to - now);
        }
        Act::Serve
    })
}

/// Whether it is so long, or a little longer: other tests want the cores too while a backlog is worked off.
fn is_about(seconds: f64, microseconds: f64) -> bool {
    (-0.02..0.5).contains(&(microseconds / 1e6 - seconds))
}

// Coordinated omission, the mistake that most load generators make: a stall of one second in ten is what one user in ten meets, not
// the ten requests that happened to be in flight.
#[test]
fn a_stall_of_a_second_shows_as_users_would_meet_it() {
    let server = pausing(Duration::from_secs(4));
    let config = Config {
        warm_up: Duration::from_millis(500),
        ..open(&server, 10, 1, 10_000)
    };
    let run = run(&LineLoad::<true>::puts().at_rate(1_000.0), &config);
    let latency = all(&run);
    assert_eq!(latency.response.count, 10_000, "{:?}", run.errors);
    // The hundredth part of the operations that waited longest was meant to start in the stall's first 100 ms: p99 is about 0.9 s.
    assert!(is_about(0.9, latency.response.p99), "{latency:?}");
    let distance = latency.response.max - latency.response.p99;
    assert!((distance - 100_000.0).abs() < 60_000.0, "{latency:?}");
    // Nine in ten met no stall; those right behind it, the backlog at most.
    assert!(latency.response.p90 < 500_000.0, "{latency:?}");
    assert!(is_about(1.0, latency.response.max), "{latency:?}");
    // It is the server's, and is claimed as that. (Other tests may take a core away for so long that half of the requests leave a little late.)
    let generator = &run.generator;
    let is_claimed = generator.trusted || has_warning(&run, "the median of its lag");
    assert!(is_claimed, "{generator:?}");
    assert!(!has_warning(&run, "stood still"), "{generator:?}");
    assert!(generator.longest_pause < 500_000.0, "{generator:?}");
    // Ten connections with room for one request each: what was sent shows ten slow requests and hides the rest.
    assert!(latency.service.p99 < 200_000.0, "{latency:?}");
    assert!(is_about(1.0, latency.service.max), "{latency:?}");

    let timeline = &run.timeline;
    assert_eq!(timeline.slices.len(), 10);
    let empty = timeline.slices.iter().map(|slice| slice.operations).min();
    assert!(empty < Some(800), "{timeline:?}");
    let all: u64 = timeline.slices.iter().map(|slice| slice.operations).sum();
    assert_eq!(all, run.operations);
    let Pacing::OpenLoop {
        target_rate,
        achieved_rate,
        ..
    } = run.pacing
    else {
        panic!("{:?}", run.pacing)
    };
    assert!((target_rate - 1_000.0).abs() < 1.0);
    assert!((achieved_rate - 1_000.0).abs() < 5.0, "{achieved_rate}");
}

// The same stall, not corrected: the report has to say that it leaves something out.
#[test]
fn a_closed_loop_hides_the_stall_and_says_so() {
    let server = pausing(Duration::from_secs(1));
    let run = run(&LineLoad::<false>::puts(), &closed(&server, 10, 1, 3_000));
    let latency = all(&run);
    assert!(is_about(1.0, latency.response.max), "{latency:?}");
    assert!(latency.response.p99 < 200_000.0, "{latency:?}");
    assert_eq!(latency.response, latency.service);
    assert!(has_warning(&run, "not corrected for waiting"));
}

// A stall at the very end must not vanish with the window.
#[test]
fn what_is_in_flight_at_the_end_is_waited_for_and_counted() {
    let server = pausing(Duration::from_millis(1_500));
    let run = run(
        &LineLoad::<true>::puts().at_rate(500.0),
        &open(&server, 5, 4, 2_000),
    );
    let latency = all(&run);
    assert_eq!(latency.response.count, 1_000, "{:?}", run.errors);
    assert!(is_about(1.0, latency.response.max), "{latency:?}");
    assert!(latency.response.p90 > 500_000.0, "{latency:?}");
    assert!(run.operations < 800, "{}", run.operations);
    // A quarter of the schedule was late, so no latency of this rate may be claimed.
    assert!(!run.generator.trusted);
}

// What never comes is no latency, but it must not be silently left out either.
#[test]
fn what_is_never_answered_or_never_sent_is_counted_with_its_age() {
    let server = Server::start(|request| {
        if request.number < 100 {
            Act::Serve
        } else {
            Act::Ignore
        }
    });
    let config = Config {
        drain: Duration::from_millis(300),
        ..open(&server, 3, 2, 700)
    };
    let run = run(&LineLoad::<true>::puts().at_rate(1_000.0), &config);
    assert_eq!(errors(&run, "unanswered at the end"), 6, "{:?}", run.errors);
    assert_eq!(
        all(&run).response.count + errors(&run, "not sent") + 6,
        700,
        "{:?}",
        run.errors
    );
    assert!(!run.generator.trusted);
    assert!(has_warning(&run, "still unanswered"), "{:?}", run.generator);
    assert!(has_warning(&run, "had waited 0.9 s") || has_warning(&run, "had waited 1.0 s"));
}

// A server at its limit: the backlog costs no memory, is counted to the last arrival, and the rate is not claimed.
#[test]
fn a_rate_that_cannot_be_kept_is_not_claimed() {
    let turn = Mutex::new(());
    let server = Server::start(move |_| {
        let _turn = turn.lock().unwrap();
        thread::sleep(Duration::from_millis(5));
        Act::Serve
    });
    let config = Config {
        drain: Duration::from_millis(300),
        wait_max: Duration::from_millis(500),
        ..open(&server, 4, 1, 1_500)
    };
    let run = run(&LineLoad::<false>::puts().at_rate(100_000.0), &config);
    let counted = all(&run).response.count + run.errors.values().sum::<u64>();
    assert_eq!(counted, 150_000, "{:?}", run.errors);
    assert!(errors(&run, "not sent") > 140_000);
    // Given up after half a second, so nothing that was sent had waited for much longer.
    assert!(all(&run).response.max < 800_000.0, "{:?}", all(&run));
    assert!(!run.generator.trusted);
    assert!(has_warning(&run, "could be started"), "{:?}", run.generator);
    // Waiting for room is no lag, unless the generator was away too: other tests want the cores as well.
    let was_away = run.generator.longest_pause > 0.0;
    assert!(was_away || !run.generator.was_late, "{:?}", run.generator);
}

// A generator that is kept from running is late by itself; users of the server would not have met that.
#[test]
fn a_busy_generator_is_not_trusted() {
    let server = Server::sound();
    let load = LineLoad::<true>::new(|_| {
        let mut number = 0;
        Box::new(move |_| {
            number += 1;
            if number % 50 == 0 {
                // As if another process had the core.
                let until = Instant::now() + Duration::from_millis(20);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            }
            Some(ask(Operation::Put, 1, number))
        })
    });
    let run = run(&load.at_rate(1_000.0), &open(&server, 4, 8, 1_000));
    let generator = &run.generator;
    assert!(!generator.trusted);
    assert!(has_warning(&run, "itself stood still"), "{generator:?}");
    assert!(generator.lag.p99 > 10_000.0, "{:?}", generator.lag);
    assert_eq!(generator.lag.count, 1_000);
    assert!(generator.cpu_share[0] > 0.02, "{:?}", generator.cpu_share);
}

// Without lag of its own, one connection at a modest rate has nothing to excuse.
#[test]
fn an_idle_generator_is_on_time() {
    let server = Server::sound();
    let config = Config {
        threads: 2,
        ..open(&server, 4, 1, 1_000)
    };
    let run = run(&LineLoad::<false>::puts().at_rate(200.0), &config);
    assert_eq!(all(&run).response.count, 200);
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    assert_eq!(run.generator.cpu_share.len(), 2);
    // Others may use the machine at the same time, so only the median is held to anything.
    assert!(run.generator.lag.p50 < 1_000.0, "{:?}", run.generator.lag);
    assert!(all(&run).service.p50 <= all(&run).response.p50);
}

#[test]
fn an_open_loop_ends_after_a_number_of_operations() {
    let server = Server::sound();
    let config = Config {
        threads: 2,
        length: Length::Operations(321),
        ..open(&server, 8, 2, 0)
    };
    let run = run(&LineLoad::<false>::puts().at_rate(2_000.0), &config);
    assert_eq!((run.operations, all(&run).response.count), (321, 321));
    assert!(run.seconds < 1.0, "{}", run.seconds);
}
