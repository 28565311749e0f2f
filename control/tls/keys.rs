// SPDX-License-Identifier: MIT
//! What the servers show and whom they let in. Re-read when the files change, for connections made from then on.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::Signal;
use tokio_rustls::rustls::ServerConfig;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::files::{Pems, TlsError};
use super::refusals::Refusals;
use crate::config::ServerTls;
use crate::stamp::{SETTLE, Stamp};
use crate::watch::notify;

/// The keys of all southbound servers.
pub(crate) struct ServerKeys {
    tls: ServerTls,
    current: Mutex<Arc<ServerConfig>>,
    /// Callers that were not let in.
    pub(super) refusals: Refusals,
}

/// The stamps of certificate, key and authorities.
type Stamps = [Option<Stamp>; 3];

impl ServerKeys {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be used, see [`TlsError`].
    pub(crate) fn load(tls: ServerTls) -> Result<Arc<Self>, TlsError> {
        let config = Pems::read(&tls.files)?.server()?;
        Ok(Arc::new(Self {
            tls,
            current: Mutex::new(Arc::new(config)),
            refusals: Refusals::default(),
        }))
    }

    /// What connections that are made now use.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the files once a second, and reads them again when they changed or on a `hangup` (SIGHUP); for ever.
    pub(crate) async fn follow(&self, mut hangup: Signal) {
        let mut read = self.stamps();
        let mut seen = read;
        loop {
            let asked = tokio::select! {
                _ = hangup.recv() => true,
                () = tokio::time::sleep(SETTLE) => false,
            };
            let now = self.stamps();
            // Files are replaced one after the other: only when they rest do they belong together.
            if asked {
                notify::reloading(|| self.reload());
                read = now;
            } else if now != read && now == seen {
                self.reload();
                read = now;
            }
            seen = now;
        }
    }

    fn stamps(&self) -> Stamps {
        let files = &self.tls.files;
        [&files.cert, &files.key, &files.ca].map(|path| Stamp::of(path))
    }

    /// Reads the files again. If one is wrong, what was in use stays.
    pub(super) fn reload(&self) {
        match Pems::read(&self.tls.files).and_then(|pems| pems.server()) {
            Ok(config) => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!("TLS: the certificates were read again; new connections use them");
            }
            Err(error) => {
                tracing::error!("TLS: {error}; the certificates from before stay in use");
            }
        }
    }

    /// Whether a caller with this certificate may call; else the names that it has.
    pub(super) fn admits(&self, certificate: &[u8]) -> Result<(), Vec<String>> {
        if self.tls.allow.is_empty() {
            return Ok(());
        }
        let names = names(certificate);
        let allowed = |name: &String| {
            let mut allow = self.tls.allow.iter();
            allow.any(|allowed| allowed.eq_ignore_ascii_case(name))
        };
        match names.iter().any(allowed) {
            true => Ok(()),
            false => Err(names),
        }
    }
}

/// The DNS names of a certificate, and its subject's common name. What cannot be read is no name.
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let certificate = certificate.tbs_certificate();
    let alternatives = certificate.get_extension::<SubjectAltName>();
    let alternatives = alternatives.ok().flatten().map(|(_, names)| names.0);
    let dns = alternatives
        .into_iter()
        .flatten()
        .filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.to_string()),
            _ => None,
        });
    let common = certificate.subject().common_name().ok().flatten();
    dns.chain(common.map(|name| name.value().into_owned()))
        .collect()
}
