//! A native connection on which one request is asked at a time: hellos, keyspaces, and questions about the server.

use std::net::TcpStream;

use corduroy_proto_wire::{
    Body, Cursor, Hello, HelloReply, KeyspaceId, KeyspaceInfo, PREAMBLE, Request, Response, Status,
    VERSION_MAX, VERSION_MIN, split,
};
use serde_json::Value;

use super::dialect::{FIRST_ID, FRAME_LEN_MAX, because};
use crate::{
    protocol::{Malformed, MeetError, NOT_TOLD, Protocol, stream::Talk},
    results::Server,
};

/// What a hello is said to be for.
const OPENING: &str = "opening a connection";

/// Opens a connection: preamble and hello.
pub(super) fn hello(
    stream: &mut TcpStream,
    keyspace: &str,
    shard: Option<u16>,
) -> Result<HelloReply, MeetError> {
    let mut bytes = Vec::new();
    say_hello(keyspace, shard, &mut bytes);
    ask_bytes(stream, OPENING, &bytes, take_hello)
}

/// Appends preamble and hello.
pub(super) fn say_hello(keyspace: &str, shard: Option<u16>, out: &mut Vec<u8>) {
    out.extend_from_slice(&PREAMBLE);
    Request::Hello(Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        shard,
        keyspace,
        client_name: concat!("corduroy-bench/", env!("CARGO_PKG_VERSION")),
    })
    .encode(FIRST_ID, out);
}

/// Reads the answer to a hello, and how many bytes it takes up; `None` if it isn't all there.
pub(super) fn hear_hello(bytes: &[u8]) -> Result<Option<(HelloReply, usize)>, MeetError> {
    let heard = answer(bytes, take_hello).map_err(|malformed| MeetError::Foreign {
        doing: OPENING,
        protocol: Protocol::Native,
        reason: malformed.to_string(),
    })?;
    match heard {
        None => Ok(None),
        Some((Ok(hello), len)) => Ok(Some((hello, len))),
        Some((Err(words), _)) => Err(MeetError::Refused {
            doing: OPENING,
            words,
        }),
    }
}

fn take_hello(body: Body<'_>) -> Option<HelloReply> {
    match body {
        Body::Hello(hello) => Some(hello),
        _ => None,
    }
}

/// Makes a keyspace, or takes the one that somebody else has made meanwhile.
pub(super) fn make_keyspace(stream: &mut TcpStream, name: &str) -> Result<KeyspaceInfo, MeetError> {
    let only = |body: Body<'_>| match body {
        Body::Keyspaces(keyspaces) => keyspaces.into_iter().next(),
        _ => None,
    };
    let create = Request::KeyspaceCreate {
        name,
        partitions: 0,
    };
    let made = ask(stream, "making the keyspace", &create, only);
    match made {
        Err(MeetError::Refused { .. }) => {
            let open = Request::KeyspaceOpen { name };
            // If it isn't there, the reason why it could not be made is the one to tell.
            ask(stream, "opening the keyspace", &open, only).or(made)
        }
        made => made,
    }
}

/// Removes all keys of the keyspace.
pub(super) fn flush(stream: &mut TcpStream, keyspace: KeyspaceId) -> Result<(), MeetError> {
    let flush = Request::Flush { keyspace };
    ask(stream, "removing all keys", &flush, |body| {
        matches!(body, Body::Empty).then_some(())
    })
}

/// Where pages begin: at the start, and wherever a page of a walk over the keys ended.
pub(super) fn scan_starts(
    stream: &mut TcpStream,
    keyspace: KeyspaceId,
    limit: u32,
    pages_max: usize,
) -> Result<Vec<Cursor>, MeetError> {
    let mut starts = vec![Cursor::START];
    let mut cursor = Cursor::START;
    for _ in 0..pages_max {
        let scan = Request::Scan {
            keyspace,
            prefix: b"",
            cursor,
            limit,
            with_values: false,
        };
        cursor = ask(
            stream,
            "looking where scans may begin",
            &scan,
            |body| match body {
                Body::Scan { cursor, .. } => Some(cursor),
                _ => None,
            },
        )?;
        if cursor == Cursor::START {
            break;
        }
        starts.push(cursor);
    }
    Ok(starts)
}

/// What the server says of itself: its status, and the hello's answer for what an older or newer status leaves out.
pub(super) fn describe(stream: &mut TcpStream, hello: &HelloReply) -> Result<Server, MeetError> {
    let address = Talk::new(stream, Protocol::Native).address();
    let status = ask(
        stream,
        "asking for the status",
        &Request::Status,
        |body| match body {
            Body::Status(json) => Some(json.to_owned()),
            _ => None,
        },
    )?;
    let status: Value = serde_json::from_str(&status).unwrap_or(Value::Null);
    let told = |field: &str| status.get(field).and_then(Value::as_str).map(str::to_owned);
    let not_told = || NOT_TOLD.to_owned();
    let shards = status.get("shard_count").and_then(Value::as_u64);
    Ok(Server {
        protocol: Protocol::Native.to_string(),
        address,
        version: told("server").unwrap_or_else(|| hello.server_name.clone()),
        durability: told("sync").map_or_else(not_told, |sync| format!("sync {sync}")),
        consistency: told("consistency").unwrap_or_else(not_told),
        process: None,
        shards: shards
            .and_then(|shards| u32::try_from(shards).ok())
            .or(Some(u32::from(hello.shard_count))),
    })
}

/// Asks one request; `take` picks what is wanted from the body of a success, `None` if that is none of it.
fn ask<T>(
    stream: &mut TcpStream,
    doing: &'static str,
    request: &Request<'_>,
    take: impl Fn(Body<'_>) -> Option<T>,
) -> Result<T, MeetError> {
    if let Err(error) = request.validate() {
        // A name that is too long, say: the server would only say the same.
        return Err(MeetError::Refused {
            doing,
            words: error.to_string(),
        });
    }
    let mut bytes = Vec::new();
    request.encode(FIRST_ID, &mut bytes);
    ask_bytes(stream, doing, &bytes, take)
}

fn ask_bytes<T>(
    stream: &mut TcpStream,
    doing: &'static str,
    bytes: &[u8],
    take: impl Fn(Body<'_>) -> Option<T>,
) -> Result<T, MeetError> {
    let answer =
        Talk::new(stream, Protocol::Native).ask(doing, bytes, |bytes| answer(bytes, &take))?;
    answer.map_err(|words| MeetError::Refused { doing, words })
}

/// What `take` picks from the body of the first frame, or the server's refusal, and how many bytes the frame takes up.
#[expect(
    clippy::type_complexity,
    reason = "there, refused or not, and how long: each is asked for once"
)]
fn answer<T>(
    bytes: &[u8],
    take: impl Fn(Body<'_>) -> Option<T>,
) -> Result<Option<(Result<T, String>, usize)>, Malformed> {
    let Some((frame, len)) = split(bytes, FRAME_LEN_MAX).map_err(|error| because(&error))? else {
        return Ok(None);
    };
    let (_, response) = Response::decode(frame).map_err(|error| because(&error))?;
    let answer = match (response.status, response.body) {
        (_, Body::Error(text)) => Err(text.to_owned()),
        (Status::Ok, body) => {
            Ok(take(body).ok_or(Malformed("an answer to another question".into()))?)
        }
        (status, _) => Err(format!("{status:?}")),
    };
    Ok(Some((answer, len)))
}
