//! Sums against what is known of them, and against a Redis server.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::{NO_SUCH_SUM, NOT_A_FLOAT, add};

fn sum(value: &str, increment: &str) -> Result<String, &'static str> {
    add(Some(value.as_bytes()), increment.as_bytes())
}

/// What a user types comes back as it was typed, and nobody's sum gets a tail of digits.
#[test]
fn sums_are_those_of_eighty_bits() {
    for (value, increment, expected) in [
        ("10.50", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("0.1", "0.2", "0.3"),
        ("3.0", "-3", "0"),
        ("-0", "-0", "0"),
        ("1e-20", "-2e-20", "0"),
        ("1", "1e-17", "1.00000000000000001"),
        ("0x10", "0x.8p1", "17"),
        ("1e4932", "0", &E4932),
        ("9223372036854775807", "1", "9223372036854775808"),
        ("0e999999999999999999999", "1", "1"),
    ] {
        assert_eq!(
            sum(value, increment).as_deref(),
            Ok(expected),
            "{value} + {increment}"
        );
    }
    assert_eq!(add(None, b"3.1").as_deref(), Ok("3.1"));
}

/// The nearest 80-bit number to 1e4932 is not a power of ten; these are its digits, as glibc prints them.
static E4932: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    let mut text = include_str!("tests/1e4932.txt").to_owned();
    text.truncate(text.trim_end().len());
    text
});

/// Texts that a careless reader takes: spaces, half an exponent, NaN, what overflows, what underflows to nothing.
#[test]
fn what_is_no_number_is_refused() {
    let long = "1".repeat(5120);
    for text in [
        "",
        " 1",
        "1 ",
        "+",
        "-",
        ".",
        "1e",
        "1e+",
        "e5",
        "0x",
        "0x.",
        "0xp1",
        "1p3",
        "0x1p",
        "nan",
        "-nan",
        "nan(1)",
        "infinit",
        "1..2",
        "1.2.3",
        "--1",
        "+-1",
        "1_000",
        "1,5",
        "1e5.5",
        "1\0",
        "\u{663}",
        "1e4933",
        "-1e999999999999999999",
        "1e-4951",
        "1e-999999999999999999999",
        "0x1p16384",
        "0x1p-16446",
        &long,
    ] {
        assert_eq!(sum(text, "1"), Err(NOT_A_FLOAT), "{text:?}");
        assert_eq!(sum("1", text), Err(NOT_A_FLOAT), "{text:?}");
    }
    assert_eq!(sum("inf", "1"), Err(NO_SUCH_SUM));
    assert_eq!(sum("1", "-InFiNiTy"), Err(NO_SUCH_SUM));
    assert_eq!(sum("inf", "-inf"), Err(NO_SUCH_SUM));
    assert_eq!(
        sum("1e4932", "1e4932"),
        Err(NO_SUCH_SUM),
        "not before 1.19e4932"
    );
}

/// The longest texts that are read must not hold a core up.
#[test]
fn the_longest_numbers_stay_within_bounds() {
    let digits = "9".repeat(4932);
    assert_eq!(sum(&digits, "0").unwrap().len(), 4933);
    let tiny = format!("0.{}1", "0".repeat(4949));
    assert_eq!(sum(&tiny, &tiny).as_deref(), Ok("0"));
    let long_tail = format!("0.5{}1", "0".repeat(5000));
    assert_eq!(sum(&long_tail, "0").as_deref(), Ok("0.5"));
}

