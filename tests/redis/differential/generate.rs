//! Runs: what is sent, in which slices, over which connection. All of it follows from the seed.
//!
//! Times to live are multiples of ten thousand seconds, each taken once in a run, so that which of two is the later one never hangs
//! on the moment at which a server computed it. (Absolute times may come again: they compare the same everywhere.)

use std::time::{Duration, SystemTime};

use super::CONNECTIONS;
use super::check::Check;
use super::known;
use crate::connection::encode;
use crate::support::random::Random;

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All commands alike.
    Everything,
    /// MULTI, EXEC, DISCARD, WATCH in every order, over two connections.
    Transactions,
    /// Half of the commands are spoiled.
    Malformed,
    /// Keys that live for milliseconds, and are looked at after that. Nothing counts keys here: whether those that have expired count yet
    /// is each server's own.
    ShortLives,
}

/// How long keys live that are to be gone when they are looked at next.
pub(super) const SHORT_LIFE: Duration = Duration::from_millis(4);

/// One command.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) connection: usize,
    /// Steps of the same slice are sent at once.
    pub(super) slice: u32,
    pub(super) words: Vec<Vec<u8>>,
    pub(super) check: Check,
    /// What follows waits until a key of this one is gone.
    pub(super) is_short_lived: bool,
    is_inline: bool,
}

impl Step {
    pub(super) fn new(words: Vec<Vec<u8>>, random: &mut Random) -> Step {
        let is_plain = |word: &Vec<u8>| {
            !word.is_empty()
                && word.len() < 1000
                && word
                    .iter()
                    .all(|byte| byte.is_ascii_graphic() && !b"\"'".contains(byte))
        };
        let may_be_inline = words.iter().all(is_plain) && words[0][0].is_ascii_alphabetic();
        Step {
            connection: 0,
            slice: 0,
            check: Check::of(&words),
            is_short_lived: false,
            is_inline: may_be_inline && random.percent(5),
            words,
        }
    }

    /// Appends its bytes.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        if self.is_inline {
            bytes.extend_from_slice(&self.words.join(b" ".as_slice()));
            bytes.extend_from_slice(b"\r\n");
            return;
        }
        let words: Vec<&[u8]> = self.words.iter().map(Vec::as_slice).collect();
        encode(&words, bytes);
    }
}

/// Keys of different slots, some of the same one, one that is no text.
const KEYS: [&[u8]; 12] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b"key:1",
    b"key:2",
    b"{t}1",
    b"{t}2",
    b"{t}3",
    b"\x00\xff \r\n",
    b"*[?]",
    b"Long-key-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789",
];

/// What stands where it doesn't belong.
const JUNK: [&[u8]; 14] = [
    b"",
    b"nx",
    b"XX",
    b"ex",
    b"-1",
    b"0",
    b"abc",
    b" 1",
    b"1.5",
    b"GET",
    b"count",
    b"\x7f\r\n",
    b"9223372036854775807",
    b"99999999999999999999",
];

struct Maker {
    random: Random,
    kind: Kind,
    now_s: u64,
    /// Times to live that were taken, in units of ten thousand seconds.
    taken: Vec<u64>,
    in_transaction: [bool; CONNECTIONS],
    short: bool,
}

/// The run of a seed.
pub(super) fn generate(seed: u64, kind: Kind) -> Vec<Step> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut maker = Maker {
        random: Random::new(seed),
        kind,
        now_s: now.unwrap().as_secs(),
        taken: Vec::new(),
        in_transaction: [false; CONNECTIONS],
        short: false,
    };
    let slices = 20 + maker.random.below(80) as u32;
    let mut steps = Vec::new();
    for slice in 0..slices {
        maker.slice(slice, &mut steps);
    }
    steps
}

