//! The commands against what Redis says, and what is different on purpose.

mod model;

use std::fmt::Write;

use self::model::Node;
use super::*;
use crate::gateway::resp::session::Settings;

/// What redis-server says: see the directory's README.
const REPLIES: &str = include_str!("../../../../../tests/fixtures/redis-7.0.15/replies.txt");

/// Bytes with escapes, as the fixture writes them.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(byte.into()),
            _ => write!(text, "\\x{byte:02x}").unwrap(),
        }
    }
    text
}

/// The words of a line of the fixture.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        match first {
            b' ' => {}
            b'"' => {
                let mut word = Vec::new();
                loop {
                    match *rest {
                        [b'"', ref behind @ ..] => {
                            rest = behind;
                            break;
                        }
                        [b'\\', b'x', high, low, ref behind @ ..] => {
                            let digits = [high, low];
                            let digits = std::str::from_utf8(&digits).unwrap();
                            word.push(u8::from_str_radix(digits, 16).unwrap());
                            rest = behind;
                        }
                        [b'\\', letter, ref behind @ ..] => {
                            word.push(match letter {
                                b'r' => b'\r',
                                b'n' => b'\n',
                                other => other,
                            });
                            rest = behind;
                        }
                        [byte, ref behind @ ..] => {
                            word.push(byte);
                            rest = behind;
                        }
                        [] => panic!("a word in {line} has no end"),
                    }
                }
                words.push(word);
            }
            &byte => {
                let end = rest.iter().position(|&byte| byte == b' ');
                let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
                words.push([&[byte], word].concat());
                rest = behind;
            }
        }
    }
    words
}

/// The reply to a line, escaped.
fn ask(node: &mut Node, line: &str) -> String {
    let words = words(line);
    let arguments: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    escaped(&node.command(&arguments))
}

/// A client that was written for Redis goes by these bytes: which error it raises, whether it retries, what it makes of a reply.
#[test]
fn every_reply_is_the_one_of_redis() {
    let mut node = Node::new(Settings::default());
    let mut lines = REPLIES.lines();
    let mut wrong = Vec::new();
    let mut count = 0;
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(line) = line.strip_prefix("! ") {
            ask(&mut node, line);
            continue;
        }
        let expected = lines.next().unwrap().strip_prefix("    ").unwrap();
        let reply = ask(&mut node, line);
        count += 1;
        if reply != expected {
            wrong.push(format!("{line}\n    redis {expected}\n    we    {reply}"));
        }
    }
    assert!(count > 500, "the fixture has only {count} commands");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A user who sends a hash to this store must learn that it holds none, not that he mistyped.
#[test]
fn commands_of_redis_that_are_absent_are_named() {
    let mut node = Node::new(Settings::default());
    assert_eq!(
        ask(&mut node, "HSET a b c"),
        "-ERR command 'hset' is not supported: Corduroy holds strings only\\r\\n"
    );
    assert_eq!(
        ask(&mut node, "client PAUSE 10"),
        "-ERR command 'client|pause' is not supported: Corduroy does not hold clients up\\r\\n"
    );
    for name in foreign::names() {
        assert!(
            table::find_full(name.as_bytes()).is_none(),
            "{name} is there and said to be absent"
        );
        let line = name.replace('|', " ");
        let reply = ask(&mut node, &line);
        assert!(
            reply.starts_with(&format!("-ERR command '{name}' is not supported: ")),
            "{line}: {reply}"
        );
    }
}

/// Between the two lists, a command that Redis has must not fall through: COMMAND's names are in the fixture's source.
#[test]
fn every_command_of_redis_is_either_there_or_named() {
    let absent = foreign::names().filter(|name| !name.contains('|')).count();
    // Redis 7.0.15 has 240; DELIFEQ and WAITAOF are not among them.
    assert_eq!(table::COMMANDS.len() - 2 + absent, 240);
}

