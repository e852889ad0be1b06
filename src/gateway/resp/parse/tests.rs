use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    args_max: 1000,
    bulk_len_max: 4000,
    command_len_max: 2000,
    inline_len_max: 300,
    large_len: 500,
};

type Arguments = Vec<Vec<u8>>;

/// A caller as the parser asks for one: keeps what is left of the input, and takes large arguments out of it.
#[derive(Default)]
struct Caller {
    parser: Parser,
    input: Vec<u8>,
    larges: Vec<Vec<u8>>,
    /// Commands so far, each with the bytes that it took up beside its large arguments.
    commands: Vec<(Arguments, usize)>,
    error: Option<ParseError>,
}

impl Caller {
    fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Caller {
        let mut caller = Caller::default();
        for piece in pieces {
            caller.receive(piece);
        }
        caller
    }

    fn receive(&mut self, piece: &[u8]) {
        self.input.extend_from_slice(piece);
        while self.error.is_none() {
            match self.parser.advance(&self.input, &BOUNDS) {
                Ok(Progress::Incomplete) => break,
                Ok(Progress::Large { at, len }) => {
                    assert!(len > BOUNDS.large_len && at <= self.input.len());
                    let end = at + len + 2;
                    if self.input.len() < end {
                        break;
                    }
                    let large = self.input.drain(at..end).take(len).collect();
                    self.larges.push(large);
                    self.parser.large_taken();
                }
                Ok(Progress::Complete { consumed }) => {
                    self.take_command(consumed);
                    self.input.drain(..consumed);
                    self.parser.reset();
                    assert!(self.parser.is_idle());
                }
                Err(error) => {
                    assert_eq!(
                        self.parser.advance(&self.input, &BOUNDS),
                        Err(error.clone())
                    );
                    self.error = Some(error);
                }
            }
        }
    }

    fn take_command(&mut self, consumed: usize) {
        let command = &self.input[..consumed];
        let arguments = self.parser.spans().iter().map(|span| match span {
            Span::Large(number) => self.larges[*number as usize].clone(),
            span => self.parser.argument(command, span).to_vec(),
        });
        self.commands.push((arguments.collect(), consumed));
        self.larges.clear();
    }

    fn outcome(self) -> (Vec<(Arguments, usize)>, Option<ParseError>, Vec<u8>) {
        (self.commands, self.error, self.input)
    }
}

fn encoded(arguments: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Cuts at these places, each taken modulo what is left.
fn cut<'a>(mut bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for place in places {
        let (piece, rest) = bytes.split_at(place % (bytes.len() + 1));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

fn error_of(bytes: &[u8]) -> Option<ParseError> {
    Caller::of([bytes]).error
}

/// What a client is told, as text, once it has sent all of this.
fn told(bytes: &[u8]) -> String {
    error_of(bytes).map_or_else(String::new, |error| error.to_string())
}

/// What Redis would answer to the commands that the fixture consists of.
fn replies(caller: &Caller) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (arguments, _) in &caller.commands {
        match &arguments[..] {
            [] => {}
            [name] if name.eq_ignore_ascii_case(b"PING") => bytes.extend_from_slice(b"+PONG\r\n"),
            [name, text] if name == b"ECHO" => {
                bytes.extend_from_slice(&encoded(std::slice::from_ref(text))[b"*1\r\n".len()..]);
            }
            [name, script, keys, shown @ ..] if name == b"EVAL" => {
                assert_eq!((&script[..], &keys[..]), (&b"return ARGV"[..], &b"0"[..]));
                bytes.extend_from_slice(&encoded(shown));
            }
            other => panic!("not in the fixture: {other:?}"),
        }
    }
    let error = caller.error.iter().flat_map(ParseError::reply);
    bytes.extend(error);
    bytes
}