impl Maker {
    fn slice(&mut self, slice: u32, steps: &mut Vec<Step>) {
        let connection = self.random.below(CONNECTIONS as u64) as usize;
        if !self.in_transaction[connection] && self.random.percent(5) {
            let words = self.words("SCAN 0");
            let mut words = words;
            if self.random.percent(50) {
                words.extend([b"MATCH".to_vec(), self.pattern()]);
            }
            if self.random.percent(30) {
                words.extend([b"count".to_vec(), self.one_of(&["1", "2", "5", "1000"])]);
            }
            if self.random.percent(20) {
                words.extend([b"TYPE".to_vec(), self.one_of(&["string", "LIST", "zset"])]);
            }
            let mut step = Step::new(words, &mut self.random);
            step.check = Check::WholeScan;
            steps.push(Step {
                connection,
                slice,
                ..step
            });
            return;
        }
        let len = match self.random.below(4) {
            0 => 1,
            1 => 2 + self.random.below(3),
            _ => 1 + self.random.below(20),
        };
        for _ in 0..len {
            self.short = false;
            let mut words = self.command(connection);
            let spoiled = if self.kind == Kind::Malformed { 40 } else { 3 };
            if self.random.percent(spoiled) {
                self.spoil(&mut words);
            }
            if self.in_transaction[connection] && !known::may_be_queued(&words) {
                words = self.words("GET K");
            }
            let name = words[0].to_ascii_lowercase();
            match name.as_slice() {
                b"multi" if words.len() == 1 => self.in_transaction[connection] = true,
                // With arguments it ends the transaction, too.
                b"exec" => self.in_transaction[connection] = false,
                b"discard" | b"reset" if words.len() == 1 => {
                    self.in_transaction[connection] = false;
                }
                _ => {}
            }
            if name == b"watch" && !self.in_transaction[connection] {
                // What is watched must be there: see `known`.
                for key in &words[1..] {
                    let words = [b"SET".as_slice(), key, b"watched"];
                    let words = words.map(<[u8]>::to_vec).to_vec();
                    let step = Step::new(words, &mut self.random);
                    steps.push(Step {
                        connection,
                        slice,
                        ..step
                    });
                }
            }
            let is_short_lived = self.short;
            let step = Step::new(words, &mut self.random);
            steps.push(Step {
                connection,
                slice,
                is_short_lived,
                ..step
            });
            if is_short_lived {
                break;
            }
        }
    }

    /// Takes an argument away, adds one, or puts something else in the place of one.
    fn spoil(&mut self, words: &mut Vec<Vec<u8>>) {
        self.short = false;
        let junk = JUNK[self.random.below(JUNK.len() as u64) as usize].to_vec();
        let at = self.random.below(words.len() as u64) as usize;
        match self.random.below(5) {
            0 if words.len() > 1 => {
                words.pop();
            }
            1 if at > 0 => {
                words.remove(at);
            }
            2 => words.push(junk),
            3 if at > 0 => words.insert(at, junk),
            _ if at > 0 => words[at] = junk,
            _ => words.push(junk),
        }
        // A key of no bytes is a known difference, and so is a long pause of WAIT.
        let takes_keys = !matches!(words[0].to_ascii_lowercase().as_slice(), b"echo" | b"ping");
        if takes_keys {
            for word in &mut words[1..] {
                if word.is_empty() {
                    *word = b"a".to_vec();
                }
            }
        }
        // So are keys over 65,535 bytes, and a refused HELLO that has set the name all the same.
        let names_itself = words
            .iter()
            .any(|word| word.eq_ignore_ascii_case(b"setname"));
        if words[0].eq_ignore_ascii_case(b"hello") && names_itself {
            *words = self.words("HELLO 3");
        }
        if words.get(1).is_some_and(|word| word.len() > 65_535) && takes_keys {
            words[1] = b"a".to_vec();
        }
        if words[0].eq_ignore_ascii_case(b"wait") {
            *words = self.words("WAIT 0 1");
        }
    }

