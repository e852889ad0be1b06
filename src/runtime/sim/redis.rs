//! Redis clients: each connects, chooses a database, sends one random pipeline, and holds the replies against what may be so.
//!
//! Replies come in the order of the commands; markers (ECHO) between them show it. What the commands do is told apart by **pairs** of counters: each
//! transfer adds to one what it takes from the other, in a transaction, so both are zero in sum whenever anybody looks, wherever their shards are.
//! Transfers only ever add to the first counter. So what it shows is at least what was acknowledged or seen before the look was
//! sent, and at most what was ever asked for: that is the check that nothing acknowledged is lost and nothing happens twice.
//!
//! After a death, a pair that shares a tag still adds up: one shard, one block. A pair without one may be torn by a transfer that was not
//! acknowledged, and then begins anew under other names; so does every pair when a death may have cost acknowledged writes.
//! Where disks fail or rot, a transfer may be refused in part while the node lives: there only the order and form of the replies are looked at.
//!
//! All chance is drawn from a sequence of its own, so worlds without such clients stay what they are.

mod reply;

use std::collections::VecDeque;

use super::habits::Habits;
use super::random::Random;
use super::traffic::{NETWORK_NS_MAX, Pipe};
use super::world::{Event, Phase, World};
use reply::{Reply, take_reply};

/// The database that they use: nobody else looks into its keyspace.
const DATABASE: &str = "3";
/// Pairs of counters; every third shares a tag.
const PAIRS: usize = 6;
/// A world's sequence of chance for these clients.
const STREAM: u64 = 1 << 20;

/// Two counters that are zero in sum.
#[derive(Debug, Default)]
struct Pair {
    /// How often it began anew.
    generation: u32,
    /// What the first counter shows at least, for whoever looks from now on.
    floor: i64,
    /// The sum of all that was ever asked for.
    ceiling: i64,
    /// A transfer was not acknowledged in this life of the process.
    is_open: bool,
}

/// What the Redis clients of a world know together.
#[derive(Debug)]
pub(super) struct Books {
    random: Random,
    /// A client comes once in so many steps of other clients; 0: never.
    one_in: u64,
    /// No disk fails: every transfer is carried out as a whole.
    is_calm: bool,
    pairs: Vec<Pair>,
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
        Books {
            random,
            one_in,
            is_calm: faults == [0; 5],
            pairs: (0..PAIRS).map(|_| Pair::default()).collect(),
        }
    }

    fn comes(&mut self) -> bool {
        self.one_in > 0 && self.random.one_in(self.one_in)
    }

    fn is_tagged(pair: usize) -> bool {
        pair.is_multiple_of(3)
    }

    fn names(&self, pair: usize) -> [String; 2] {
        let generation = self.pairs[pair].generation;
        ["a", "b"].map(|side| {
            if Books::is_tagged(pair) {
                format!("{{{pair}.{generation}}}{side}")
            } else {
                format!("{side}{pair}.{generation}")
            }
        })
    }

    /// The process is dead.
    pub(super) fn died(&mut self) {
        for (number, pair) in self.pairs.iter_mut().enumerate() {
            if pair.is_open && !Books::is_tagged(number) {
                pair.begin_anew();
            }
            pair.is_open = false;
        }
    }

    /// The death may have cost acknowledged writes.
    pub(super) fn lost(&mut self) {
        self.pairs.iter_mut().for_each(Pair::begin_anew);
    }
}

impl Pair {
    fn begin_anew(&mut self) {
        *self = Pair {
            generation: self.generation + 1,
            ..Pair::default()
        };
    }
}

/// The next reply.
#[derive(Debug)]
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
    /// To what is no command; the connection ends.
    Refusal,
}

/// One such client.
#[derive(Debug)]
pub(super) struct RedisClient {
    received: Vec<u8>,
    /// What it sends once it has its database.
    pipeline: Vec<u8>,
    expected: VecDeque<Expected>,
    /// What was acknowledged to itself, by pair.
    own: Vec<i64>,
    /// It ends with bytes that are no command.
    is_wrong: bool,
}

impl RedisClient {
    fn new() -> RedisClient {
        RedisClient {
            received: Vec::new(),
            pipeline: Vec::new(),
            expected: VecDeque::from([Expected::Selected]),
            own: vec![0; PAIRS],
            is_wrong: false,
        }
    }

