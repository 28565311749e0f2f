// SPDX-License-Identifier: MIT
//! `set metrics listen`: `/metrics`, `/healthz` and `/readyz` by HTTP/1.
//!
//! Whoever can connect may ask, and can do no harm: connections are few and short, their heads small, bodies are not read.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Watch, text};

/// Connections at a time; further ones are closed at once.
const MAX_CONNECTIONS: usize = 32;

/// How long a caller may take to say what it wants.
const HEAD: Duration = Duration::from_secs(5);

/// How long a connection lives, which is for one request: however slowly its answer is read.
const LIFE: Duration = Duration::from_secs(15);

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// Pause when no connection can be taken, as when there are too many open files.
const PAUSE: Duration = Duration::from_millis(100);

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Serves until `shutdown` resolves. Connections end by themselves soon after.
pub(crate) async fn serve(
    watch: Arc<Watch>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Infallible> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let watch = Arc::clone(&watch);
            tokio::spawn(async move {
                // What goes wrong with a connection is its caller's affair.
                let _ = timeout(LIFE, talk(watch, stream)).await;
                drop(place);
            });
        }
    }
}

async fn talk(watch: Arc<Watch>, stream: TcpStream) -> Result<(), hyper::Error> {
    let service = service_fn(|request| answer(&watch, request));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(
    watch: &Watch,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let body = "only GET is answered here\n".to_owned();
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, body);
        let get = hyper::header::HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(ALLOW, get);
        return Ok(refused);
    }
    Ok(match request.uri().path() {
        "/metrics" => {
            let open = wants_openmetrics(&request);
            let seen = watch.collect().await;
            let kind = if open { OPENMETRICS } else { PROMETHEUS };
            match text::write(seen, &watch.replies, open) {
                Ok(body) => response(StatusCode::OK, kind, body),
                Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
            }
        }
        path @ ("/healthz" | "/readyz") => {
            let (ok, body) = watch.health().await.answer(path == "/readyz");
            let status = match ok {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            response(status, JSON, format!("{body}\n"))
        }
        _ => {
            let body = "there are /metrics, /healthz and /readyz here\n".to_owned();
            response(StatusCode::NOT_FOUND, TEXT, body)
        }
    })
}

fn wants_openmetrics(request: &Request<Incoming>) -> bool {
    let accepted = request.headers().get_all(ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains("application/openmetrics-text"))
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