    fn command(&mut self, connection: usize) -> Vec<Vec<u8>> {
        let transactional = match (self.kind, self.in_transaction[connection]) {
            (Kind::Transactions, _) => 25,
            (_, true) => 15,
            _ => 4,
        };
        if self.random.percent(transactional) {
            return self.transactional(connection);
        }
        match self.random.below(100) {
            0..55 => self.strings(),
            55..90 => self.keys(),
            _ => self.connection(),
        }
    }

    fn transactional(&mut self, connection: usize) -> Vec<Vec<u8>> {
        let wanted = if self.in_transaction[connection] {
            [
                "EXEC", "EXEC", "EXEC", "discard", "MULTI", "WATCH K", "UNWATCH", "EXEC",
            ]
        } else {
            [
                "MULTI",
                "MULTI",
                "MULTI",
                "WATCH K",
                "watch K K",
                "Unwatch",
                "EXEC",
                "DISCARD",
            ]
        };
        let line = wanted[self.random.below(8) as usize];
        self.words(line)
    }

    fn strings(&mut self) -> Vec<Vec<u8>> {
        let lines = [
            "GET K",
            "get K",
            "SET K V",
            "set K V",
            "SET K V",
            "SETNX K V",
            "SETEX K T V",
            "PSETEX K P V",
            "GETSET K V",
            "GETDEL K",
            "GETEX K",
            "GETEX K PERSIST",
            "GETEX K EX T",
            "GETEX K PX P",
            "GETEX K EXAT A",
            "GETEX K PXAT Q",
            "MGET K",
            "MGET K K K",
            "MGET K K K K K K K K",
            "MSET K V",
            "MSET K V K V K V",
            "MSETNX K V",
            "MSETNX K V K V",
            "APPEND K V",
            "STRLEN K",
            "GETRANGE K I I",
            "GETRANGE K 0 -1",
            "SUBSTR K I I",
            "SETRANGE K O V",
            "INCR K",
            "INCR K",
            "DECR K",
            "INCRBY K N",
            "DECRBY K N",
            "INCRBYFLOAT K F",
            "INCRBYFLOAT K F",
            "SET K N",
            "SET K F",
        ];
        if self.random.percent(15) {
            return self.set_with_options();
        }
        let line = lines[self.random.below(lines.len() as u64) as usize];
        self.words(line)
    }

    fn set_with_options(&mut self) -> Vec<Vec<u8>> {
        let mut words = self.words("SET K V");
        for _ in 0..1 + self.random.below(3) {
            let options = [
                "EX T", "PX P", "EXAT A", "PXAT Q", "KEEPTTL", "NX", "XX", "GET", "nx", "xX",
                "get", "keepttl",
            ];
            let option = options[self.random.below(options.len() as u64) as usize];
            words.extend(self.words(option));
        }
        words
    }

    fn keys(&mut self) -> Vec<Vec<u8>> {
        let lines = [
            "DEL K",
            "DEL K K K",
            "UNLINK K",
            "UNLINK K K",
            "EXISTS K",
            "EXISTS K K K K",
            "TOUCH K K",
            "EXPIRE K T",
            "PEXPIRE K P",
            "EXPIREAT K A",
            "PEXPIREAT K Q",
            "EXPIRE K T C",
            "PEXPIRE K P C",
            "EXPIREAT K A C",
            "PEXPIREAT K Q C",
            "EXPIRE K T C C",
            "TTL K",
            "PTTL K",
            "EXPIRETIME K",
            "PEXPIRETIME K",
            "TTL K",
            "PERSIST K",
            "TYPE K",
            "RENAME K K",
            "RENAMENX K K",
            "COPY K K",
            "COPY K K REPLACE",
            "COPY K K DB D",
            "COPY K K DB D REPLACE",
            "RANDOMKEY",
            "KEYS G",
            "KEYS *",
            "SCAN 0 COUNT 1000",
            "OBJECT ENCODING K",
            "OBJECT IDLETIME K",
            "OBJECT FREQ K",
            "OBJECT REFCOUNT K",
            "MEMORY USAGE K",
            "DBSIZE",
            "DBSIZE",
            "FLUSHDB",
        ];
        let counting = ["DBSIZE", "RANDOMKEY", "MEMORY USAGE K"];
        let line = lines[self.random.below(lines.len() as u64) as usize];
        if self.kind == Kind::ShortLives {
            if counting.contains(&line) {
                return self.short_lived();
            }
            if self.random.percent(8) {
                return self.short_lived();
            }
        }
        if line == "FLUSHDB" && self.random.percent(60) {
            return self.words("KEYS *");
        }
        self.words(line)
    }

