//! What the node says of itself, asked as any native client asks: over its own port, so that there is one way to gather it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use corduroy_proto_wire::{
    Body, Hello, PREAMBLE, Request, RequestId, Response, Status, VERSION_MAX, VERSION_MIN, split,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::health::Health;
use crate::limits::ADMIN_STATUS_LEN_MAX;

/// How long the node may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The numbers of our requests.
const HELLO_ID: RequestId = 1;
const STATUS_ID: RequestId = 2;

/// The JSON, or a sentence that says why there is none.
pub(super) async fn ask(health: &Health) -> Result<String, String> {
    let Some(address) = health.client_address() else {
        return Err(match health.readiness() {
            Err(sentence) => sentence,
            Ok(()) => "the node is starting".to_owned(),
        });
    };
    match tokio::time::timeout(PATIENCE, exchange(address)).await {
        Ok(Ok(json)) => Ok(json),
        Ok(Err(error)) => Err(format!("the node does not tell its status: {error}")),
        Err(_) => Err(format!(
            "the node has not told its status for {} seconds",
            PATIENCE.as_secs()
        )),
    }
}

async fn exchange(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let mut output = PREAMBLE.to_vec();
    let hello = Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        shard: None,
        keyspace: "default",
        client_name: "corduroy-admin",
    };
    Request::Hello(hello).encode(HELLO_ID, &mut output);
    Request::Status.encode(STATUS_ID, &mut output);
    stream.write_all(&output).await?;
    let mut input = Vec::new();
    loop {
        let mut taken = 0;
        while let Some((frame, len)) =
            split(&input[taken..], ADMIN_STATUS_LEN_MAX).map_err(io::Error::other)?
        {
            taken += len;
            let (id, response) = Response::decode(frame).map_err(io::Error::other)?;
            match (response.status, response.body) {
                (Status::Ok, Body::Status(json)) => return Ok(json.to_owned()),
                (Status::Ok, Body::Hello(_)) if id == HELLO_ID => {}
                (_, Body::Error(reason)) => return Err(io::Error::other(reason)),
                (status, _) => return Err(io::Error::other(format!("{status:?}"))),
            }
        }
        input.drain(..taken);
        if stream.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
