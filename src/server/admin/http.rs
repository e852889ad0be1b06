//! HTTP/1.1 over hyper: one request a connection, answered and closed.
//!
//! What a hostile client may take: a place among [`ADMIN_CONNECTIONS_MAX`] until one more comes, [`ADMIN_REQUEST_LEN_MAX`] bytes of headers, and
//! [`TIME_MAX`]. Bodies are not read.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::health::Health;
use super::status;
use crate::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_HEADERS_MAX, ADMIN_REQUEST_LEN_MAX};

/// How long a client may take to send its request, and how long a connection may last.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
const TIME_MAX: Duration = Duration::from_secs(15);
/// Without a free descriptor there is nothing to do but to wait.
const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(50);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Answers until `stopped`.
pub(super) async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    // The one that came first stands in front.
    let mut connections = VecDeque::<AbortHandle>::with_capacity(ADMIN_CONNECTIONS_MAX);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => return Ok(()),
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE_WITHOUT_DESCRIPTORS).await;
            continue;
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= ADMIN_CONNECTIONS_MAX
            && let Some(first) = connections.pop_front()
        {
            first.abort();
        }
        let connection = tokio::spawn(connection(stream, Arc::clone(&health)));
        connections.push_back(connection.abort_handle());
    }
}

async fn connection(stream: TcpStream, health: Arc<Health>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&health)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .keep_alive(false)
        .max_headers(ADMIN_HEADERS_MAX)
        .max_buf_size(ADMIN_REQUEST_LEN_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever made no sense, or was too slow, is gone; there is nobody to tell.
    let _ = tokio::time::timeout(TIME_MAX, connection).await;
}

async fn answer(
    request: Request<Incoming>,
    health: Arc<Health>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD: nothing can be changed here".to_owned(),
        );
        let allowed = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(ALLOW, allowed);
        return Ok(refused);
    }
    Ok(match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok".to_owned()),
        "/readyz" => match health.readiness() {
            Ok(()) => text(StatusCode::OK, "ok".to_owned()),
            Err(sentence) => text(StatusCode::SERVICE_UNAVAILABLE, sentence),
        },
        "/status" => match status::ask(&health).await {
            Ok(json) => body(StatusCode::OK, JSON, json),
            Err(sentence) => text(StatusCode::SERVICE_UNAVAILABLE, sentence),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /livez, /readyz and /status".to_owned(),
        ),
    })
}

fn text(status: StatusCode, mut line: String) -> Response<Full<Bytes>> {
    line.push('\n');
    body(status, TEXT, line)
}

fn body(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