    /// A key that will soon be gone. Never in a transaction: who knows when that is carried out.
    fn short_lived(&mut self) -> Vec<Vec<u8>> {
        if self.in_transaction.contains(&true) {
            return self.words("GET K");
        }
        self.short = true;
        let life = SHORT_LIFE.as_millis();
        let lines = [
            "PEXPIRE K L",
            "SET K V PX L",
            "PSETEX K L V",
            "GETEX K PX L",
        ];
        let line = lines[self.random.below(lines.len() as u64) as usize];
        self.words(&line.replace('L', &life.to_string()))
    }

    fn connection(&mut self) -> Vec<Vec<u8>> {
        let lines = [
            "PING",
            "PING V",
            "ECHO V",
            "SELECT D",
            "SELECT D",
            "HELLO",
            "HELLO 2",
            "HELLO 3",
            "HELLO 3 SETNAME n",
            "HELLO 4",
            "HELLO 3 AUTH default x",
            "HELLO 3 AUTH other x",
            "AUTH x",
            "AUTH default x",
            "AUTH other x",
            "CLIENT ID",
            "CLIENT GETNAME",
            "CLIENT SETNAME n",
            "CLIENT SETNAME",
            "client setname abc-d",
            "RESET",
            "WAIT 0 1",
            "TIME",
            "LASTSAVE",
            "COMMAND GETKEYS SET K V",
            "COMMAND GETKEYS MSET K V K V",
            "COMMAND GETKEYS PING",
            "COMMAND GETKEYS DEL K K",
            "CLIENT NO-EVICT on",
            "FLUSHALL",
            "FLUSHDB ASYNC",
            "FLUSHALL sync",
            "FLUSHALL V",
            "NOSUCH K V",
            "ROLE",
            "LATENCY LATEST",
            "COMMAND INFO get nosuch",
            "CLIENT nosuch",
        ];
        let line = lines[self.random.below(lines.len() as u64) as usize];
        self.words(line)
    }

    /// A line whose single capital letters stand for arguments.
    fn words(&mut self, line: &str) -> Vec<Vec<u8>> {
        // SET with a time that is over leaves a key that counts until it is looked at: see `known`.
        let over = if line.contains("EXPIRE") { "1" } else { "-5" };
        let words = line.split(' ').enumerate();
        words
            .map(|(at, word)| match word {
                _ if at == 0 => self.in_some_case(word),
                "K" => KEYS[self.random.below(KEYS.len() as u64) as usize].to_vec(),
                "V" => self.value(),
                "T" => self.time_to_live(1),
                "P" => self.time_to_live(1000),
                "A" => self.time_of_expiry(1, over),
                "Q" => self.time_of_expiry(1000, over),
                "C" => self.one_of(&["NX", "XX", "GT", "LT", "nx", "gt"]),
                "I" => self.one_of(&[
                    "0",
                    "1",
                    "3",
                    "10",
                    "-1",
                    "-3",
                    "-100",
                    "100",
                    "9223372036854775807",
                    "-9223372036854775808",
                ]),
                "O" => self.one_of(&[
                    "0",
                    "1",
                    "3",
                    "10",
                    "100",
                    "-1",
                    "536870912",
                    "9223372036854775807",
                    "x",
                ]),
                "N" => self.one_of(&[
                    "0",
                    "1",
                    "-1",
                    "7",
                    "-100",
                    "9223372036854775807",
                    "-9223372036854775808",
                    "9223372036854775808",
                    "+1",
                    "1.0",
                    " 1",
                    "007",
                    "4611686018427387904",
                ]),
                "F" => self.one_of(&[
                    "0",
                    "1",
                    "-1",
                    "0.1",
                    "3.14159",
                    "1e3",
                    "-2.5e-3",
                    "1e300",
                    "5e-324",
                    "inf",
                    "-inf",
                    "nan",
                    "0x10",
                    "1.",
                    ".5",
                    " 1",
                    "1 ",
                    "9223372036854775807",
                    "0.30000000000000004",
                    "1e4932",
                    "123456789012345678.9",
                    "abc",
                ]),
                "D" => self.one_of(&["0", "1", "2", "0", "1", "15", "16", "-1", "x"]),
                "G" => self.pattern(),
                word => word.as_bytes().to_vec(),
            })
            .collect()
    }

