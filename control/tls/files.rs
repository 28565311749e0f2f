// SPDX-License-Identifier: MIT
//! Certificates and keys from PEM files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};

use crate::config::TlsFiles;

/// Largest file, in bytes: a bundle of all public authorities is a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// What is spoken inside: HTTP/2.
const ALPN: &[u8] = b"h2";

/// Why files cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is too large.
    #[error("{} is larger than {} KiB", .0.display(), MAX_FILE >> 10)]
    TooLarge(PathBuf),
    /// A file is no PEM, or has nothing of the kind in it.
    #[error("{} has no {what} in PEM: {error}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
        /// Why.
        error: pem::Error,
    },
    /// An authority's certificate is none.
    #[error("{}: {error}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// Nothing can be verified by the authorities.
    #[error("{}: {error}", path.display())]
    Verifier {
        /// The file.
        path: PathBuf,
        /// Why.
        error: VerifierBuilderError,
    },
    /// The key is not the certificate's, or of a kind that is not supported.
    #[error("{} and {} do not go together: {error}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// The library refuses what it was given.
    #[error("TLS: {0}")]
    Library(String),
}

/// The content of the files.
pub(crate) struct Pems {
    files: TlsFiles,
    /// The certificate and those between it and the authority's.
    pub(crate) cert: Vec<u8>,
    /// Its key.
    pub(crate) key: Vec<u8>,
    /// The authorities.
    pub(crate) ca: Vec<u8>,
}

impl Pems {
    /// Reads the files, and checks that all of them can be used.
    ///
    /// # Errors
    /// One cannot, see [`TlsError`].
    pub(crate) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let pems = Self {
            files: files.clone(),
            cert: read(&files.cert)?,
            key: read(&files.key)?,
            ca: read(&files.ca)?,
        };
        pems.server().map(|_| pems)
    }

    /// What a server shows, and asks of its callers: a certificate of the authority.
    pub(super) fn server(&self) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(self.authorities()?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| TlsError::Verifier {
                path: self.files.ca.clone(),
                error,
            })?;
        let (shown, private) = self.shown()?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(library)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(shown, private)
            .map_err(|error| self.no_pair(error))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }

    /// The same of a client, which asks it of the server.
    pub(super) fn client(&self) -> Result<ClientConfig, TlsError> {
        let (shown, private) = self.shown()?;
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(library)?
            .with_root_certificates(self.authorities()?)
            .with_client_auth_cert(shown, private)
            .map_err(|error| self.no_pair(error))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let path = &self.files.ca;
        let mut roots = RootCertStore::empty();
        for authority in certificates(path, &self.ca)? {
            roots.add(authority).map_err(|error| TlsError::Authority {
                path: path.clone(),
                error,
            })?;
        }
        Ok(roots)
    }

    fn shown(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let TlsFiles { cert, key, .. } = &self.files;
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| no_pem(key, "private key", error))?;
        Ok((certificates(cert, &self.cert)?, private))
    }

    fn no_pair(&self, error: rustls::Error) -> TlsError {
        TlsError::Pair {
            cert: self.files.cert.clone(),
            key: self.files.key.clone(),
            error,
        }
    }
}

fn library(error: rustls::Error) -> TlsError {
    TlsError::Library(error.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| TlsError::Read {
            path: path.to_owned(),
            error,
        })?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(TlsError::TooLarge(path.to_owned())),
        false => Ok(bytes),
    }
}

/// The certificates in `pem`, the content of `path`; at least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let some = all.and_then(|all| match all.is_empty() {
        true => Err(pem::Error::NoItemsFound),
        false => Ok(all),
    });
    some.map_err(|error| no_pem(path, "certificate", error))
}

fn no_pem(path: &Path, what: &'static str, error: pem::Error) -> TlsError {
    let path = path.to_owned();
    TlsError::Pem { path, what, error }
}
