//! Servers that fail: each fault is counted under its name, in no percentile, and ends nothing.

use std::{net::TcpListener, thread, time::Duration};

use corduroy_bench::{
    engine::{Config, EngineError},
    workload::Operation,
};

use crate::common::{
    Act, LineLoad, Server, all, ask, closed, errors, has_warning, open, run, try_run,
};

#[test]
fn dropped_connections_are_opened_again() {
    let server = Server::start(|request| {
        if request.number % 50 == 49 {
            Act::Close
        } else {
            Act::Serve
        }
    });
    let run = run(&LineLoad::<true>::puts(), &closed(&server, 4, 8, 1_000));
    let broken = errors(&run, "broken connection");
    assert!(broken >= 8, "{:?}", run.errors);
    assert_eq!(run.errors.len(), 1, "{:?}", run.errors);
    assert!(run.operations > broken);
    // What was in flight at the end belongs to the window and ended after it.
    assert!(all(&run).response.count - run.operations <= 32);
}

// After bytes that are no reply nobody can tell where the next one begins: the connection is of no use any more.
#[test]
fn garbage_is_counted_and_the_connection_opened_again() {
    let server = Server::start(|request| match request.number % 60 {
        59 => Act::Say("?? what\n".to_owned()),
        // An answer to nothing: a second one to the same request.
        29 => Act::Say(format!("D {0}\nD {0}\nD {0}\n", request.slot)),
        _ => Act::Serve,
    });
    let run = run(&LineLoad::<false>::puts(), &closed(&server, 3, 1, 1_000));
    let malformed: u64 = run
        .errors
        .iter()
        .filter(|(kind, _)| kind.starts_with("malformed reply: "))
        .map(|(_, count)| count)
        .sum();
    assert!(malformed >= 3, "{:?}", run.errors);
    assert!(run.operations > 0);
}

#[test]
fn silence_times_out() {
    let server = Server::start(|_| Act::Ignore);
    let config = Config {
        timeout: Duration::from_millis(200),
        ..closed(&server, 2, 3, 900)
    };
    let run = run(&LineLoad::<true>::puts(), &config);
    // Each connection is given up at least twice in that time, with three operations each.
    assert!(errors(&run, "timeout") >= 12, "{:?}", run.errors);
    assert_eq!(run.operations, 0);
    assert!(run.latencies.is_empty());
    assert!(!run.generator.trusted);
    assert!(has_warning(&run, "Nothing was answered"));
}

#[test]
fn wrong_answers_are_told_apart() {
    let server = Server::start(|request| {
        let (slot, key) = (request.slot, request.words[2]);
        Act::Say(match request.number % 5 {
            0 => format!("V {slot} 999 1 1\n"),
            1 => format!("D {slot}\n"),
            2 => format!("M {slot}\n"),
            3 => format!("E {slot} no-such-luck\n"),
            _ => format!("V {slot} {key} 1 1\n"),
        })
    });
    let gets = || LineLoad::<true>::new(|_| Box::new(|_| Some(ask(Operation::Get, 7, 0))));
    let strict = LineLoad {
        may_miss: false,
        ..gets()
    };
    let run = run(&strict, &closed(&server, 1, 1, 300));
    for kind in [
        "wrong value",
        "wrong reply",
        "missing key",
        "refused: no-such-luck",
    ] {
        let count = errors(&run, kind);
        assert!(
            count.abs_diff(run.operations) <= 2,
            "{kind}: {:?}",
            run.errors
        );
    }
    assert_eq!(run.errors.len(), 4);
    assert!(all(&run).response.count - run.operations <= 1);
    assert!(has_warning(&run, "The first error was: wrong value"));

    let lenient = crate::common::run(&gets(), &closed(&server, 1, 1, 200));
    assert!(lenient.misses > 0);
    assert_eq!(errors(&lenient, "missing key"), 0);
}

#[test]
fn a_run_ends_at_the_first_error_if_asked_to() {
    let server = Server::start(|request| {
        if request.number == 500 {
            Act::Say(format!("E {} full\n", request.slot))
        } else {
            Act::Serve
        }
    });
    let config = Config {
        stop_on_error: true,
        threads: 2,
        ..closed(&server, 2, 1, 60_000)
    };
    let run = run(&LineLoad::<true>::puts(), &config);
    assert_eq!(errors(&run, "refused: full"), 1);
    assert!(run.seconds < 30.0);
    assert!(has_warning(&run, "ended before its time"));
}