    /// One that does what chance decides.
    fn random(books: &mut Books) -> RedisClient {
        let mut client = RedisClient::new();
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
        if books.random.one_in(6) {
            client.is_wrong = true;
            client.pipeline.extend(b"*1\r\n$nothing\r\n");
            client.expected.push_back(Expected::Refusal);
        }
        client
    }

    /// One that looks at every pair.
    fn auditor(books: &Books) -> RedisClient {
        let mut client = RedisClient::new();
        for pair in 0..PAIRS {
            client.look(books, pair);
        }
        client
    }

    fn command(&mut self, arguments: &[&str]) {
        self.pipeline
            .extend(format!("*{}\r\n", arguments.len()).bytes());
        for argument in arguments {
            self.pipeline
                .extend(format!("${}\r\n{argument}\r\n", argument.len()).bytes());
        }
    }

    fn mark(&mut self, number: u64) {
        let marker = format!("marker {number}");
        self.command(&["ECHO", &marker]);
        self.expected.push_back(Expected::Marker(marker));
    }

    fn transfer(&mut self, books: &mut Books, pair: usize, by: i64) {
        let [first, second] = books.names(pair);
        let by_text = by.to_string();
        self.transaction(&[
            &["INCRBY", &first, &by_text],
            &["DECRBY", &second, &by_text],
        ]);
        self.expected.push_back(Expected::Moved { pair, by });
        books.pairs[pair].ceiling += by;
    }

    fn look(&mut self, books: &Books, pair: usize) {
        let [first, second] = books.names(pair);
        self.transaction(&[&["GET", &first], &["GET", &second]]);
        let floor = books.pairs[pair].floor;
        self.expected.push_back(Expected::Seen { pair, floor });
    }

    fn transaction(&mut self, commands: &[&[&str]]) {
        self.command(&["MULTI"]);
        self.expected.push_back(Expected::Ok);
        for command in commands {
            self.command(command);
            self.expected.push_back(Expected::Queued);
        }
        self.command(&["EXEC"]);
    }

    /// Takes whole replies.
    fn receive(&mut self, bytes: &[u8], books: &mut Books) -> Result<(), String> {
        self.received.extend_from_slice(bytes);
        let received = std::mem::take(&mut self.received);
        let mut rest = &received[..];
        while let Some(reply) = take_reply(&mut rest)? {
            let expected = self.expected.pop_front();
            let expected = expected.ok_or_else(|| format!("nothing was asked for {reply:?}"))?;
            self.judge(&expected, &reply, books)
                .map_err(|reason| format!("{reason}: {expected:?} has the reply {reply:?}"))?;
        }
        self.received = rest.to_vec();
        Ok(())
    }

    fn judge(
        &mut self,
        expected: &Expected,
        reply: &Reply,
        books: &mut Books,
    ) -> Result<(), String> {
        let is_calm = books.is_calm;
        match (expected, reply) {
            (Expected::Selected | Expected::Ok, Reply::Simple(text)) if text == "OK" => Ok(()),
            (Expected::Queued, Reply::Simple(text)) if text == "QUEUED" => Ok(()),
            (Expected::Marker(marker), Reply::Bulk(Some(text))) if text == marker => Ok(()),
            (Expected::Refusal, Reply::Error(text)) if text.starts_with("ERR Protocol error") => {
                Ok(())
            }
            // Without a database it has nothing to do.
            (Expected::Selected, Reply::Error(_)) if !is_calm => {
                self.expected.clear();
                self.pipeline.clear();
                self.is_wrong = false;
                Ok(())
            }
            (Expected::Moved { .. } | Expected::Seen { .. }, Reply::Error(_)) if !is_calm => Ok(()),
            (Expected::Moved { .. }, Reply::Array(parts)) if !is_calm && parts.len() == 2 => {
                of_form(parts, |part| matches!(part, Reply::Number(_)))
            }
            (Expected::Seen { .. }, Reply::Array(parts)) if !is_calm && parts.len() == 2 => {
                of_form(parts, |part| matches!(part, Reply::Bulk(_)))
            }
            (Expected::Moved { pair, by }, Reply::Array(parts)) => {
                let floor = books.pairs[*pair].floor.max(self.own[*pair]);
                self.counters(*pair, *by, parts, books)?;
                let pair = &mut books.pairs[*pair];
                pair.floor = pair.floor.max(floor);
                Ok(())
            }
            (Expected::Seen { pair, floor }, Reply::Array(parts)) => {
                self.counters(*pair, *floor, parts, books)
            }
            _ => Err("a Redis client got another reply than its command has".to_owned()),
        }
    }

