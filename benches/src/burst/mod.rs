//! Bursts: what a server's cores do alone, on a machine that has no core to spare for a client.
//!
//! A closed loop needs a core to ask from. Where the server has all of them, client and server take turns on one, and what is measured is
//! the two together. So here they work one after the other:
//!
//! 1. the server is **stopped** (SIGSTOP), and so is every thread of it;
//! 2. the client writes a number of gets, its *depth*, into each connection: they wait in the kernel, in the buffers of the
//!    server's sockets, where they would be if they had just come in from a fast network;
//! 3. the server goes on (SIGCONT), and the client **sleeps**: now and then it asks the kernel how many bytes have come in on one
//!    connection, the last whose answers are not all there;
//! 4. when all have come, the time since SIGCONT and the CPU time that the server's threads used since are noted;
//! 5. then the client reads the answers, and every one of them is checked.
//!
//! Nothing of the server is different from production: it receives, evaluates, sends, pauses connections and lets them go on as it does for
//! any client that pipelines so deeply. What is different is that all requests are there at once, so that no core ever waits for the
//! client; that is the point. The depth decides how many requests one receive brings, and so what a request costs: ratios are to be
//! taken at several.
//!
//! The time is late by a quarter of a millisecond in the mean, half of the time between two looks. That is more for the faster side of a
//! ratio, to its disadvantage; bursts should take many times as long.
//!
//! Called in this order: [`Burst::connect`], then [`Burst::fire`] any number of times. A server that is stopped goes on, whatever
//! happens in between (`stopped`).

use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    str::FromStr,
    time::{Duration, Instant},
};

use corduroy_proto_wire::{Body, Response, Status};
use rustix::{io::ioctl_fionread, net::sockopt};
use serde::Serialize;

mod stopped;

use crate::{
    drive::{
        DriveError, Route,
        config::{CONNECTIONS_MAX, IN_FLIGHT_MAX},
        engine::shard_keys,
        protocol::{Dialect, NativeDialect, Outcome, Template},
        workload::{self, KeySet, Operation},
    },
    process::ThreadsTime,
};
use stopped::Stopped;

/// What the client's side of a connection holds in each direction, in bytes; the kernel may grant less, and then says so by not taking it all.
const SOCKET_BUFFER_LEN: usize = 4 << 20;
/// Between two looks at whether the answers have come.
const LOOK: Duration = Duration::from_micros(500);
/// How long a burst may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many requests a burst has, and on how many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Connections, spread over the server's cores by the server.
    pub connections: usize,
    /// Requests on each.
    pub depth: u32,
}

impl Shape {
    /// Requests of a burst.
    #[must_use]
    pub fn requests(self) -> u64 {
        self.connections as u64 * u64::from(self.depth)
    }
}

/// As it is displayed: `50x1000`.
impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        let numbers = text.split_once('x').and_then(|(connections, depth)| {
            Some((connections.parse().ok()?, depth.parse().ok()?))
        });
        match numbers {
            Some((connections @ 1..=CONNECTIONS_MAX, depth @ 1..=IN_FLIGHT_MAX)) => {
                Ok(Shape { connections, depth })
            }
            _ => Err(format!(
                "`{text}` is not a number of connections (at most {CONNECTIONS_MAX}), an x and a number of requests on each (at most {IN_FLIGHT_MAX})"
            )),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.connections, self.depth)
    }
}

/// Whom to ask for what.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process, which is stopped and goes on: one that the caller has started.
    pub pid: u32,
    /// Keys below this number are there, each with a value of `value_len` bytes that [`crate::drive`] wrote.
    pub keys: u64,
    /// Bytes of a value.
    pub value_len: usize,
}

/// What one burst took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shot {
    /// From SIGCONT until the last answer was there.
    pub seconds: f64,
    /// CPU time of all threads of the server meanwhile.
    pub cpu_seconds: f64,
    /// CPU time of the client meanwhile.
    pub client_seconds: f64,
}

/// Open connections, and what was asked on them.
#[derive(Debug)]
pub struct Burst {
    target: Target,
    shape: Shape,
    dialect: NativeDialect,
    template: Template,
    /// Each with the keys that it may ask for.
    connections: Vec<(TcpStream, KeySet)>,
    random: fastrand::Rng,
    /// Bytes of a right answer.
    answer_len: usize,
    /// The keys that were asked, in the order of connections and requests.
    asked: Vec<u64>,
    buffer: Vec<u8>,
}

impl Burst {
    /// Opens and greets the connections.
    ///
    /// # Errors
    ///
    /// If the server can't be reached or refuses one.
    pub fn connect(target: Target, shape: Shape, route: Route) -> Result<Burst, DriveError> {
        let mut dialect = NativeDialect::new(route);
        let mut connections = Vec::with_capacity(shape.connections);
        let mut key_sets = Vec::new();
        for connection in 0..shape.connections {
            let failed = |source| DriveError::Connect {
                address: target.address,
                connection,
                source,
            };
            let mut stream =
                TcpStream::connect_timeout(&target.address, PATIENCE).map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
            stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
            sockopt::set_socket_send_buffer_size(&stream, SOCKET_BUFFER_LEN)
                .and_then(|()| sockopt::set_socket_recv_buffer_size(&stream, SOCKET_BUFFER_LEN))
                .map_err(|error| failed(error.into()))?;
            let shard = dialect.greet(&mut stream, connection)?;
            let keys = shard_keys(&dialect, target.keys, shard, &mut key_sets)?;
            connections.push((stream, keys));
        }
        Ok(Burst {
            template: dialect.template(Operation::Get, target.value_len),
            answer_len: answer_len(target.value_len),
            target,
            shape,
            dialect,
            connections,
            random: fastrand::Rng::with_seed(1),
            asked: Vec::new(),
            buffer: Vec::new(),
        })
    }