fn number() -> impl Strategy<Value = String> {
    let digits = prop_oneof![
        4 => "[0-9]{1,20}",
        2 => "[0-9]{1,40}",
        1 => "[0-9]{100,400}",
        1 => "0{1,30}[0-9]{1,10}",
    ];
    let fraction = prop_oneof![
        3 => Just(String::new()),
        4 => "\\.[0-9]{0,20}",
        1 => "\\.[0-9]{100,400}",
        1 => "\\.0{10,60}[0-9]{1,20}",
        // Ties at the eighteenth digit.
        1 => "\\.[0-9]{17}5",
        1 => "\\.[0-9]{1,12}(5|25|125|0625|03125)",
    ];
    let exponent = prop_oneof![
        8 => Just(String::new()),
        3 => "[eE][+-]?[0-9]{1,2}",
        1 => "[eE][+-]?[0-9]{3,4}",
        1 => "[eE]-49[0-9]{2}",
        1 => "[eE]49[0-9]{2}",
    ];
    let decimal =
        ("[+-]?", digits, fraction, exponent).prop_map(|(sign, digits, fraction, exponent)| {
            format!("{sign}{digits}{fraction}{exponent}")
        });
    prop_oneof![
        12 => decimal,
        2 => "[+-]?0[xX][0-9a-fA-F]{1,20}(\\.[0-9a-fA-F]{0,20})?([pP][+-]?[0-9]{1,5})?",
        // Half a unit in the last place of 64 bits, and almost.
        2 => "[+-]?0x[89a-f][0-9a-f]{15}(8|80{40}|80{40}1|7f{30})(p-?[0-9]{1,2})?",
        1 => "[+-]?0x1p-16[34][0-9]{2}",
        1 => "[0-9.eE+xXpPinfa -]{1,8}",
    ]
}

/// Redis's own sums, byte for byte.
#[test]
fn sums_are_those_of_redis() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let cases = 20_000;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let pair = (number(), number());
    let pairs: Vec<(String, String)> = (0..cases)
        .map(|_| pair.new_tree(&mut runner).unwrap().current())
        .collect();
    let edges = [
        "1e4932",
        "1e-4950",
        "3.6e-4951",
        "1.18973149535723176502e4932",
        "inf",
        "0x1p-16445",
        "0",
        "-0",
    ];
    let edges = edges
        .iter()
        .flat_map(|one| edges.map(|other| ((*one).to_owned(), other.to_owned())));
    let mut sums = 0;
    for (value, increment) in pairs.into_iter().chain(edges) {
        let ours = match sum(&value, &increment) {
            Ok(text) => format!("${}\r\n{text}\r\n", text.len()),
            Err(reason) => format!("-ERR {reason}\r\n"),
        };
        sums += usize::from(ours.starts_with('$'));
        assert_eq!(redis.command(&["SET", "k", &value]), "+OK\r\n");
        let theirs = redis.command(&["INCRBYFLOAT", "k", &increment]);
        assert_eq!(ours, theirs, "{value} + {increment}");
    }
    assert!(sums > cases / 2, "most are sums: {sums}");
}

/// A server of the test's own, on a socket in a directory of its own.
struct Redis {
    process: Child,
    stream: UnixStream,
    _directory: tempfile::TempDir,
}

impl Redis {
    fn start() -> Option<Redis> {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("redis.sock");
        let process = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--unixsocket",
            ])
            .arg(&socket)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn();
        let Ok(process) = process else {
            let must = std::env::var_os("CORDUROY_TESTS").is_some_and(|tests| tests == "all");
            assert!(
                !must,
                "redis-server is missing, and CORDUROY_TESTS=all says that nothing may be"
            );
            println!("skipped: redis-server is missing");
            return None;
        };
        let mut redis = Redis {
            process,
            // Replaced at once, when the server listens.
            stream: UnixStream::pair().unwrap().0,
            _directory: directory,
        };
        loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => {
                    redis.stream = stream;
                    return Some(redis);
                }
                Err(_) => {
                    let ended = redis.process.try_wait().unwrap();
                    assert!(ended.is_none(), "redis-server ended: {ended:?}");
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
            }
        }
    }

    fn command(&mut self, arguments: &[&str]) -> String {
        let mut bytes = format!("*{}\r\n", arguments.len());
        for argument in arguments {
            bytes.push_str(&format!("${}\r\n{argument}\r\n", argument.len()));
        }
        self.stream.write_all(bytes.as_bytes()).unwrap();
        let mut reply = Vec::new();
        loop {
            let mut buffer = [0; 8192];
            let len = self.stream.read(&mut buffer).unwrap();
            assert!(len > 0, "the server closed the connection");
            reply.extend_from_slice(&buffer[..len]);
            let text = std::str::from_utf8(&reply).unwrap();
            let lines = if text.starts_with('$') { 2 } else { 1 };
            if text.matches("\r\n").count() == lines {
                return text.to_owned();
            }
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Its own process, by its handle; that it has ended already is no harm.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
