// SPDX-License-Identifier: MIT
//! The other direction: this program as a client, of the network configuration manager or of a switch.

use std::error::Error;

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::files::{Pems, TlsError};
use crate::config::ClientTls;

/// The server at `to` (`ADDR:PORT`); over TLS as `tls` says. Nothing is connected yet. The files are read now: who makes
/// an endpoint for each connection uses new certificates without a restart.
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

/// Why `error` arose: tonic says "transport error", and its cause why.
pub(crate) fn cause(error: &tonic::transport::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
