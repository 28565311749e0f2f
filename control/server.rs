// SPDX-License-Identifier: MIT
//! How the southbound services are served: HTTP/2 for what Alcor's clients do with it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::tls::{self, ServerKeys};

/// HTTP/2 flow control: bytes in flight per stream and per connection. The default of 64 KiB costs a round
/// trip per 64 KiB of a goal state.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Streams per connection; a controller keeps many idle ones open. As many as Alcor's own server allows.
const MAX_STREAMS: u32 = 10_000;

/// How often an idle connection is checked, so that half-open ones go away: by HTTP/2, and by TCP until that has begun.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long open streams may take to end at shutdown; controllers keep idle ones for ever.
const LINGER: Duration = Duration::from_secs(1);

/// Serves until `shutdown` resolves; then finishes what has begun, for a moment. Plain without `keys`.
pub(crate) async fn serve(
    routes: Routes,
    listener: TcpListener,
    keys: Option<Arc<ServerKeys>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_routes(routes);
    let server: Pin<Box<dyn Future<Output = _> + Send>> = match keys {
        None => {
            let incoming = TcpIncoming::from(listener)
                .with_nodelay(Some(true))
                .with_keepalive(Some(KEEPALIVE));
            Box::pin(server.serve_with_incoming_shutdown(incoming, stopped))
        }
        Some(keys) => {
            let incoming = tls::incoming(listener, keys);
            Box::pin(server.serve_with_incoming_shutdown(incoming, stopped))
        }
    };
    let mut server = pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = shutdown => drop(stop),
    }
    tokio::time::timeout(LINGER, server).await.unwrap_or(Ok(()))
}