/// The bytes of a line of the fixture.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match (first, behind) {
            (b'\\', [b'r', behind @ ..]) => (b'\r', behind),
            (b'\\', [b'n', behind @ ..]) => (b'\n', behind),
            (b'\\', [b'x', high, low, behind @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                (u8::from_str_radix(digits, 16).unwrap(), behind)
            }
            (b'\\', [byte, behind @ ..]) => (*byte, behind),
            (byte, behind) => (*byte, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    bytes
}

/// Clients match on the words of errors, people know the rules of quotes by heart, and nobody reads a specification of either.
#[test]
fn the_same_as_recorded_from_redis() {
    let recorded = include_str!("../../../../tests/fixtures/redis-7.0.15/parsing.txt");
    let mut lines = recorded
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .peekable();
    let mut count = 0;
    while let Some(line) = lines.next() {
        let sent = line
            .strip_prefix('"')
            .and_then(|line| line.strip_suffix('"'));
        let sent = unescaped(sent.expect("what is sent stands between quotes"));
        let reply = lines.next_if(|line| line.starts_with(' '));
        let reply = unescaped(reply.map_or("", str::trim_start));
        let whole = Caller::of([&sent[..]]);
        assert_eq!(
            replies(&whole).escape_ascii().to_string(),
            reply.escape_ascii().to_string(),
            "{line}"
        );
        let slowly = Caller::of(sent.chunks(1));
        assert_eq!(slowly.outcome(), whole.outcome(), "{line}");
        count += 1;
    }
    assert!(count > 350, "{count}");
}

/// Redis waits for all of these. We say which bound is in the way, before anything of that length comes in.
#[test]
fn bounds_are_named() {
    assert_eq!(told(b"*1000\r\n"), "");
    assert_eq!(
        told(b"*1001\r\n"),
        "Protocol error: invalid multibulk length: 1001 is over resp_args_max, 1000 arguments"
    );
    assert_eq!(told(b"*1\r\n$4000\r\n"), "");
    assert_eq!(
        told(b"*1\r\n$4001\r\n"),
        "Protocol error: invalid bulk length: 4001 is over value_len_max, 4000 bytes"
    );
    assert_eq!(
        told(b"*1\r\n$500000000\r\n"),
        "Protocol error: invalid bulk length: 500000000 is over value_len_max, 4000 bytes"
    );
    // Four arguments of 500 bytes each would do, were it not for heads and line breaks.
    let mut command = b"*5\r\n".to_vec();
    for _ in 0..3 {
        command.extend_from_slice(b"$500\r\n");
        command.extend_from_slice(&[b'x'; 500]);
        command.extend_from_slice(b"\r\n");
    }
    let length = |len: usize| [&command[..], format!("${len}\r\n").as_bytes()].concat();
    assert_eq!(command.len(), 1528);
    assert_eq!(told(&length(464)), "");
    assert_eq!(
        told(&length(465)),
        "Protocol error: invalid bulk length: with 2001 bytes beside large arguments the command is over resp_command_bytes_max, 2000 bytes"
    );
    assert_eq!(told(&length(501)), "");
}

/// A client whose lengths are wrong has its values cut off by Redis, which takes what is left for the next command.
#[test]
fn an_argument_without_line_break_is_refused() {
    assert_eq!(
        told(b"*1\r\n$3\r\nPING\r"),
        "Protocol error: invalid bulk length: no line break behind 3 bytes"
    );
    assert_eq!(
        error_of(b"*1\r\n$5\r\nPING\r\n\n"),
        Some(ParseError::NoLineBreak { len: 5 })
    );
    assert_eq!(
        error_of(b"*1\rX$4\r\nPING\r\n"),
        Some(ParseError::InvalidCount)
    );
    assert_eq!(
        error_of(b"*1\r\n$4\rXPING\r\n"),
        Some(ParseError::InvalidLength)
    );
}

/// A person at telnet sends no zero byte, but something that mistakes the port does, and Redis leaves it without an answer.
#[test]
fn zero_bytes_have_no_meaning() {
    let caller = Caller::of([&b"a\0b \"\0\"\r\n"[..]]);
    assert_eq!(
        caller.commands,
        [(vec![b"a\0b".to_vec(), b"\0".to_vec()], 9)]
    );
    assert_eq!(error_of(b"*1\0\r\n"), Some(ParseError::InvalidCount));
    assert_eq!(
        error_of(b"*1\r\n\0\r\n"),
        Some(ParseError::ExpectedLength { found: 0 })
    );
}

/// Lines that don't end are the cheapest way to fill a server's memory.
#[test]
fn lines_must_end() {
    let longest = BOUNDS.inline_len_max;
    let line = |begin: &[u8], len: usize, end: &[u8]| [begin, &vec![b'1'; len - 1], end].concat();
    let cases = [
        (
            &b""[..],
            &b"*"[..],
            ParseError::CountTooLong,
            Some(ParseError::InvalidCount),
        ),
        (
            b"*1\r\n",
            b"$",
            ParseError::LengthTooLong,
            Some(ParseError::InvalidLength),
        ),
        (
            b"*1\r\n",
            b"x",
            ParseError::LengthTooLong,
            Some(ParseError::ExpectedLength { found: b'x' }),
        ),
        (b"", b"x", ParseError::InlineTooLong, None),
    ];
    for (before, begin, too_long, invalid) in cases {
        let told = |len, end: &[u8]| {
            let bytes = [before, &line(begin, len, end)].concat();
            let error = error_of(&bytes);
            assert_eq!(Caller::of(bytes.chunks(1)).error, error);
            error
        };
        assert_eq!(told(longest, b""), None);
        let last = invalid.as_ref().unwrap_or(&too_long);
        assert_eq!(told(longest, b"\r\n").as_ref(), Some(last));
        assert_eq!(told(longest + 1, b""), Some(too_long.clone()));
        assert_eq!(told(longest + 1, b"\r\n"), Some(too_long.clone()));
        assert_eq!(told(longest - 1, b"\r\n"), invalid);
    }
}

/// Whoever sends a command byte by byte must not make us read it all again for each. What changes behind the parser's back it doesn't see.
#[test]
fn what_is_understood_is_not_read_again() {
    for begin in ["*", "*1\r\n$", "*2\r\n$1\r\nx\r\n$", "inline"] {
        let mut bytes = [begin.as_bytes(), &[b'1'; 100]].concat();
        let mut parser = Parser::default();
        assert_eq!(parser.advance(&bytes, &BOUNDS), Ok(Progress::Incomplete));
        bytes[50..54].copy_from_slice(b"\r\n\r\n");
        bytes.push(b'1');
        assert_eq!(parser.advance(&bytes, &BOUNDS), Ok(Progress::Incomplete));
    }
    let mut parser = Parser::default();
    let bytes = *b"*3\r\n$1\r\nx\r\n$2\r\nyy\r\n$300\r\n";
    assert_eq!(parser.advance(&bytes, &BOUNDS), Ok(Progress::Incomplete));
    let changed = [&[b'*'; 25][..], &[b'z'; 300], b"\r\n"].concat();
    assert_eq!(bytes.len(), 25);
    let progress = parser.advance(&changed, &BOUNDS);
    assert_eq!(progress, Ok(Progress::Complete { consumed: 327 }));
    let places = [(8, 1), (15, 2), (25, 300)];
    let expected = places.map(|(at, len)| Span::Bytes { at, len });
    assert_eq!(parser.spans(), expected);
}

/// How far a line was searched says nothing of the next one: a client would wait for an error that is there.
#[test]
fn each_line_is_searched_from_its_begin() {
    let argument = ["\r\n", &"x".repeat(100), "\r\n"].concat();
    for (first, rest) in [("*1000", "\r\n"), ("*2\r\n$100", &argument)] {
        let rest = [rest, "$\r\n"].concat();
        let caller = Caller::of([first.as_bytes(), rest.as_bytes()]);
        assert_eq!(caller.error, Some(ParseError::InvalidLength), "{first}");
    }
}

/// It is for a caller without memory to spare: the command waits, and is looked at again and again.
#[test]
fn a_large_argument_is_announced_until_it_is_taken() {
    let mut parser = Parser::default();
    let head = b"*2\r\n$501\r\n";
    for _ in 0..3 {
        let progress = parser.advance(head, &BOUNDS);
        assert_eq!(progress, Ok(Progress::Large { at: 10, len: 501 }));
    }
    parser.large_taken();
    assert_eq!(parser.advance(head, &BOUNDS), Ok(Progress::Incomplete));
    assert!(!parser.is_idle());
    let whole = b"*2\r\n$501\r\n$0\r\n\r\n";
    for _ in 0..2 {
        let progress = parser.advance(whole, &BOUNDS);
        assert_eq!(
            progress,
            Ok(Progress::Complete {
                consumed: whole.len()
            })
        );
    }
    assert_eq!(
        parser.spans(),
        [Span::Large(0), Span::Bytes { at: 14, len: 0 }]
    );
}

/// Of a hundred thousand connections most are idle.
#[test]
fn an_idle_parser_keeps_little() {
    assert!(size_of::<Parser>() <= 112, "{}", size_of::<Parser>());
    let mut parser = Parser::default();
    let many = encoded(&vec![b"x".to_vec(); 200]);
    assert!(matches!(
        parser.advance(&many, &BOUNDS),
        Ok(Progress::Complete { .. })
    ));
    assert_eq!(parser.spans().len(), 200);
    parser.reset();
    assert!(parser.spans.capacity() <= SPANS_KEPT);
    let bounds = Bounds {
        inline_len_max: 9000,
        ..BOUNDS
    };
    let line = [&[b'x'; 8000][..], b"\r\n"].concat();
    assert!(matches!(
        parser.advance(&line, &bounds),
        Ok(Progress::Complete { .. })
    ));
    parser.reset();
    assert!(parser.inline.capacity() <= INLINE_BYTES_KEPT);
}

/// Bytes of which many are something to a parser.
fn speckled(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => prop::sample::select(&b"*$\r\n\r\n0123-\"'\\x \0"[..]),
        1 => any::<u8>(),
    ];
    vec(byte, len)
}