// A server that is gone and comes back: what was meant to be asked meanwhile is asked late, and the time shows.
#[test]
fn a_server_may_die_and_come_back() {
    let first = Server::start(|request| {
        if request.number >= 200 {
            Act::Close
        } else {
            Act::Serve
        }
    });
    let address = first.address;
    let config = Config {
        drain: Duration::from_secs(20),
        ..open(&first, 3, 2, 1_500)
    };
    let restart = thread::spawn(move || {
        thread::sleep(Duration::from_millis(600));
        drop(first);
        // The port may be held by the last connections of the old server for a moment.
        let listener = loop {
            match TcpListener::bind(address) {
                Ok(listener) => break listener,
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        thread::sleep(Duration::from_millis(200));
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                use std::io::{BufRead, BufReader, Write};
                for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                    let Ok(line) = line else { return };
                    let slot = line.split(' ').nth(1).unwrap().to_owned();
                    if writeln!(stream, "D {slot}").is_err() {
                        return;
                    }
                }
            });
        }
    });
    let run = run(&LineLoad::<false>::puts().at_rate(400.0), &config);
    assert!(!restart.is_finished());
    assert!(errors(&run, "broken connection") > 0, "{:?}", run.errors);
    let lost = errors(&run, "broken connection");
    assert!(all(&run).response.count + lost >= 600, "{:?}", run.errors);
    assert!(
        all(&run).response.max > 300_000.0,
        "{:?}",
        all(&run).response
    );
}

#[test]
fn a_server_that_is_not_there_is_an_error_that_says_what_to_do() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let config = Config {
        threads: 2,
        connections: 2,
        ..Config::new(address)
    };
    let error = try_run(&LineLoad::<true>::puts(), &config).unwrap_err();
    assert!(matches!(error, EngineError::Connect { .. }), "{error:?}");
    assert!(
        error.to_string().contains("is the server running"),
        "{error}"
    );
}

#[test]
fn a_greeting_is_answered_before_anything_is_asked() {
    let greets = || LineLoad {
        greets: true,
        ..LineLoad::<true>::puts()
    };
    let server = Server::start_greeting("welcome\n", |request| {
        assert_ne!(request.words[0], "hello");
        Act::Serve
    });
    let run = run(&greets(), &closed(&server, 5, 2, 200));
    assert!(
        run.errors.is_empty() && run.operations > 0,
        "{:?}",
        run.errors
    );

    let server = Server::start_greeting("go away\n", |_| Act::Serve);
    let error = try_run(&greets(), &closed(&server, 2, 1, 200)).unwrap_err();
    assert!(matches!(error, EngineError::Greeting { .. }), "{error:?}");
    assert!(error.to_string().contains("go away"), "{error}");
}

// Servers with enough clients accept one more and then send it away.
#[test]
fn too_many_connections_are_an_error_at_the_start() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        use std::io::Write;
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if kept.len() < 10 {
                kept.push(stream);
            } else {
                let _ = stream.write_all(b"E too many clients\n");
            }
        }
    });
    let config = Config {
        connections: 20,
        ..Config::new(address)
    };
    let error = try_run(&LineLoad::<true>::puts(), &config).unwrap_err();
    assert!(matches!(error, EngineError::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains("limit the number"), "{error}");
}

// A fill whose server dies for good must end, and say that it didn't do its work.
#[test]
fn a_fill_whose_server_is_gone_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        use std::io::Read;
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let _ = stream.read(&mut [0; 64]);
    });
    let config = Config {
        warm_up: Duration::ZERO,
        length: corduroy_bench::engine::Length::Sources,
        away_max: Duration::from_millis(400),
        ..Config::new(address)
    };
    let run = run(&LineLoad::<true>::puts(), &config);
    server.join().unwrap();
    assert_eq!(errors(&run, "broken connection"), 1, "{:?}", run.errors);
    assert!(errors(&run, "cannot connect") >= 2, "{:?}", run.errors);
    assert!(has_warning(&run, "ended before its time"));
}
