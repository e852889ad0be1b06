//! A native connection on which one request is asked at a time: the hello of every connection, and for looking at a server
//! beside the measuring.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use corduroy_proto_wire::{
    Body, Hello, HelloReply, KeyspaceId, LENGTH_LEN, PREAMBLE, Request, Response, Status,
    VERSION_MAX, VERSION_MIN,
};

use super::native::{FIRST_ID, FRAME_LEN_MAX, KEYSPACE};
use crate::drive::workload;

/// A connection on which one request is asked at a time: for looking, not for measuring.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    keyspace: KeyspaceId,
}

impl Session {
    /// Connects and greets; no answer may take longer than `patience`.
    ///
    /// # Errors
    ///
    /// The socket's, or that the server does not speak the protocol.
    pub fn connect(address: SocketAddr, patience: Duration) -> io::Result<Session> {
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let keyspace = hello(&mut stream, None)?
            .keyspace
            .ok_or_else(|| invalid(format!("it has no keyspace `{KEYSPACE}`")))?;
        Ok(Session {
            stream,
            keyspace: keyspace.id,
        })
    }

    /// The node's status, as JSON.
    ///
    /// # Errors
    ///
    /// The socket's, or what the server answered instead.
    pub fn status(&mut self) -> io::Result<String> {
        let frame = ask(&mut self.stream, &Request::Status)?;
        match decode(&frame)?.body {
            Body::Status(json) => Ok(json.to_owned()),
            other => Err(invalid(format!("status was answered by {other:?}"))),
        }
    }

    /// Whether the key of this number holds the value that a driver wrote.
    ///
    /// # Errors
    ///
    /// The socket's, or what the server answered instead of a value.
    pub fn holds(&mut self, number: u64) -> io::Result<bool> {
        let key = workload::key(number);
        let frame = ask(
            &mut self.stream,
            &Request::Get {
                keyspace: self.keyspace,
                key: &key,
            },
        )?;
        let response = decode(&frame)?;
        match (response.status, response.body) {
            (Status::Ok, Body::Value(value)) => Ok(workload::is_value_of(number, value)),
            (Status::NotFound, _) => Ok(false),
            (status, body) => Err(invalid(format!(
                "a get was answered by {status:?}, {body:?}"
            ))),
        }
    }
}

/// Opens a connection: preamble and hello.
pub(super) fn hello(stream: &mut TcpStream, shard: Option<u16>) -> io::Result<HelloReply> {
    stream.write_all(&PREAMBLE)?;
    let hello = Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        shard,
        keyspace: KEYSPACE,
        client_name: concat!("corduroy-benches/", env!("CARGO_PKG_VERSION")),
    };
    let frame = ask(stream, &Request::Hello(hello))?;
    match decode(&frame)?.body {
        Body::Hello(reply) if reply.shard_count > 0 => Ok(reply),
        other => Err(invalid(format!("the hello was answered by {other:?}"))),
    }
}

/// Sends one request and reads one frame, without its length field.
fn ask(stream: &mut TcpStream, request: &Request<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    request.encode(FIRST_ID, &mut bytes);
    stream.write_all(&bytes)?;
    let mut length = [0; LENGTH_LEN];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > FRAME_LEN_MAX {
        return Err(invalid(format!(
            "a frame of {length} bytes was answered: this is no Corduroy"
        )));
    }
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn decode(frame: &[u8]) -> io::Result<Response<'_>> {
    let (_, response) = Response::decode(frame).map_err(|error| invalid(error.to_string()))?;
    Ok(response)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
