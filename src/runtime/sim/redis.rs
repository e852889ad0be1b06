//! Redis clients: each connects, sends what chance makes of it, in pipelines or waiting for replies, and holds the replies against what may be so.
//!
//! Replies come in the order of the commands, one for each; markers (ECHO) between them show it. Some clients go away in the middle, some say QUIT,
//! some end with bytes that are no command. What the commands do is checked in two ways:
//!
//! | | who | what |
//! |---|---|---|
//! | `pairs` | any number of clients at once | transactions on two counters are isolated and nothing acknowledged is lost |
//! | `ledger` | a few clients at a time | some order of all requests explains all replies (`order`), by a model of Redis (`model`) |
//!
//! All that they choose is drawn from a sequence of its own, so worlds without such clients stay what they are.

mod command;
mod ledger;
mod model;
mod order;
mod pairs;
mod reply;

use std::collections::VecDeque;
use std::fmt;

use super::habits::Habits;
use super::random::Random;
use super::traffic::{NETWORK_NS_MAX, Pipe};
use super::world::{Event, Phase, World};
use command::{Command, KEYS, Key};
use ledger::{Ledger, RequestId, deeds};
use model::Deed;
use pairs::{Own, PAIRS, Pairs};
use reply::{Reply, take_reply};

/// The database of the pairs: nobody else looks into its keyspace.
const PAIRS_DATABASE: &str = "3";
/// The databases of all.
const DATABASES: [&str; 2] = ["3", "4"];
/// A world's sequence of chance for these clients.
const STREAM: u64 = 1 << 20;
/// Clients of the ledger at a time: an order of requests is looked for, and that takes longer the more of them overlap.
const LEDGER_CLIENTS_MAX: usize = 4;
/// Connections of a world beyond which no Redis client comes: a shard has 64 at most, and those that hang up stay for a while.
const CONNECTIONS_MAX: usize = 40;

/// What the Redis clients of a world know together.
#[derive(Debug)]
pub(super) struct Books {
    random: Random,
    /// A client comes once in so many steps of other clients; 0: never.
    one_in: u64,
    /// No disk fails: every request is carried out.
    is_calm: bool,
    pairs: Pairs,
    ledger: Ledger,
    /// What was found when nobody could be told.
    fault: Option<String>,
}

impl Books {
    pub(super) fn new(seed: u64, habits: &Habits) -> Books {
        let mut random = Random::new(seed, STREAM);
        let one_in = if random.percent(50) {
            random.between(1, 20)
        } else {
            0
        };
        let faults = [
            habits.write_error_one_in,
            habits.sync_error_one_in,
            habits.prepare_error_one_in,
            habits.read_error_one_in,
            habits.rot_percent,
        ];
        let is_calm = faults == [0; 5];
        Books {
            random,
            one_in,
            is_calm,
            pairs: Pairs::new(is_calm),
            ledger: Ledger::new(habits, is_calm),
            fault: None,
        }
    }

    /// From now on requests may be refused because of a disk.
    pub(super) fn disturb(&mut self) {
        self.is_calm = false;
        self.pairs.disturb();
        self.ledger.disturb();
    }

    fn comes(&mut self) -> bool {
        self.one_in > 0 && self.random.one_in(self.one_in)
    }

    /// Searches that were given up because they took too long.
    pub(super) fn undecided(&self) -> u64 {
        self.ledger.undecided
    }
}

/// How the reply to requests of the ledger tells what became of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// It is that of all of them.
    Whole,
    /// An array has a part for each.
    Parts,
    /// It says OK.
    Ok,
}

/// The next reply.
#[derive(Clone, Debug)]
enum Expected {
    /// To SELECT.
    Selected,
    /// To ECHO.
    Marker(String),
    Ok,
    Queued,
    /// To the EXEC of a transfer.
    Moved {
        pair: usize,
        by: i64,
    },
    /// To the EXEC of a look at both counters.
    Seen {
        pair: usize,
        floor: i64,
    },
    /// To requests of the ledger.
    Told(Vec<RequestId>, Form),
    /// To what is no command; the connection ends.
    Refusal,
}

/// What is sent in one go, once all before it has its replies.
#[derive(Default)]
struct Stage {
    bytes: Vec<u8>,
    expected: Vec<Expected>,
}