    /// Holds both counters against each other and against what is known of the first: it shows `least` or more.
    fn counters(
        &mut self,
        pair: usize,
        least: i64,
        parts: &[Reply],
        books: &mut Books,
    ) -> Result<(), String> {
        let [first, second] = parts else {
            return Err("there are two counters".to_owned());
        };
        let (first, second) = (first.number()?, second.number()?);
        let known = &mut books.pairs[pair];
        if first + second != 0 {
            return Err(format!(
                "pair {pair} does not add up: {first} and {second}, {known:?}"
            ));
        }
        let least = least.max(self.own[pair]);
        if first < least || first > known.ceiling {
            return Err(format!(
                "pair {pair} shows {first}, and {least} was certain, {known:?}"
            ));
        }
        self.own[pair] = first;
        known.floor = known.floor.max(first);
        Ok(())
    }

    /// What it will never hear of may have happened or not.
    fn leave(&self, books: &mut Books) {
        for expected in &self.expected {
            if let Expected::Moved { pair, .. } = expected {
                books.pairs[*pair].is_open = true;
            }
        }
    }
}

fn of_form(parts: &[Reply], is_right: impl Fn(&Reply) -> bool) -> Result<(), String> {
    let fits = |part: &Reply| is_right(part) || matches!(part, Reply::Error(_));
    match parts.iter().all(fits) {
        true => Ok(()),
        false => Err("a part of a transaction has another form".to_owned()),
    }
}

impl World {
    /// Now and then a Redis client comes.
    pub(super) fn redis_may_come(&mut self) {
        if self.redis.comes() {
            let client = RedisClient::random(&mut self.redis);
            self.connect_redis(client);
        }
    }

    fn connect_redis(&mut self, client: RedisClient) -> u32 {
        let shard = self.random.below(u64::from(self.habits.shard_count)) as u16;
        self.tally.redis_clients += 1;
        let number = self.pipe_next;
        self.pipe_next += 1;
        self.note(|| format!("a Redis client comes over {number}: {client:?}"));
        let select = format!("*2\r\n$6\r\nSELECT\r\n$1\r\n{DATABASE}\r\n");
        let mut pipe = Pipe::new(shard, select.into_bytes());
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
        let Some(client) = &mut pipe.redis else {
            return Ok(());
        };
        let chunk = std::mem::take(&mut pipe.to_client);
        let answered = client.expected.len();
        client.receive(&chunk, &mut self.redis)?;
        self.tally.redis_replies += (answered - client.expected.len()) as u64;
        let has_database = !matches!(client.expected.front(), Some(Expected::Selected));
        if has_database && !client.pipeline.is_empty() {
            pipe.to_server.append(&mut client.pipeline);
            self.deliver_to_server(number);
        }
        let pipe = &self.pipes[&number];
        let client = pipe.redis.as_ref().expect("it was there just now");
        if pipe.is_closed_by_server {
            client.leave(&mut self.redis);
            // One connection too many is closed before anything is said on it.
            let is_unheard = matches!(client.expected.front(), Some(Expected::Selected));
            let is_right = (client.expected.is_empty() || is_unheard) && client.received.is_empty();
            let reason = format!("the server closed the connection of {client:?}");
            self.pipes.remove(&number);
            return match is_right || self.phase == Phase::Stop {
                true => Ok(()),
                false => Err(reason),
            };
        }
        let is_done = client.expected.is_empty() && !client.is_wrong;
        self.took(number, chunk.len());
        if is_done {
            self.abandon(number);
        }
        Ok(())
    }

    /// The process is dead, and its Redis clients with it.
    pub(super) fn redis_died(&mut self) {
        for client in self.pipes.values().filter_map(|pipe| pipe.redis.as_ref()) {
            client.leave(&mut self.redis);
        }
        self.redis.died();
    }

    /// Looks at every pair.
    pub(super) fn audit_redis(&mut self) -> Result<(), String> {
        if self.redis.one_in == 0 {
            return Ok(());
        }
        let client = RedisClient::auditor(&self.redis);
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
        Ok(())
    }
}
