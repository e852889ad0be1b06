//! Clients that break the protocol: garbage, lengths that no frame has, frames that never come to their end, whole frames with nonsense in them.
//!
//! Nothing of that may hurt anybody else, and there is one right outcome: what was asked in order before is answered, then the server says
//! what is wrong and closes the connection; a client that only falls silent in the middle of a frame is cut without a word. A whole frame with
//! nonsense in it (`nonsense`) gets an error of its own, and the connection goes on.
//! That nobody else is hurt needs no check of its own: the others' requests are checked as ever.

use corduroy_proto_wire::{CONNECTION_REQUEST_ID, Hello, PREAMBLE, Request, Response, split};

use super::nonsense::nonsense;

use super::random::Random;
use super::traffic::HELLO_ID;

/// One such client.
#[derive(Debug)]
pub(super) struct Rogue {
    /// Pings that it sends before it breaks the protocol; their ids count from 1.
    pings: u32,
    says_hello: bool,
    /// Frames with nonsense in them; their ids count from [`NONSENSE_ID`].
    nonsense: u32,
    /// It sends something wrong, and does not merely stop.
    is_wrong: bool,
    received: Vec<u8>,
}

/// Pings are fewer.
const NONSENSE_ID: u32 = 1000;

/// How it breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Another protocol, or none.
    Garbage,
    /// The first frame is not a hello.
    NoHello,
    /// A frame that is longer than may be.
    TooLong,
    /// A frame that can't hold a header.
    TooShort,
    /// A frame without its end.
    HalfFrame,
    /// A preamble or hello without its end.
    HalfOpening,
    /// Whole frames that say nothing sensible, and then a length that no frame has.
    Nonsense,
}

impl Rogue {
    /// A client, and all that it will ever send.
    pub(super) fn new(shard: Option<u16>, random: &mut Random) -> (Rogue, Vec<u8>) {
        use Way::{Garbage, HalfFrame, HalfOpening, NoHello, Nonsense, TooLong, TooShort};
        let ways = [
            Garbage,
            NoHello,
            TooLong,
            TooShort,
            HalfFrame,
            HalfOpening,
            Nonsense,
            Nonsense,
        ];
        let way = ways[random.index(ways.len())];
        let mut bytes = PREAMBLE.to_vec();
        let says_hello = match way {
            Garbage | NoHello | HalfOpening => false,
            TooLong | TooShort => random.percent(70),
            HalfFrame | Nonsense => true,
        };
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            shard,
            keyspace: "default",
            client_name: "rogue",
        };
        if says_hello || way == HalfOpening {
            Request::Hello(hello).encode(HELLO_ID, &mut bytes);
        }
        let pings = if says_hello {
            random.below(4) as u32
        } else {
            0
        };
        let frames = match way {
            Nonsense => 1 + random.below(12) as u32,
            _ => 0,
        };
        for id in NONSENSE_ID..NONSENSE_ID + frames {
            nonsense(id, random, &mut bytes);
        }
        for id in 1..=pings {
            Request::Ping { payload: b"rogue" }.encode(id, &mut bytes);
        }
        match way {
            Garbage => bytes = noise(random),
            NoHello => Request::Status.encode(7, &mut bytes),
            TooLong => {
                let length = random.between(1 << 31, u64::from(u32::MAX)) as u32;
                bytes.extend_from_slice(&length.to_le_bytes());
            }
            TooShort | Nonsense => bytes.extend_from_slice(&(random.below(8) as u32).to_le_bytes()),
            HalfFrame => {
                let whole = bytes.len();
                let payload = vec![7; random.skewed(20_000) as usize];
                Request::Ping { payload: &payload }.encode(9, &mut bytes);
                let sent = 1 + random.index(bytes.len() - whole - 1);
                bytes.truncate(whole + sent);
            }
            HalfOpening => bytes.truncate(random.index(bytes.len())),
        }
        let is_wrong = !matches!(way, HalfFrame | HalfOpening);
        if is_wrong {
            bytes.extend(noise(random));
        }
        let rogue = Rogue {
            pings,
            says_hello,
            nonsense: frames,
            is_wrong,
            received: Vec::new(),
        };
        (rogue, bytes)
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// The server has closed the connection: what it said must be right.
    pub(super) fn judge(&self) -> Result<(), String> {
        let mut rest = &self.received[..];
        let mut ids = Vec::new();
        let mut refused = Vec::new();
        let mut said_why = false;
        while !rest.is_empty() {
            let found = split(rest, u32::MAX).ok().flatten();
            let (frame, consumed) = found.ok_or("a client that is cut off gets half an answer")?;
            rest = &rest[consumed..];
            let (id, response) = Response::decode(frame)
                .map_err(|error| format!("a client that is cut off can't read why: {error}"))?;
            if said_why {
                return Err(format!(
                    "an answer to {id} follows the last word: {response:?}"
                ));
            }
            if (NONSENSE_ID..NONSENSE_ID + self.nonsense).contains(&id) {
                if !response.status.is_error() {
                    return Err(format!(
                        "nonsense {id} is answered as {response:?}: {self:?}"
                    ));
                }
                refused.push(id);
            } else if response.status.is_error() {
                said_why = true;
            } else if id != HELLO_ID {
                ids.push(id);
            }
            if said_why && self.says_hello && id != CONNECTION_REQUEST_ID {
                return Err(format!("{id} is answered as {response:?}"));
            }
        }
        if said_why != self.is_wrong {
            return Err(format!("what is wrong was said: {said_why}: {self:?}"));
        }
        if !ids.iter().copied().eq(1..=self.pings) {
            return Err(format!("the answers were to {ids:?}: {self:?}"));
        }
        // Shards answer in any order, but each once.
        refused.sort_unstable();
        let expected = NONSENSE_ID..NONSENSE_ID + self.nonsense;
        if !refused.iter().copied().eq(expected) {
            return Err(format!("nonsense {refused:?} was answered: {self:?}"));
        }
        Ok(())
    }
}

/// Bytes that begin like nothing.
fn noise(random: &mut Random) -> Vec<u8> {
    let len = 1 + random.skewed(3000);
    let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
    bytes[0] = !PREAMBLE[0];
    bytes
}