fn arguments() -> impl Strategy<Value = Arguments> {
    let argument = prop_oneof![
        8 => speckled(0..20),
        2 => speckled(90..110),
        1 => speckled(490..520),
    ];
    vec(argument, 0..6).prop_filter("it fits", |arguments| {
        let small = arguments
            .iter()
            .map(Vec::len)
            .filter(|len| *len <= BOUNDS.large_len);
        small.sum::<usize>() < BOUNDS.command_len_max - 100
    })
}

fn quoted(argument: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'"'];
    for byte in argument {
        bytes.extend_from_slice(format!("\\x{byte:02X}").as_bytes());
    }
    bytes.push(b'"');
    bytes
}

proptest! {
    /// What a client sends is what the commands see, wherever the network cuts it and wherever one command ends.
    #[test]
    fn arguments_are_what_was_sent(
        commands in vec((arguments(), any::<bool>()), 1..6),
        cuts in vec(0..400_usize, 0..12),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (arguments, inline) in commands {
            let before = bytes.len();
            let mut large = 0;
            let line: Vec<Vec<u8>> = arguments.iter().map(|it| quoted(it)).collect();
            let line = [&line.join(&b' ')[..], b"\r\n"].concat();
            if inline && line.len() < BOUNDS.inline_len_max {
                bytes.extend_from_slice(&line);
            } else {
                bytes.extend_from_slice(&encoded(&arguments));
                let larges = arguments.iter().filter(|it| it.len() > BOUNDS.large_len);
                large = larges.map(|it| it.len() + 2).sum();
            }
            expected.push((arguments, bytes.len() - before - large));
        }
        let outcome = Caller::of(cut(&bytes, &cuts)).outcome();
        prop_assert_eq!(outcome, (expected.clone(), None, Vec::new()));
        let slowly = Caller::of(bytes.chunks(1)).outcome();
        prop_assert_eq!(slowly, (expected, None, Vec::new()));
    }

    /// What is damaged or hostile ends in the same error behind the same commands, wherever it is cut.
    #[test]
    fn cuts_change_nothing(
        commands in vec(arguments(), 1..4),
        flips in vec((any::<prop::sample::Index>(), speckled(1..2)), 0..4),
        noise in speckled(0..40),
        cuts in vec(0..400_usize, 0..12),
    ) {
        let mut bytes: Vec<u8> = commands.iter().flat_map(|it| encoded(it)).collect();
        for (place, byte) in flips {
            let place = place.index(bytes.len());
            bytes[place] = byte[0];
        }
        bytes.extend_from_slice(&noise);
        let whole = Caller::of([&bytes[..]]).outcome();
        let pieces = Caller::of(cut(&bytes, &cuts)).outcome();
        prop_assert_eq!((&pieces.0, &pieces.1), (&whole.0, &whole.1));
        let slowly = Caller::of(bytes.chunks(1)).outcome();
        prop_assert_eq!((&slowly.0, &slowly.1), (&whole.0, &whole.1));
    }

    /// The short way of reading numbers and the long one are one.
    #[test]
    fn both_ways_read_the_same_numbers(text in "-?0?[0-9]{0,10}[x ]?", end in "(\r\n)?") {
        let line = format!("*{text}{end}");
        if let Some((short, next)) = short_number(line.as_bytes(), 0) {
            prop_assert_eq!(number(text.as_bytes()), Some(i64::from(short)));
            prop_assert_eq!(next, line.len());
        } else {
            let is_plain = number(text.as_bytes()).is_some_and(|it| it >= 0);
            prop_assert!(!is_plain || text.len() > 8 || end.is_empty());
        }
    }
}

/// Looking ahead must find the key that the command is then about, or nothing: a wrong one would cost time, one beyond the bytes a node.
#[test]
fn looking_ahead_finds_the_key_or_nothing() {
    let command = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000012345\r\n$1\r\nv\r\nnext";
    let whole = command.len() - 4;
    assert_eq!(key_ahead(command), Some((&b"key:000000012345"[..], whole)));
    for cut in 0..whole {
        assert_eq!(key_ahead(&command[..cut]), None, "{cut} bytes");
    }
    for other in [
        &b"PING\r\n"[..],
        b"*1\r\n$4\r\nPING\r\n",
        b"*2\r\n$3\r\nGET\r\n$1000\r\n",
        b"*2\r\n$3\r\nGET\r\n$-1\r\n",
        b"*12\r\n$3\r\nGET\r\n",
    ] {
        assert_eq!(key_ahead(other), None);
    }
}