impl fmt::Debug for Stage {
    /// The bytes as text, as far as they say what is asked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = &self.bytes[..self.bytes.len().min(400)];
        write!(f, "{} …, {:?}", begin.escape_ascii(), self.expected)
    }
}

/// One such client.
#[derive(Debug)]
pub(super) struct RedisClient {
    /// Its connection.
    number: u32,
    received: Vec<u8>,
    stages: VecDeque<Stage>,
    expected: VecDeque<Expected>,
    own: Own,
    /// It asks of the ledger's families.
    is_of_ledger: bool,
    database: Option<&'static str>,
    /// The server is to close the connection.
    waits_for_end: bool,
    /// It goes away after so many replies, whatever it waits for.
    patience: usize,
}

impl RedisClient {
    fn new(number: u32) -> RedisClient {
        RedisClient {
            number,
            received: Vec::new(),
            stages: VecDeque::from([Stage::default()]),
            expected: VecDeque::new(),
            own: Own::default(),
            is_of_ledger: false,
            database: None,
            waits_for_end: false,
            patience: usize::MAX,
        }
    }

    /// One that moves numbers between the counters of pairs.
    fn of_pairs(number: u32, books: &mut Books) -> RedisClient {
        let mut client = RedisClient::new(number);
        client.select(books, PAIRS_DATABASE);
        for marker in 0..1 + books.random.skewed(12) {
            match books.random.below(10) {
                0..2 => client.mark(marker),
                2..6 => {
                    let pair = books.random.index(PAIRS);
                    let by = books.random.between(1, 1000) as i64;
                    client.transfer(books, pair, by);
                }
                _ => {
                    let pair = books.random.index(PAIRS);
                    client.look(books, pair);
                }
            }
        }
        client.end(books);
        client
    }

    /// One that asks of the ledger's families; there is none if they have enough.
    fn of_ledger(number: u32, books: &mut Books) -> Option<RedisClient> {
        let mut client = RedisClient::new(number);
        client.is_of_ledger = true;
        let mut family = books.ledger.choose(&mut books.random)?;
        for marker in 0..1 + books.random.skewed(8) {
            if books.is_calm && books.random.one_in(6) {
                family = books.ledger.choose(&mut books.random).unwrap_or(family);
            }
            client.select(books, Ledger::database(family));
            if books.random.one_in(10) {
                client.mark(marker);
            }
            client.request(books, family);
        }
        client.end(books);
        Some(client)
    }

    /// One that looks at everything in a database.
    fn auditor(number: u32, books: &mut Books, database: &'static str) -> RedisClient {
        let mut client = RedisClient::new(number);
        client.select(books, database);
        client.stages.push_back(Stage::default());
        if database == PAIRS_DATABASE {
            for pair in 0..PAIRS {
                client.look(books, pair);
            }
        }
        let families = books.ledger.families();
        for family in families.filter(|family| Ledger::database(*family) == database) {
            for key in 0..KEYS as Key {
                for command in [Command::Get(key), Command::Pttl(key)] {
                    client.ask(books, family, &command, true);
                }
            }
        }
        client
    }

    /// How it comes to its end.
    fn end(&mut self, books: &mut Books) {
        match books.random.below(12) {
            0..2 => {
                self.waits_for_end = true;
                self.stage().bytes.extend(b"*1\r\n$nothing\r\n");
                self.stage().expected.push(Expected::Refusal);
            }
            2 => {
                self.waits_for_end = true;
                self.command(&["QUIT"]);
                self.expect(Expected::Ok);
                // Nothing that comes behind is carried out.
                for family in books.ledger.families() {
                    let names = books.ledger.names(family);
                    self.command(&["SET", &names[0], "after the end"]);
                }
            }
            3..5 => self.patience = books.random.index(12),
            _ => {}
        }
    }

    fn stage(&mut self) -> &mut Stage {
        self.stages.back_mut().expect("there is one to begin with")
    }

    fn expect(&mut self, expected: Expected) {
        self.stage().expected.push(expected);
    }

    fn command<S: AsRef<str>>(&mut self, arguments: &[S]) {
        let bytes = &mut self.stage().bytes;
        bytes.extend(format!("*{}\r\n", arguments.len()).bytes());
        for argument in arguments {
            let argument = argument.as_ref();
            bytes.extend(format!("${}\r\n{argument}\r\n", argument.len()).bytes());
        }
    }

