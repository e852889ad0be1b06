//! What a Redis client's bytes make the parser allocate. Hostile lengths are cheap to send: memory must follow what came in, not what was promised.

use allocation_counter::measure;
use corduroy::gateway::resp::parse::{Bounds, Parser, Progress, Span};
use corduroy::limits;

const BOUNDS: Bounds = Bounds {
    args_max: limits::RESP_ARGS_MAX,
    bulk_len_max: limits::VALUE_LEN_MAX,
    command_len_max: limits::RESP_COMMAND_BYTES_MAX,
    inline_len_max: limits::RESP_INLINE_BYTES_MAX,
    large_len: limits::LARGE_LEN,
};

/// An argument takes up six bytes of input at least, and its span, in memory that doubles as it grows and is held twice while it is copied.
const ALLOCATION_RATIO_MAX: u64 = 3 * size_of::<Span>() as u64 / 6;
/// What the first few spans take.
const ALLOCATION_MIN: u64 = 4 * size_of::<Span>() as u64;

fn assert_follows_input(bytes: &[u8], piece_len: usize) {
    let mut parser = Parser::default();
    let allocated = measure(|| {
        let mut end = 0;
        while end < bytes.len() {
            end = bytes.len().min(end + piece_len);
            if parser.advance(&bytes[..end], &BOUNDS) != Ok(Progress::Incomplete) {
                break;
            }
        }
    });
    let most = ALLOCATION_MIN + ALLOCATION_RATIO_MAX * bytes.len() as u64;
    assert!(
        allocated.bytes_max <= most,
        "{} bytes were allocated for {} that came in",
        allocated.bytes_max,
        bytes.len()
    );
}

#[test]
fn memory_follows_what_came_in() {
    let mut inputs: Vec<Vec<u8>> = [
        "*65536\r\n",
        "*1000000\r\n",
        "*2147483647\r\n",
        "*9223372036854775807\r\n",
        "*65536\r\n$16777216\r\n",
        "*65536\r\n$262144\r\nabc",
        "*1\r\n$500000000\r\n",
        "*1\r\n$9223372036854775807\r\n",
        "*65536\r\n$0\r\n\r\n$100000\r\nabc",
        "SET \"",
    ]
    .map(Vec::from)
    .to_vec();
    inputs.push([&b"*65536\r\n"[..], &b"$0\r\n\r\n".repeat(60_000)].concat());
    inputs.push([&b"*65536\r\n"[..], &b"$0\r\n\r\n".repeat(65_536)].concat());
    inputs.push([&b"*"[..], &b"1".repeat(70_000)].concat());
    inputs.push(b"x".repeat(70_000));
    for input in inputs {
        for piece_len in [usize::MAX, 1000, 1] {
            if piece_len > 1 || input.len() < 100_000 {
                assert_follows_input(&input, piece_len);
            }
        }
    }
}

/// An inline command is copied, once, and split into arguments of one byte at least.
#[test]
fn a_line_takes_what_it_is_long() {
    let longest = limits::RESP_INLINE_BYTES_MAX - 2;
    for text in ["x ", "\"\" ", "x", "\\x41"] {
        let line = [&text.repeat(longest / text.len()), "\r\n"].concat();
        let allocated = measure(|| {
            let mut parser = Parser::default();
            let progress = parser.advance(line.as_bytes(), &BOUNDS);
            assert_eq!(
                progress,
                Ok(Progress::Complete {
                    consumed: line.len()
                })
            );
        });
        let spans = line.len() / 2 * size_of::<Span>();
        let most = 3 * (spans + line.len()) as u64;
        assert!(allocated.bytes_max <= most, "{}", allocated.bytes_max);
    }
}

/// The usual command allocates nothing at all, once a connection has seen one.
#[test]
fn pipelines_of_sets_allocate_nothing() {
    let set = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$64\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n";
    let pipeline = set.repeat(16);
    let mut parser = Parser::default();
    let mut run = || {
        let mut rest = &pipeline[..];
        while !rest.is_empty() {
            let progress = parser.advance(rest, &BOUNDS);
            let Ok(Progress::Complete { consumed }) = progress else {
                panic!("{progress:?}");
            };
            assert_eq!(parser.spans().len(), 3);
            parser.reset();
            rest = &rest[consumed..];
        }
    };
    let first = measure(&mut run);
    assert_eq!(first.count_total, 1);
    let later = measure(&mut run);
    assert_eq!(later.count_total, 0);
}
