//! The driver against servers that answer wrongly, late or not at all. What it calls fast must have been right.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    time::Duration,
};

use crate::common::{answers, listen, small_load};
use corduroy_benches::drive::{self, Config, DriveError, Operations, Protocol, Report};

/// One request at a time, so that one answer answers one request.
fn one_at_a_time(address: SocketAddr) -> Config {
    Config {
        protocol: Protocol::Resp,
        connections: 2,
        in_flight: 1,
        requests: Some(100),
        value_len: 9,
        ..small_load(address)
    }
}

fn report_of(reply: &'static [u8]) -> Report {
    drive::run(&one_at_a_time(answers(reply))).unwrap()
}

// Errors are quick to answer: a server that refuses everything would be the fastest of all.
#[test]
fn wrong_replies_are_counted_by_kind() {
    let report = report_of(b"-LOADING not now\r\n");
    assert!(report.errors.refused >= 100);
    assert!(report.errors.first.unwrap().contains("LOADING not now"));

    let report = report_of(b"$-1\r\n");
    assert!(report.errors.missing >= 100 && report.errors.total() == report.errors.missing);

    let report = report_of(b"$3\r\nabc\r\n");
    assert!(
        report.errors.wrong_length >= 100 && report.errors.total() == report.errors.wrong_length
    );

    let report = report_of(b"+OK\r\n");
    assert!(report.errors.wrong_reply >= 100 && report.errors.total() == report.errors.wrong_reply);
}

// Replies that get out of step answer each request with its neighbour's value, and all lengths are right.
#[test]
fn a_value_of_another_key_is_wrong() {
    let report = report_of(b"$9\r\n\xff\xff\xff\xff\xff\xff\xff\xffx\r\n");
    assert!(report.errors.wrong_reply >= 100 && report.errors.total() == report.errors.wrong_reply);
}

#[test]
fn what_is_no_reply_ends_the_run() {
    let error = drive::run(&one_at_a_time(answers(b"HTTP/1.1 400\r\n"))).unwrap_err();
    assert!(matches!(error, DriveError::Malformed { .. }), "{error}");
    assert!(error.to_string().contains("HTTP/1.1 400"), "{error}");
}

#[test]
fn two_replies_to_one_request_end_the_run() {
    let config = Config {
        operations: Operations::Put,
        ..one_at_a_time(answers(b"+OK\r\n+OK\r\n"))
    };
    // The second reply is taken for that of the next request, which is in flight by then, until at the end one is too many.
    let error = drive::run(&config).unwrap_err();
    assert!(matches!(error, DriveError::Unasked { .. }), "{error}");
}

#[test]
fn a_closed_connection_ends_the_run() {
    let address = listen(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
    });
    let error = drive::run(&one_at_a_time(address)).unwrap_err();
    assert!(matches!(error, DriveError::Broken { .. }), "{error}");
}

// A server that hangs must end the run, and not the patience of whoever waits for a table of fourteen rows.
#[test]
fn silence_ends_the_run() {
    let address = listen(|mut stream| {
        while stream
            .read(&mut [0; 4096])
            .is_ok_and(|received| received > 0)
        {}
    });
    let config = Config {
        stall: Duration::from_millis(300),
        ..one_at_a_time(address)
    };
    let error = drive::run(&config).unwrap_err();
    assert!(
        matches!(error, DriveError::Stalled { in_flight: 2, .. }),
        "{error}"
    );
}

// A reply that trickles in byte by byte is whole in the end; to take its beginning for a reply, or to lose it, would make
// every slow network an error.
#[test]
fn a_reply_may_come_byte_by_byte() {
    let address = listen(|mut stream| {
        stream.set_nodelay(true).unwrap();
        while stream
            .read(&mut [0; 4096])
            .is_ok_and(|received| received > 0)
        {
            for byte in b"+OK\r\n" {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
            }
        }
    });
    let config = Config {
        operations: Operations::Put,
        ..one_at_a_time(address)
    };
    let report = drive::run(&config).unwrap();
    assert_eq!((report.errors.total(), report.errors.first), (0, None));
}

#[test]
fn nobody_there_is_said_before_anything_is_measured() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = drive::run(&one_at_a_time(free)).unwrap_err();
    assert!(
        matches!(error, DriveError::Connect { connection: 0, .. }),
        "{error}"
    );
}