    /// One burst.
    ///
    /// # Errors
    ///
    /// If the server can't be stopped, does not answer everything in time, or answers anything wrongly.
    pub fn fire(&mut self) -> Result<Shot, DriveError> {
        let cpu =
            |pid| ThreadsTime::of(pid).map_err(|source| DriveError::ServerCpu { pid, source });
        let pid = self.target.pid;
        let stopped = Stopped::stop(pid).map_err(DriveError::io("stop the server"))?;
        self.load()?;
        let server_before = cpu(pid)?;
        let client_before = client_time();
        let began = Instant::now();
        stopped
            .go_on()
            .map_err(DriveError::io("let the server go on"))?;
        let ended = self.sleep_until_answered(began)?;
        let client = client_time().saturating_sub(client_before);
        let server_after = cpu(pid)?;
        self.check()?;
        Ok(Shot {
            seconds: ended.duration_since(began).as_secs_f64(),
            cpu_seconds: server_after.since(&server_before).as_secs_f64(),
            client_seconds: client.as_secs_f64(),
        })
    }

    /// Writes the requests into the sockets of a server that reads nothing.
    fn load(&mut self) -> Result<(), DriveError> {
        self.asked.clear();
        for (index, (stream, keys)) in self.connections.iter_mut().enumerate() {
            self.buffer.clear();
            for slot in 0..self.shape.depth {
                let number = keys.pick(&mut self.random);
                self.template.append(slot, number, &mut self.buffer);
                self.asked.push(number);
            }
            stream
                .write_all(&self.buffer)
                .map_err(|source| DriveError::Broken {
                    connection: index,
                    in_flight: self.shape.depth as usize,
                    source,
                })?;
        }
        Ok(())
    }

    /// Sleeps until every connection has all its answers' bytes, or for too long. Looks at the last connection first: the server begins
    /// with the first, so that one look is one question to the kernel until the end is near.
    fn sleep_until_answered(&self, began: Instant) -> Result<Instant, DriveError> {
        let bytes = self.answer_len as u64 * u64::from(self.shape.depth);
        let mut unanswered = self.connections.len();
        loop {
            std::thread::sleep(LOOK);
            let now = Instant::now();
            while let Some((stream, _)) = self.connections[..unanswered].last() {
                let come = ioctl_fionread(stream).map_err(DriveError::io("look for answers"))?;
                if come < bytes {
                    break;
                }
                unanswered -= 1;
            }
            if unanswered == 0 {
                return Ok(now);
            }
            if now.duration_since(began) > PATIENCE {
                return Err(DriveError::Stalled {
                    stall: PATIENCE,
                    in_flight: unanswered as u64 * u64::from(self.shape.depth),
                });
            }
        }
    }

    /// Reads all answers and looks whether each request has one, and the right one.
    fn check(&mut self) -> Result<(), DriveError> {
        let depth = self.shape.depth as usize;
        let mut is_answered = vec![false; depth];
        self.buffer.clear();
        self.buffer.resize(depth * self.answer_len, 0);
        for (index, (stream, _)) in self.connections.iter_mut().enumerate() {
            stream
                .read_exact(&mut self.buffer)
                .map_err(|source| DriveError::Broken {
                    connection: index,
                    in_flight: depth,
                    source,
                })?;
            let asked = &self.asked[index * depth..][..depth];
            is_answered.fill(false);
            for answer in self.buffer.chunks_exact(self.answer_len) {
                let reply = self
                    .dialect
                    .reply(answer)
                    .map_err(|source| DriveError::Malformed {
                        connection: index,
                        source,
                        bytes: answer.escape_ascii().to_string(),
                    })?;
                let slot = reply
                    .as_ref()
                    .and_then(|reply| reply.slot)
                    .unwrap_or(u32::MAX);
                let unasked = || DriveError::Unasked {
                    connection: index,
                    slot,
                };
                let number = *asked.get(slot as usize).ok_or_else(unasked)?;
                if std::mem::replace(&mut is_answered[slot as usize], true) {
                    return Err(unasked());
                }
                let is_right = reply.is_some_and(|reply| {
                    matches!(reply.outcome, Outcome::Value(value)
                        if value.len() == self.target.value_len && workload::is_value_of(number, value))
                });
                if !is_right {
                    let key = workload::key(number);
                    return Err(DriveError::Handshake {
                        connection: index,
                        reason: format!("{} was answered wrongly", key.escape_ascii()),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Bytes of the answer to a get of a value of this length.
fn answer_len(value_len: usize) -> usize {
    let mut bytes = Vec::new();
    Response {
        status: Status::Ok,
        version: 0,
        timestamp_ms: 0,
        body: Body::Value(&workload::value(value_len)),
    }
    .encode(1, &mut bytes);
    bytes.len()
}

/// CPU time of this thread.
fn client_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    // A shape that was misread would be measured under another's name; one of nothing would be infinitely fast.
    #[test]
    fn a_shape_reads_as_it_is_displayed() {
        let shape = Shape {
            connections: 250,
            depth: 1_000,
        };
        assert_eq!(shape.to_string().parse(), Ok(shape));
        assert_eq!(shape.requests(), 250_000);
        for bad in [
            "", "250", "x", "0x16", "50x0", "50x16x2", "-1x2", "50x65537",
        ] {
            assert!(bad.parse::<Shape>().is_err(), "{bad}");
        }
    }

    // The client takes a connection for answered when so many bytes have come: if the length were too small, it would stop the clock early.
    #[test]
    fn an_answer_is_as_long_as_the_codec_makes_it() {
        // docs/performance.md: a get of a 64-byte value is answered by 92 bytes.
        assert_eq!(answer_len(64), 92);
    }
}