    /// Goes into a database. Where it may be refused, and now and then elsewhere, nothing is sent before that is known.
    fn select(&mut self, books: &mut Books, database: &'static str) {
        if self.database == Some(database) {
            return;
        }
        self.database = Some(database);
        self.command(&["SELECT", database]);
        self.expect(Expected::Selected);
        if !books.is_calm || books.random.percent(30) {
            self.stages.push_back(Stage::default());
        }
    }

    fn mark(&mut self, number: u64) {
        let marker = format!("marker {number}");
        self.command(&["ECHO", &marker]);
        self.expect(Expected::Marker(marker));
    }

    fn transfer(&mut self, books: &mut Books, pair: usize, by: i64) {
        let [first, second] = books.pairs.names(pair);
        let by_text = by.to_string();
        self.transaction(&[
            &["INCRBY", &first, &by_text],
            &["DECRBY", &second, &by_text],
        ]);
        self.expect(Expected::Moved { pair, by });
        books.pairs.ask(pair, by);
    }

    fn look(&mut self, books: &Books, pair: usize) {
        let [first, second] = books.pairs.names(pair);
        self.transaction(&[&["GET", &first], &["GET", &second]]);
        let floor = books.pairs.floor(pair);
        self.expect(Expected::Seen { pair, floor });
    }

    /// All of a transaction but what its EXEC has for a reply.
    fn transaction<S: AsRef<str>>(&mut self, commands: &[&[S]]) {
        self.command(&["MULTI"]);
        self.expect(Expected::Ok);
        for command in commands {
            self.command(command);
            self.expect(Expected::Queued);
        }
        self.command(&["EXEC"]);
    }

    /// A command or a transaction on a family.
    fn request(&mut self, books: &mut Books, family: usize) {
        match books.random.below(100) {
            0..50 => {
                let command = books.ledger.chooser.alone(&mut books.random);
                self.ask(books, family, &command, false);
            }
            50..80 => self.execute(books, family, 0),
            _ => {
                let mut keys = command::Chooser::some_keys(&mut books.random);
                keys.truncate(2);
                let names = books.ledger.names(family);
                let mut arguments = vec!["WATCH"];
                arguments.extend(keys.iter().map(|key| names[usize::from(*key)].as_str()));
                self.command(&arguments);
                let watch = |key: &Key| {
                    books
                        .ledger
                        .ask(self.number, family, Deed::Watch(*key), false)
                };
                let requests = keys.iter().map(watch).collect();
                self.expect(Expected::Told(requests, Form::Ok));
                if books.random.percent(50) {
                    self.ask(books, family, &Command::Get(keys[0]), false);
                }
                if books.random.percent(60) {
                    self.stages.push_back(Stage::default());
                }
                let watched = keys.iter().fold(0, |all, key| all | 1 << key);
                self.execute(books, family, watched);
            }
        }
    }

    /// A command by itself.
    fn ask(&mut self, books: &mut Books, family: usize, command: &Command, is_audit: bool) {
        self.command(&command.arguments(&books.ledger.names(family)));
        let form = match command {
            Command::MGet(_) => Form::Parts,
            _ => Form::Whole,
        };
        let deeds = deeds(command, || books.ledger.group());
        let requests = deeds.into_iter();
        let requests = requests.map(|deed| books.ledger.ask(self.number, family, deed, is_audit));
        let requests = requests.collect();
        self.expect(Expected::Told(requests, form));
    }

    fn execute(&mut self, books: &mut Books, family: usize, watched: u8) {
        let moves = books.ledger.is_whole(family);
        let names = books.ledger.names(family);
        let count = 1 + books.random.index(4);
        let commands: Vec<Command> = (0..count)
            .map(|_| books.ledger.chooser.inside(&mut books.random, moves))
            .collect();
        let arguments: Vec<Vec<String>> = commands
            .iter()
            .map(|command| command.arguments(&names))
            .collect();
        let arguments: Vec<&[String]> = arguments.iter().map(Vec::as_slice).collect();
        self.transaction(&arguments);
        let deed = Deed::Exec { commands, watched };
        let request = books.ledger.ask(self.number, family, deed, false);
        self.expect(Expected::Told(vec![request], Form::Whole));
    }

