//! Any bytes as what a Redis client sends, arrays and inline commands: the same commands and the same error however they are cut, each byte in
//! at most one command, each argument within its bounds. What a command says, said as an array, is the same command again.
#![no_main]

use corduroy::gateway::resp::parse::{Bounds, ParseError, Parser, Progress, Span};
use libfuzzer_sys::fuzz_target;

/// Small, so that every one of them is reached.
const BOUNDS: Bounds = Bounds {
    args_max: 20,
    bulk_len_max: 120,
    command_len_max: 150,
    inline_len_max: 100,
    large_len: 60,
};

#[derive(Debug, PartialEq)]
struct Outcome {
    commands: Vec<Vec<Vec<u8>>>,
    error: Option<ParseError>,
    /// Bytes of commands that were whole, large arguments included.
    consumed: usize,
}

/// Plays the caller over pieces of a stream.
fn play<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut parser = Parser::default();
    let mut input = Vec::new();
    let mut larges: Vec<Vec<u8>> = Vec::new();
    let mut outcome = Outcome {
        commands: Vec::new(),
        error: None,
        consumed: 0,
    };
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match parser.advance(&input, &BOUNDS) {
                Ok(Progress::Incomplete) => break,
                Ok(Progress::Large { at, len }) => {
                    assert!(len > BOUNDS.large_len && len <= BOUNDS.bulk_len_max);
                    assert!(at <= input.len() && at <= BOUNDS.command_len_max);
                    if input.len() < at + len + 2 {
                        break;
                    }
                    larges.push(input.drain(at..at + len + 2).take(len).collect());
                    parser.large_taken();
                }
                Ok(Progress::Complete { consumed }) => {
                    assert!(consumed <= BOUNDS.command_len_max.max(BOUNDS.inline_len_max + 1));
                    let command = &input[..consumed];
                    let argument = |span: &Span| match span {
                        Span::Large(number) => larges[*number as usize].clone(),
                        span => parser.argument(command, span).to_vec(),
                    };
                    outcome
                        .commands
                        .push(parser.spans().iter().map(argument).collect());
                    outcome.consumed += consumed;
                    outcome.consumed += larges.drain(..).map(|it| it.len() + 2).sum::<usize>();
                    input.drain(..consumed);
                    parser.reset();
                    assert!(parser.is_idle());
                }
                Err(error) => {
                    assert!(error.reply().ends_with(b"\r\n"));
                    assert!(!error.to_string().contains(['\r', '\n']));
                    outcome.error = Some(error);
                    return outcome;
                }
            }
        }
        assert!(input.len() <= BOUNDS.command_len_max + BOUNDS.bulk_len_max + piece.len() + 2);
    }
    outcome
}

fuzz_target!(|input: (&[u8], &[u8])| {
    let (cuts, stream) = input;
    let whole = play(std::iter::once(stream));
    assert!(whole.consumed <= stream.len());
    let mut rest = stream;
    let mut cuts = cuts.iter();
    let pieces = std::iter::from_fn(|| {
        if rest.is_empty() {
            return None;
        }
        let len = cuts.next().map_or(rest.len(), |len| usize::from(*len));
        let (piece, behind) = rest.split_at(rest.len().min(len));
        rest = behind;
        Some(piece)
    });
    assert_eq!(play(pieces), whole);
    assert_eq!(play(stream.chunks(1)), whole);
    for command in &whole.commands {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for argument in command {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
        let again = play(std::iter::once(&bytes[..]));
        // An inline command has no bounds but its line's.
        if again.error.is_none() {
            assert_eq!(again.commands, std::slice::from_ref(command));
        }
    }
});
