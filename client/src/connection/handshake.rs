//! From an address to a connection that both sides have agreed on: look up, connect, hello, check the answer.

use bytes::Bytes;
use corduroy_proto_wire::{
    Body, Hello, HelloReply, PREAMBLE, Request, RequestId, Response, VERSION_MAX, VERSION_MIN,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, lookup_host};

use super::frames::FrameReader;
use crate::error::{ConnectError, LimitError, ProtocolError};
use crate::limits::HELLO_ANSWER_LEN_MAX;

/// The hello is alone on the connection, so any id but the connection's own will do.
const HELLO_REQUEST_ID: RequestId = 1;

/// What a client says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    /// The name under which the server lists the client.
    pub(crate) client_name: String,
    /// The keyspace whose id shall come with the answer.
    pub(crate) keyspace: String,
}

impl Introduction {
    /// Whether a server would take it.
    pub(crate) fn validate(&self) -> Result<(), LimitError> {
        Ok(Request::Hello(self.hello(None)).validate()?)
    }

    fn hello(&self, shard: Option<u16>) -> Hello<'_> {
        Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            shard,
            keyspace: &self.keyspace,
            client_name: &self.client_name,
        }
    }
}

/// A connection on which the hello has been answered, and whatever has arrived after that.
pub(super) struct Agreed {
    pub(super) stream: TcpStream,
    pub(super) frames: FrameReader,
    pub(super) hello: HelloReply,
}

/// Opens a connection to the shard, or to whichever shard takes it.
pub(super) async fn open(
    address: &str,
    introduction: &Introduction,
    shard: Option<u16>,
) -> Result<Agreed, ConnectError> {
    let mut stream = connect(address).await?;
    stream.set_nodelay(true)?;

    let mut opening = PREAMBLE.to_vec();
    Request::Hello(introduction.hello(shard)).encode(HELLO_REQUEST_ID, &mut opening);
    stream.write_all(&opening).await?;

    let mut frames = FrameReader::new(HELLO_ANSWER_LEN_MAX);
    let answer = loop {
        if let Some(frame) = frames
            .next()
            .map_err(|error| ConnectError::Protocol(error.into()))?
        {
            break frame;
        }
        if frames.fill(&mut stream).await? == 0 {
            return Err(ConnectError::Closed);
        }
    };
    let hello = agreement(&answer)?;
    Ok(Agreed {
        stream,
        frames,
        hello,
    })
}

/// Tries each address that the name stands for, in the resolver's order.
async fn connect(address: &str) -> Result<TcpStream, ConnectError> {
    let mut failure = ConnectError::NoAddress;
    for candidate in lookup_host(address).await? {
        match TcpStream::connect(candidate).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

/// What the answer to the hello says, if it can be lived with.
fn agreement(frame: &Bytes) -> Result<HelloReply, ConnectError> {
    let (_, response) =
        Response::decode(frame).map_err(|error| ConnectError::Protocol(error.into()))?;
    match response {
        Response {
            status,
            body: Body::Error(text),
            ..
        } => Err(ConnectError::Refused {
            status,
            message: text.to_owned(),
        }),
        Response {
            body: Body::Hello(hello),
            ..
        } => check(hello),
        Response { status, body, .. } => {
            Err(ConnectError::Protocol(ProtocolError::UnexpectedAnswer {
                request: "hello",
                status,
                found: body.kind(),
            }))
        }
    }
}

/// Numbers that the client will divide by, wait for or allot by. What the decoder rules out is not checked again.
fn check(hello: HelloReply) -> Result<HelloReply, ConnectError> {
    let wrong = |field, value: u64| {
        Err(ConnectError::Protocol(ProtocolError::Hello {
            field,
            value,
        }))
    };
    if !(VERSION_MIN..=VERSION_MAX).contains(&hello.version) {
        return wrong("protocol version", hello.version.into());
    }
    if hello.shard_count == 0 {
        return wrong("shard count", 0);
    }
    if hello.in_flight_max == 0 {
        return wrong("limit of requests in flight", 0);
    }
    if hello.batch_len_max == 0 {
        return wrong("limit of operations in a batch", 0);
    }
    if let Some(keyspace) = &hello.keyspace
        && keyspace.partitions == 0
    {
        return wrong("number of partitions", 0);
    }
    Ok(hello)
}
