// SPDX-License-Identifier: MIT
//! Connections, made TLS streams of callers that may call.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;

use super::ServerKeys;
use crate::server::KEEPALIVE;

/// How long a caller may take to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Handshakes at once; further callers wait in the kernel's queue. Each takes some 50 KiB.
const MAX_HANDSHAKES: usize = 1024;

/// Pause after the kernel could not give a connection, as when there are too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a caller is not let in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it did not say who it is within {} s", HANDSHAKE.as_secs())]
    Slow,
    #[error("{0}")]
    Handshake(io::Error),
    #[error("none of its names is in `allow`: {}", .0.join(", "))]
    Name(Vec<String>),
}

/// The streams of callers of `listener` that may call, by the keys that are current when they come.
pub(crate) fn incoming(listener: TcpListener, keys: Arc<ServerKeys>) -> Incoming {
    let (ready, streams) = mpsc::channel(1);
    let mut accepting = JoinSet::new();
    accepting.spawn(accept(listener, keys, ready));
    Incoming {
        streams,
        _accepting: accepting,
    }
}

/// See [`incoming`].
pub(crate) struct Incoming {
    streams: mpsc::Receiver<TlsStream<TcpStream>>,
    /// Ends when this does.
    _accepting: JoinSet<()>,
}

impl Stream for Incoming {
    type Item = io::Result<TlsStream<TcpStream>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.streams.poll_recv(context).map(|stream| stream.map(Ok))
    }
}

async fn accept(
    listener: TcpListener,
    keys: Arc<ServerKeys>,
    ready: mpsc::Sender<TlsStream<TcpStream>>,
) {
    let room = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    // Never closed, so there is always a permit some time.
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("TLS: no connection can be taken: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (keys, ready) = (Arc::clone(&keys), ready.clone());
        tokio::spawn(async move {
            match greet(stream, &keys).await {
                // Nobody takes it when the server is ending.
                Ok(stream) => drop(ready.send(stream).await),
                Err(refusal) => keys.refusals.log(peer, &refusal),
            }
            drop(permit);
        });
    }
}

/// Finds out who calls, and whether they may.
async fn greet(stream: TcpStream, keys: &ServerKeys) -> Result<TlsStream<TcpStream>, Refusal> {
    stream.set_nodelay(true).map_err(Refusal::Handshake)?;
    SockRef::from(&stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
        .map_err(Refusal::Handshake)?;
    let handshake = TlsAcceptor::from(keys.current()).accept(stream);
    let stream = tokio::time::timeout(HANDSHAKE, handshake)
        .await
        .map_err(|_| Refusal::Slow)?
        .map_err(Refusal::Handshake)?;
    let certificates = stream.get_ref().1.peer_certificates();
    // There is one: the verifier asks for it.
    let certificate = certificates
        .and_then(<[_]>::first)
        .map_or(&[][..], AsRef::as_ref);
    keys.admits(certificate).map_err(Refusal::Name)?;
    Ok(stream)
}