    /// What it sends next, if it has the replies to all before.
    fn send(&mut self, now: u64, ledger: &mut Ledger) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.expected.is_empty()
            && bytes.is_empty()
            && let Some(stage) = self.stages.pop_front()
        {
            bytes = stage.bytes;
            self.expected.extend(stage.expected);
        }
        if !bytes.is_empty() {
            let requests = self.expected.iter().flat_map(|expected| match expected {
                Expected::Told(requests, _) => requests.as_slice(),
                _ => &[],
            });
            ledger.sent(now, requests.copied());
        }
        bytes
    }

    fn is_done(&self) -> bool {
        self.expected.is_empty() && self.stages.iter().all(|stage| stage.bytes.is_empty())
    }

    /// Judges a reply of which the ledger knows nothing; gives it back if it does.
    fn judge(
        &mut self,
        expected: &Expected,
        reply: Reply,
        books: &mut Books,
    ) -> Result<Option<Reply>, String> {
        match (expected, reply) {
            (Expected::Selected | Expected::Ok, Reply::Simple(text)) if text == "OK" => Ok(None),
            (Expected::Queued, Reply::Simple(text)) if text == "QUEUED" => Ok(None),
            (Expected::Marker(marker), Reply::Bulk(Some(text))) if text == *marker => Ok(None),
            (Expected::Refusal, Reply::Error(text)) if text.starts_with("ERR Protocol error") => {
                Ok(None)
            }
            // Without a database it has nothing to do.
            (Expected::Selected, Reply::Error(_)) if !books.is_calm => {
                self.expected.clear();
                self.stages.clear();
                self.waits_for_end = false;
                Ok(None)
            }
            (
                Expected::Moved { pair, by: least } | Expected::Seen { pair, floor: least },
                reply,
            ) => {
                let result = books.pairs.judge(*pair, *least, &mut self.own, &reply);
                result
                    .map(|()| None)
                    .map_err(|reason| format!("{reason}: {reply:?}"))
            }
            (Expected::Told(requests, form), reply) => {
                let is_right = match (form, &reply) {
                    (_, Reply::Error(_)) => true,
                    (Form::Ok, reply) => *reply == Reply::Simple("OK".to_owned()),
                    (Form::Parts, Reply::Array(parts)) => parts.len() == requests.len(),
                    (Form::Parts, _) => false,
                    (Form::Whole, _) => true,
                };
                match is_right {
                    true => Ok(Some(reply)),
                    false => Err(format!("the reply has another form: {reply:?}")),
                }
            }
            (_, reply) => Err(format!("another reply than the command has: {reply:?}")),
        }
    }

    /// What it will never hear of may have happened or not.
    fn leave(&self, pairs: &mut Pairs) {
        let later = self.stages.iter().flat_map(|stage| &stage.expected);
        for expected in self.expected.iter().chain(later) {
            if let Expected::Moved { pair, .. } = expected {
                pairs.leave_open(*pair);
            }
        }
    }
}

impl World {
    /// Now and then a Redis client comes.
    pub(super) fn redis_may_come(&mut self) {
        if !self.redis.comes() || self.pipes.len() >= CONNECTIONS_MAX {
            return;
        }
        let of_ledger = |pipe: &&Pipe| pipe.redis.as_ref().is_some_and(|it| it.is_of_ledger);
        let busy = self.pipes.values().filter(of_ledger).count();
        let is_of_ledger = busy < LEDGER_CLIENTS_MAX && self.redis.random.percent(50);
        let client = match is_of_ledger {
            true => RedisClient::of_ledger(self.pipe_next, &mut self.redis),
            false => Some(RedisClient::of_pairs(self.pipe_next, &mut self.redis)),
        };
        if let Some(client) = client {
            self.connect_redis(client);
        }
    }

    fn connect_redis(&mut self, mut client: RedisClient) -> u32 {
        let shard = self.random.below(u64::from(self.habits.shard_count)) as u16;
        self.tally.redis_clients += 1;
        let number = client.number;
        self.pipe_next += 1;
        self.note(|| format!("a Redis client comes over {number}"));
        let bytes = client.send(self.now, &mut self.redis.ledger);
        let mut pipe = Pipe::new(shard, bytes);
        pipe.redis = Some(client);
        self.pipes.insert(number, pipe);
        self.after(NETWORK_NS_MAX, Event::Arrive(number));
        number
    }