    fn in_some_case(&mut self, word: &str) -> Vec<u8> {
        match self.random.below(3) {
            0 => word.to_ascii_lowercase().into_bytes(),
            1 => word.to_ascii_uppercase().into_bytes(),
            _ => word.as_bytes().to_vec(),
        }
    }

    fn one_of(&mut self, words: &[&str]) -> Vec<u8> {
        let word = words[self.random.below(words.len() as u64) as usize];
        word.as_bytes().to_vec()
    }

    fn pattern(&mut self) -> Vec<u8> {
        self.one_of(&[
            "*", "a", "?", "[ab]", "[^ab]", "[a-c]", "key:*", "{t}?", "*1", "\\*[[]?]", "*[?]",
            "\\*\\[*", "[", "[a-", "a**", "Long*9", "", "[c-a]", "*[0-9]*",
        ])
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(40) {
            0 => vec![b'x'; 5_000],
            1 => vec![b'1'; 70_000],
            2 if self.random.percent(30) => vec![b'y'; 300_000],
            3..6 => b"\x00\r\n\xff$5\r\n".to_vec(),
            6..10 => Vec::new(),
            10..20 => self.one_of(&[
                "0",
                "1",
                "-1",
                "10",
                "9223372036854775807",
                "-9223372036854775808",
                "9223372036854775800",
                "1.5",
                "3.0e3",
                "nan",
            ]),
            _ => {
                let len = self.random.below(60);
                (0..len)
                    .map(|_| b'a' + self.random.below(26) as u8)
                    .collect()
            }
        }
    }

    /// In units of which a second has `per_second`.
    fn time_to_live(&mut self, per_second: u64) -> Vec<u8> {
        if self.random.percent(12) {
            return self.impossible_time("-7");
        }
        loop {
            let units = 1 + self.random.below(100_000);
            if !self.taken.contains(&units) {
                self.taken.push(units);
                return (units * 10_000 * per_second).to_string().into_bytes();
            }
        }
    }

    fn time_of_expiry(&mut self, per_second: u64, over: &str) -> Vec<u8> {
        if self.random.percent(20) {
            // An absolute time is the same for both, however often it comes.
            let far = self.random.percent(50);
            return self.impossible_time(if far { "9223372036854775" } else { over });
        }
        let units = match self.random.below(4) {
            0 => 17,
            1 => 50,
            _ => 1 + self.random.below(100_000),
        };
        // Half a unit away from every time to live.
        let at_s = self.now_s + units * 10_000 + 5_000;
        (at_s * per_second).to_string().into_bytes()
    }

    /// No time, one that is over, or one beyond all numbers.
    fn impossible_time(&mut self, other: &str) -> Vec<u8> {
        self.one_of(&[
            other,
            "0",
            "-1",
            "-100",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854776000",
            "-9223372036854775",
            "abc",
            "1.5",
            "99999999999999999999",
        ])
    }
}
