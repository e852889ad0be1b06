//! A connection as bytes: frames over a socket of the standard library, so that a test decides what is sent when.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use corduroy_proto_wire::{
    Body, Condition, Delete, Hello, HelloReply, PREAMBLE, Put, Request, RequestId, Response,
    Status, Ttl, VERSION_MAX, VERSION_MIN, split,
};
use socket2::{Domain, Socket, Type};

use super::PATIENCE;

/// Larger than any answer that a test asks for.
const ANSWER_LEN_MAX: u32 = 64 << 20;

/// A native connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    hello: HelloReply,
    input: Vec<u8>,
    /// How much of the input is worked off.
    taken: usize,
    output: Vec<u8>,
    next_id: RequestId,
}

/// An answer that stands alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) id: RequestId,
    pub(crate) status: Status,
    pub(crate) version: u64,
    /// A value that was read, or what an error says.
    pub(crate) value: Option<Vec<u8>>,
    /// A counter's value, or a number of keys or bytes.
    pub(crate) number: Option<i64>,
    /// Status and version of each operation of a batch.
    pub(crate) items: Vec<(Status, u64)>,
}

impl Answer {
    fn new((id, response): (RequestId, Response<'_>)) -> Answer {
        let mut answer = Answer {
            id,
            status: response.status,
            version: response.version,
            value: None,
            number: None,
            items: Vec::new(),
        };
        match response.body {
            Body::Value(value) => answer.value = Some(value.to_vec()),
            Body::Error(text) => answer.value = Some(text.as_bytes().to_vec()),
            Body::Counter(counter) => answer.number = Some(counter),
            Body::Number(number) => answer.number = Some(number as i64),
            Body::Batch(items) => {
                answer.items = items
                    .iter()
                    .map(|item| (item.status, item.version))
                    .collect();
            }
            _ => {}
        }
        answer
    }

    /// What an error says.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Wire {
    /// Connects and says hello, to the core of `shard` if one is named.
    pub(crate) fn open(address: SocketAddr, shard: Option<u16>) -> io::Result<Wire> {
        Wire::open_on(raw(address)?, shard)
    }

    /// Says hello on a connection that is there.
    pub(crate) fn open_on(mut stream: TcpStream, shard: Option<u16>) -> io::Result<Wire> {
        stream.write_all(&greeting(shard))?;
        let mut input = Vec::new();
        let hello = loop {
            if let Some((frame, len)) = split(&input, ANSWER_LEN_MAX).unwrap() {
                let (_, response) = Response::decode(frame).unwrap();
                let Body::Hello(hello) = response.body else {
                    let refused = format!("refused: {response:?}");
                    return Err(io::Error::new(io::ErrorKind::ConnectionRefused, refused));
                };
                input.drain(..len);
                break hello;
            }
            if receive(&mut stream, &mut input)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        Ok(Wire {
            stream,
            hello,
            input,
            taken: 0,
            output: Vec::new(),
            next_id: 0,
        })
    }

    pub(crate) fn hello(&self) -> &HelloReply {
        &self.hello
    }

    /// The number of the keyspace `default`.
    pub(crate) fn keyspace(&self) -> u32 {
        self.hello.keyspace.as_ref().unwrap().id
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Encodes a request; [`Wire::flush`] sends it.
    pub(crate) fn queue(&mut self, request: &Request<'_>) -> RequestId {
        self.next_id += 1;
        request.encode(self.next_id, &mut self.output);
        self.next_id
    }

    pub(crate) fn queue_put(&mut self, key: &[u8], value: &[u8]) -> RequestId {
        let keyspace = self.keyspace();
        self.queue(&Request::Put {
            keyspace,
            put: plain_put(key, value),
        })
    }

    pub(crate) fn queue_get(&mut self, key: &[u8]) -> RequestId {
        let keyspace = self.keyspace();
        self.queue(&Request::Get { keyspace, key })
    }

    /// Sends what is queued.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let sent = self.stream.write_all(&self.output);
        self.output.clear();
        sent
    }

    /// The next answer that has come in already.
    pub(crate) fn received(&mut self) -> Option<Answer> {
        let (frame, len) = split(&self.input[self.taken..], ANSWER_LEN_MAX).unwrap()?;
        let answer = Answer::new(Response::decode(frame).unwrap());
        self.taken += len;
        Some(answer)
    }

    /// Waits for the next answer.
    pub(crate) fn receive(&mut self) -> io::Result<Answer> {
        loop {
            if let Some(answer) = self.received() {
                return Ok(answer);
            }
            self.input.drain(..self.taken);
            self.taken = 0;
            if receive(&mut self.stream, &mut self.input)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends what is queued and waits for the answer to `id`, the only one outstanding.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: RequestId) -> Answer {
        self.flush().unwrap();
        let answer = self.receive().unwrap();
        assert_eq!(answer.id, id, "{answer:?}");
        answer
    }

    /// Puts a value and holds the server to it.
    #[track_caller]
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> u64 {
        let id = self.queue_put(key, value);
        let answer = self.answer(id);
        assert_eq!(answer.status, Status::Ok, "{answer:?}");
        answer.version
    }

    #[track_caller]
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let id = self.queue_get(key);
        let answer = self.answer(id);
        match answer.status {
            Status::Ok => answer.value,
            Status::NotFound => None,
            _ => panic!("{answer:?}"),
        }
    }
}

/// A put without conditions or expiry.
pub(crate) fn plain_put<'a>(key: &'a [u8], value: &'a [u8]) -> Put<'a> {
    Put {
        key,
        value,
        ttl: Ttl::None,
        condition: Condition::Always,
        return_value: false,
    }
}

/// A delete without conditions.
pub(crate) fn plain_delete(key: &[u8]) -> Delete<'_> {
    Delete {
        key,
        condition: Condition::Always,
        return_value: false,
    }
}

/// A socket that says nothing by itself, and waits no longer than a test does.
pub(crate) fn raw(address: SocketAddr) -> io::Result<TcpStream> {
    patient(TcpStream::connect(address)?)
}

/// As [`raw`], with a receive buffer of a few KiB that does not grow.
pub(crate) fn narrow(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_recv_buffer_size(4096)?;
    socket.connect(&address.into())?;
    patient(socket.into())
}

fn patient(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Preamble and hello.
pub(crate) fn greeting(shard: Option<u16>) -> Vec<u8> {
    let mut bytes = PREAMBLE.to_vec();
    Request::Hello(Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        shard,
        keyspace: "default",
        client_name: "realworld",
    })
    .encode(1, &mut bytes);
    bytes
}

fn receive(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 64 << 10];
    let len = stream.read(&mut buffer)?;
    input.extend_from_slice(&buffer[..len]);
    Ok(len)
}
