//! TLS on both ends, always with the ring provider named: nothing here depends on a process-wide
//! default that some other part of the program would have to install first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

use crate::system_roots::SystemRoots;

/// Why a certificate or key cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file cannot be read, or holds no PEM block of the kind needed.
    #[error("{path}: {source}: it must be a PEM file with {needed}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it must hold.
        needed: &'static str,
        /// What is wrong.
        source: pem::Error,
    },
    /// Certificate and key do not make a server, or the roots do not make a client.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Reads every certificate in a PEM file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |source| TlsError::Pem {
        path: path.to_owned(),
        needed: "a certificate (-----BEGIN CERTIFICATE-----)",
        source,
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(error)?
        .collect::<Result<_, _>>()
        .map_err(error)?;
    if certificates.is_empty() { Err(error(pem::Error::NoItemsFound)) } else { Ok(certificates) }
}

/// The server side, from the files that `tls` names.
pub(crate) fn acceptor(tls: &mcc_config::Tls) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(&tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|source| TlsError::Pem {
        path: tls.key.clone(),
        needed: "a private key (-----BEGIN PRIVATE KEY-----)",
        source,
    })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The client side: the system's certificate authorities, and those in `ca_file`. They are not
/// looked at before a server shows its certificate, so it does for plain HTTP as well.
///
/// # Errors
/// When `ca_file` cannot be read. That the system has no authorities is an error of the connection.
pub fn client(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let extra = ca_file.map(certificates).transpose()?.unwrap_or_default();
    let verifier = SystemRoots::new(extra, provider());
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous() // rustls calls every verifier but its own so; this one asks the system's roots
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}
