//! What finding the arguments of Redis clients' commands costs: our parser, and the crate `redis-protocol`, in turns over the same bytes.
//!
//! Each case is a stretch of commands and the pieces in which it comes in, as from a socket: after each piece both are asked for all commands that are
//! whole by then. Ours goes on where it stopped; the crate begins at the command's first byte again, as its interface has it. Arguments are looked up and
//! their lengths added up, so that none of the work can be left out. The crate's `decode_range` gives places, as ours does; what copies is slower still.
//!
//! A round measures each contender once; of all rounds the median counts, in nanoseconds a command.

use std::{
    hint::black_box,
    io::{self, Write},
    time::{Duration, Instant},
};

use clap::Parser as _;
use corduroy::{
    gateway::resp::parse::{Bounds, Parser, Progress, Span},
    limits,
};
use redis_protocol::resp2::{decode, types::RangeFrame};

/// Measures what finding the arguments of Redis clients' commands costs.
#[derive(clap::Parser)]
#[command(version)]
struct Arguments {
    /// Rounds, in each of which every contender runs once.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// How long a contender runs in a round, in milliseconds.
    #[arg(long, default_value_t = 20)]
    millis: u64,
    /// Send the crate an array in an array in an array, so many deep, and nothing else. Its recursion has no bound.
    #[arg(long)]
    depth: Option<usize>,
}

const BOUNDS: Bounds = Bounds {
    args_max: limits::RESP_ARGS_MAX,
    bulk_len_max: limits::VALUE_LEN_MAX,
    command_len_max: limits::RESP_COMMAND_BYTES_MAX,
    inline_len_max: limits::RESP_INLINE_BYTES_MAX,
    large_len: limits::LARGE_LEN,
};

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    commands: usize,
    /// Bytes that come in at a time.
    piece_len: usize,
}

impl Case {
    /// So many of one command, coming in in pieces of this length.
    fn new(name: &'static str, arguments: &[&[u8]], commands: usize, piece_len: usize) -> Case {
        let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
        Case {
            name,
            bytes: bytes.repeat(commands),
            commands,
            piece_len,
        }
    }

    /// Calls `take` for each piece with all bytes from the first command on that was not whole. It says how many bytes whole commands took up.
    fn run(&self, mut take: impl FnMut(&[u8]) -> usize) {
        let mut begin = 0;
        let mut end = 0;
        while end < self.bytes.len() {
            end = self.bytes.len().min(end + self.piece_len);
            begin += take(&self.bytes[begin..end]);
        }
        assert_eq!(begin, self.bytes.len(), "every command was found");
    }
}

fn cases() -> Vec<Case> {
    const WHOLE: usize = usize::MAX / 2;
    /// What a segment on a network holds.
    const SEGMENT: usize = 1448;
    let key = b"key:000000000042";
    let (short, long) = ([b'v'; 64], [b'v'; 16_384]);
    let many: Vec<&[u8]> = std::iter::once(&b"MGET"[..])
        .chain(std::iter::repeat_n(&key[..], 100))
        .collect();
    vec![
        Case::new("GET, 16 at a time", &[b"GET", key], 16, WHOLE),
        Case::new(
            "SET of 64 bytes, 16 at a time",
            &[b"SET", key, &short],
            16,
            WHOLE,
        ),
        Case::new(
            "SET of 64 bytes, 160 in segments",
            &[b"SET", key, &short],
            160,
            SEGMENT,
        ),
        Case::new(
            "SET of 64 bytes, byte by byte",
            &[b"SET", key, &short],
            1,
            1,
        ),
        Case::new(
            "SET of 16 KiB, in segments",
            &[b"SET", key, &long],
            1,
            SEGMENT,
        ),
        Case::new("MGET of 100 keys", &many, 1, WHOLE),
        Case::new("MGET of 100 keys, byte by byte", &many, 1, 1),
    ]
}

/// The sum of the arguments' lengths, by our parser.
fn ours(case: &Case, parser: &mut Parser) -> usize {
    let mut sum = 0;
    case.run(|bytes| {
        let mut begin = 0;
        while begin < bytes.len() {
            let rest = &bytes[begin..];
            let Ok(Progress::Complete { consumed }) = parser.advance(rest, &BOUNDS) else {
                break;
            };
            for span in parser.spans() {
                assert!(matches!(span, Span::Bytes { .. }));
                sum += black_box(parser.argument(rest, span)).len();
            }
            parser.reset();
            begin += consumed;
        }
        begin
    });
    sum
}

/// The sum of the arguments' lengths, by the crate.
fn theirs(case: &Case) -> usize {
    let mut sum = 0;
    case.run(|bytes| {
        let mut begin = 0;
        while begin < bytes.len() {
            let rest = &bytes[begin..];
            let Ok(Some((RangeFrame::Array(arguments), consumed))) = decode::decode_range(rest)
            else {
                break;
            };
            for argument in &arguments {
                if let RangeFrame::BulkString((from, to)) = argument {
                    sum += black_box(&rest[*from..*to]).len();
                }
            }
            begin += consumed;
        }
        begin
    });
    sum
}

/// Nanoseconds a command, for about as long as this.
fn measure(case: &Case, time: Duration, mut run: impl FnMut(&Case) -> usize) -> f64 {
    let start = Instant::now();
    let mut commands = 0;
    while start.elapsed() < time {
        for _ in 0..(256 / case.commands).max(1) {
            black_box(run(black_box(case)));
            commands += case.commands;
        }
    }
    start.elapsed().as_nanos() as f64 / commands as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    if let Some(depth) = arguments.depth {
        let answer = decode::decode_range(&b"*1\r\n".repeat(depth));
        return writeln!(out, "{answer:?}");
    }
    let time = Duration::from_millis(arguments.millis);
    writeln!(
        out,
        "ns a command                          ours   redis-protocol   times"
    )?;
    for case in cases() {
        let mut parser = Parser::default();
        assert_eq!(ours(&case, &mut parser), theirs(&case), "{}", case.name);
        let mut figures = [Vec::new(), Vec::new()];
        for _ in 0..arguments.rounds {
            figures[0].push(measure(&case, time, |case| ours(case, &mut parser)));
            figures[1].push(measure(&case, time, theirs));
        }
        let [ours, theirs] = figures.map(median);
        let times = theirs / ours;
        writeln!(
            out,
            "{:<34}{ours:>8.1}{theirs:>17.1}{times:>8.1}",
            case.name
        )?;
    }
    Ok(())
}