/// A user looks a command up before moving: one that the page forgets, or calls absent though it is there, costs a migration.
#[test]
fn the_documentation_lists_every_command() {
    const PAGE: &str = include_str!("../../../../../docs/redis-compatibility.md");
    let is_absent = |line: &str| line.ends_with("| absent |");
    let (_, families) = PAGE.split_once("## Absent families").unwrap();
    let listed = |name: &str| {
        let quoted = format!("`{}`", name.to_ascii_uppercase());
        let mut lines = PAGE.lines().filter(|line| line.starts_with('|'));
        lines
            .find(|line| {
                line.split('|')
                    .nth(1)
                    .is_some_and(|cell| cell.contains(&quoted))
            })
            .or_else(|| families.lines().find(|line| line.contains(&quoted)))
    };
    for command in table::COMMANDS {
        let line = listed(command.name).unwrap_or_else(|| panic!("{} is not listed", command.name));
        assert!(!is_absent(line) && !families.contains(line), "{line}");
    }
    for name in foreign::names().filter(|name| !name.contains('|')) {
        let line = listed(name).unwrap_or_else(|| panic!("{name} is not listed"));
        assert!(is_absent(line) || families.contains(line), "{line}");
    }
}

/// What Redis 7.2 and Valkey added, and what is our own.
#[test]
fn newer_commands_and_options() {
    let mut node = Node::new(Settings::default());
    for (line, expected) in [
        ("set a 1", "+OK"),
        ("set a 2 IFEQ x", "$-1"),
        ("set a 2 ifeq 1", "+OK"),
        ("set a 3 IFEQ 2 GET", "$1\\r\\n2"),
        ("set a 3 IFEQ 2 GET", "$1\\r\\n3"),
        ("set a 3 IFEQ", "-ERR syntax error"),
        ("set a 3 IFEQ 2 NX", "-ERR syntax error"),
        ("set a 3 XX IFEQ 2", "-ERR syntax error"),
        ("set a 3 IFEQ IFEQ", "$-1"),
        ("set nokey 3 IFEQ 3", "$-1"),
        ("delifeq a x", ":0"),
        ("delifeq a 3", ":1"),
        ("delifeq a 3", ":0"),
        ("waitaof 1 0 0", "*2\\r\\n:1\\r\\n:0"),
        (
            "waitaof 2 0 0",
            "-ERR value is out of range, value must between 0 and 1",
        ),
        (
            "waitaof 0 -1 0",
            "-ERR value is out of range, must be positive",
        ),
        ("waitaof 0 0 -1", "-ERR timeout is negative"),
        ("client setinfo lib-name redis-py", "+OK"),
        ("client setinfo LIB-VER 5.0", "+OK"),
        (
            "client setinfo lib-name \"a b\"",
            "-ERR lib-name cannot contain spaces, newlines or special characters.",
        ),
        ("client setinfo foo bar", "-ERR Unrecognized option 'foo'"),
        ("client no-touch on", "+OK"),
        ("readonly", "+OK"),
        ("readwrite", "+OK"),
        ("asking", "+OK"),
        ("cluster keyslot {user1000}.following", ":3443"),
        ("debug sleep 0", "-ERR DEBUG command not allowed"),
        (
            "get \"\"",
            "-ERR the empty key is not supported: a key has 1 to 65535 bytes",
        ),
        (
            "mget a \"\"",
            "-ERR the empty key is not supported: a key has 1 to 65535 bytes",
        ),
        (
            "config rewrite",
            "-ERR CONFIG REWRITE is not supported: the node never writes to its configuration file",
        ),
    ] {
        assert_eq!(ask(&mut node, line), format!("{expected}\\r\\n"), "{line}");
    }
    let mut lax = Node::new(Settings {
        sync_always: false,
        debug: true,
        ..Settings::default()
    });
    assert_eq!(ask(&mut lax, "waitaof 1 0 0"), "*2\\r\\n:0\\r\\n:0\\r\\n");
    assert_eq!(
        ask(&mut lax, "debug sleep x"),
        "-ERR value is not a valid float\\r\\n"
    );
    let order = |seconds: &'static [u8]| {
        order(
            &[b"DEBUG", b"sleep", seconds],
            &Session::new(*lax.session.settings()),
            Now::default(),
        )
    };
    assert_eq!(order(b"0.25"), Ok(Order::Sleep { nanos: 250_000_000 }));
    assert_eq!(order(b"-1"), Ok(Order::Sleep { nanos: 0 }));
    let longest = limits::DEBUG_SLEEP_NS_MAX;
    assert_eq!(order(b"inf"), Ok(Order::Sleep { nanos: longest }));
}