    /// A Redis client reads all that there is.
    pub(super) fn reach_redis(&mut self, number: u32) -> Result<(), String> {
        let Some(pipe) = self.pipes.get_mut(&number) else {
            return Ok(());
        };
        let chunk = std::mem::take(&mut pipe.to_client);
        let (is_closed, is_excused) = (pipe.is_closed_by_server, pipe.is_excused);
        let Some(mut client) = pipe.redis.take() else {
            return Ok(());
        };
        self.hear(&mut client, &chunk)
            .map_err(|reason| format!("Redis client {number}: {reason}"))?;
        let is_gone = client.patience == 0 && !client.is_done();
        if is_closed || is_gone {
            client.leave(&mut self.redis.pairs);
        }
        if is_closed {
            let is_right = client.is_done() && client.received.is_empty();
            self.pipes.remove(&number);
            return match is_right || is_gone || is_excused || self.phase == Phase::Stop {
                true => Ok(()),
                false => Err(format!("the server closed the connection of {client:?}")),
            };
        }
        let bytes = client.send(self.now, &mut self.redis.ledger);
        let ends = is_gone || client.is_done() && !client.waits_for_end;
        let pipe = self.pipes.get_mut(&number).expect("it was there just now");
        pipe.redis = Some(client);
        if !bytes.is_empty() {
            pipe.to_server.extend(bytes);
            self.deliver_to_server(number);
        }
        self.took(number, chunk.len());
        if ends {
            self.abandon(number);
        }
        Ok(())
    }

    /// A client takes whole replies.
    fn hear(&mut self, client: &mut RedisClient, bytes: &[u8]) -> Result<(), String> {
        client.received.extend_from_slice(bytes);
        let received = std::mem::take(&mut client.received);
        let mut rest = &received[..];
        while let Some(reply) = take_reply(&mut rest)? {
            if client.patience == 0 {
                return Ok(());
            }
            client.patience -= 1;
            self.tally.redis_replies += 1;
            let expected = client.expected.pop_front();
            let expected = expected.ok_or_else(|| format!("nothing was asked for {reply:?}"))?;
            let told = client
                .judge(&expected, reply, &mut self.redis)
                .map_err(|reason| format!("{reason}, to {expected:?}"))?;
            let (Expected::Told(requests, form), Some(reply)) = (expected, told) else {
                continue;
            };
            let replies = match (form, reply) {
                (Form::Parts, Reply::Array(parts)) => parts,
                (_, reply) => vec![reply; requests.len()],
            };
            for (request, reply) in requests.into_iter().zip(replies) {
                self.redis
                    .ledger
                    .told(self.now, &self.history.wall, request, reply);
            }
        }
        client.received = rest.to_vec();
        Ok(())
    }

    /// The process is dead, and its Redis clients with it.
    pub(super) fn redis_died(&mut self) {
        for client in self.pipes.values().filter_map(|pipe| pipe.redis.as_ref()) {
            client.leave(&mut self.redis.pairs);
        }
        self.redis.pairs.died();
    }

    /// The death may have cost acknowledged writes.
    pub(super) fn redis_lost(&mut self) {
        self.redis.pairs.lost();
        if let Err(reason) = self.redis.ledger.lost(self.now, &self.history.wall) {
            self.redis.fault.get_or_insert(reason);
        }
    }

    /// Looks at all that Redis clients may have written, and checks what they were told.
    pub(super) fn audit_redis(&mut self) -> Result<(), String> {
        if self.redis.one_in == 0 {
            return Ok(());
        }
        if let Some(reason) = self.redis.fault.take() {
            return Err(reason);
        }
        for database in DATABASES {
            let client = RedisClient::auditor(self.pipe_next, &mut self.redis, database);
            let number = self.connect_redis(client);
            let patience = self.now + 60_000_000_000;
            let is_there =
                |world: &World| (world.pipes.get(&number)).is_some_and(|pipe| pipe.redis.is_some());
            while is_there(self) {
                if self.now > patience {
                    return Err("the audit of the Redis clients is not answered".to_owned());
                }
                self.step()?;
            }
        }
        let result = self.redis.ledger.settle(self.now, &self.history.wall);
        self.tally.redis_undecided = self.redis.undecided();
        result
    }
}
