// SPDX-License-Identifier: MIT
//! The other direction: this program as a client, of the network configuration manager or of a switch.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::files::{Pems, TlsError};
use crate::config::ClientTls;

/// The server at `to` (`ADDR:PORT`); over TLS as `tls` says, with what is in the files now. Nothing is connected yet.
///
/// # Errors
/// A file cannot be used, or `to` is no address; see [`TlsError`].
pub(crate) fn endpoint(to: &str, tls: Option<&ClientTls>) -> Result<Endpoint, TlsError> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let refused = |error: tonic::transport::Error| TlsError::Library(cause(&error));
    let endpoint = Endpoint::from_shared(format!("{scheme}://{to}")).map_err(refused)?;
    let Some(tls) = tls else {
        return Ok(endpoint);
    };
    let pems = Pems::read(&tls.files)?;
    let config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pems.ca))
        .identity(Identity::from_pem(pems.cert, pems.key));
    let config = match &tls.name {
        Some(name) => config.domain_name(name),
        None => config, // the address
    };
    endpoint.tls_config(config).map_err(refused)
}

/// Connects to the server at `to`, from an address of this host. The files are read for each connection.
///
/// # Errors
/// A file cannot be used, there is no way to the server, or the one does not trust the other.
pub(crate) async fn connect(
    to: SocketAddr,
    from: IpAddr,
    tls: &ClientTls,
) -> io::Result<TlsStream<TcpStream>> {
    let config = Pems::read(&tls.files).and_then(|pems| pems.client());
    let connector = TlsConnector::from(Arc::new(config.map_err(io::Error::other)?));
    let name = match &tls.name {
        Some(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
        None => ServerName::from(to.ip()),
    };
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind((from, 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    connector.connect(name, stream).await
}

/// Why `error` arose: tonic says "transport error", and its cause why.
pub(crate) fn cause(error: &tonic::transport::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