/// A library that asks HELP, COMMAND or COMMAND DOCS at its start, in either protocol, must get a reply that it can take apart.
#[test]
fn what_the_table_says_is_whole_in_both_protocols() {
    for protocol in ["hello 2", "hello 3"] {
        let mut node = Node::new(Settings::default());
        ask(&mut node, protocol);
        for line in [
            "command",
            "command info",
            "command docs",
            "command docs get client nokey",
            "command list",
            "command info set object",
            "command help",
            "client help",
            "lolwut",
            "latency histogram",
            "latency doctor",
            "time",
            "role",
        ] {
            let words = words(line);
            let arguments: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let reply = node.command(&arguments);
            assert_eq!(skip_reply(&reply), Some(reply.len()), "{line}");
        }
    }
}

/// The length of the reply with which bytes begin.
fn skip_reply(bytes: &[u8]) -> Option<usize> {
    let line_end = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || {
        std::str::from_utf8(&bytes[1..line_end - 2])
            .ok()?
            .parse::<usize>()
            .ok()
    };
    let elements = match bytes[0] {
        b'+' | b'-' | b':' | b'_' => return Some(line_end),
        b'$' | b'=' => return Some(line_end + number()? + 2),
        b'*' | b'~' => number()?,
        b'%' => 2 * number()?,
        _ => return None,
    };
    (0..elements).try_fold(line_end, |at, _| Some(at + skip_reply(&bytes[at..])?))
}

/// GET and SET take a way of their own, and must not say anything else than the table's.
#[test]
fn the_short_way_of_get_and_set_is_the_same_as_the_long_one() {
    let session = Session::new(Settings::default());
    let now = Now::default();
    for name in [b"get".as_slice(), b"GET", b"gEt"] {
        let arguments: [&[u8]; 2] = [name, b"a"];
        assert_eq!(
            order(&arguments, &session, now),
            order_of_any(&arguments, &session, now)
        );
    }
    for name in [b"set".as_slice(), b"SET", b"seT"] {
        let arguments: [&[u8]; 3] = [name, b"a", b"b"];
        assert_eq!(
            order(&arguments, &session, now),
            order_of_any(&arguments, &session, now)
        );
    }
    // Bytes that differ from the letters by the bit that tells capitals.
    for name in [b"\x07et".as_slice(), b"g\x05t", b"ge\xd4", b"gets", b"ge"] {
        let arguments: [&[u8]; 2] = [name, b"a"];
        assert!(matches!(
            order(&arguments, &session, now),
            Err(CommandError::Unknown { .. })
        ));
    }
}

/// A time to live beyond a hundred years is no error for Redis, so it must not become one on the way to the shard.
#[test]
fn every_expiry_makes_a_request_that_is_valid() {
    let session = Session::new(Settings::default());
    let now = Now {
        wall: crate::types::WallMillis(1_700_000_000_000),
        ..Now::default()
    };
    for number in [
        i64::MIN,
        -9_223_372_036_854_775,
        -1,
        0,
        1,
        4_000_000_000,
        1_700_000_000_000,
        9_223_372_036_854_775,
        i64::MAX - 1_700_000_000_000,
        i64::MAX,
    ] {
        let number = number.to_string();
        let number = number.as_bytes();
        let mut seen = 0;
        for arguments in [
            &[b"expire".as_slice(), b"a", number] as &[&[u8]],
            &[b"pexpire", b"a", number],
            &[b"expireat", b"a", number],
            &[b"pexpireat", b"a", number],
            &[b"set", b"a", b"b", b"ex", number],
            &[b"set", b"a", b"b", b"px", number],
            &[b"set", b"a", b"b", b"exat", number],
            &[b"set", b"a", b"b", b"pxat", number],
            &[b"getex", b"a", b"ex", number],
            &[b"getex", b"a", b"pxat", number],
        ] {
            match order(arguments, &session, now) {
                Ok(Order::One(request, _)) => {
                    assert_eq!(request.validate(), Ok(()), "{request:?}");
                    seen += 1;
                }
                Err(CommandError::InvalidExpiry(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(seen > 0);
    }
}
