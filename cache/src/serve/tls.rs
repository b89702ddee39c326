//! The certificate of port 443: the operator's, or one that the node signs for itself at its first start.
//!
//! A client that does not trust the certificate goes to the CDN and comes back later; one that finds the port closed
//! bans the node. So the port is open with whatever certificate there is.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// The operator's PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why there is no certificate to serve with.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read or holds no PEM of the kind.
    #[error("cannot read {what} from {}: {text}", path.display())]
    Read {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
    /// The two do not make a certificate, most often because the key belongs to another one.
    #[error("the certificate in {} cannot be used with its key: {source}", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// The TLS library's words.
        source: rustls::Error,
    },
    /// Making or storing the node's own certificate failed.
    #[error("cannot store the node's own certificate in {}: {text}", path.display())]
    SelfSigned {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
}

/// The TLS settings of the listener: with the operator's files, else with the node's own certificate for `names`,
/// which is made once and kept in `data_dir/tls`.
pub(crate) fn server_config(
    files: Option<&CertificateFiles>,
    data_dir: &Path,
    names: Vec<String>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let files = match files {
        Some(files) => files.clone(),
        None => own_certificate(&data_dir.join("tls"), names)?,
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| TlsError::Read {
            what: "a certificate chain",
            path: files.certificate.clone(),
            text: error.to_string(),
        })?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| TlsError::Read {
        what: "a private key",
        path: files.key.clone(),
        text: error.to_string(),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |source| TlsError::Unusable { path: files.certificate.clone(), source };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The node's own certificate; made when one of its two files is missing.
fn own_certificate(folder: &Path, names: Vec<String>) -> Result<CertificateFiles, TlsError> {
    let files =
        CertificateFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    if files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    let failed = |text: String| TlsError::SelfSigned { path: folder.to_owned(), text };
    let made =
        rcgen::generate_simple_self_signed(names).map_err(|error| failed(error.to_string()))?;
    fs::create_dir_all(folder)
        .and_then(|()| write_private(&files.key, made.signing_key.serialize_pem().as_bytes()))
        .and_then(|()| write_private(&files.certificate, made.cert.pem().as_bytes()))
        .map_err(|error| failed(error.to_string()))?;
    tracing::info!(certificate = %files.certificate.display(), "signed the node's own certificate");
    Ok(files)
}

/// Writes a file that only the node's user can read.
fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_own_certificate_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let names = || vec!["edge-1".to_owned(), "192.0.2.1".to_owned()];
        server_config(None, folder.path(), names()).unwrap();
        let file = folder.path().join("tls/cert.pem");
        let first = fs::read(&file).unwrap();
        server_config(None, folder.path(), names()).unwrap();
        assert_eq!(fs::read(&file).unwrap(), first);
        let mode = fs::metadata(folder.path().join("tls/key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_bad_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let certificate = folder.path().join("cert.pem");
        fs::write(&certificate, "no pem").unwrap();
        let files = CertificateFiles { certificate, key: folder.path().join("missing.pem") };
        let error = server_config(Some(&files), folder.path(), vec![]).unwrap_err().to_string();
        assert!(error.contains("pem"), "{error}");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&a, &b] {
            own_certificate(folder.path(), vec!["x".to_owned()]).unwrap();
        }
        let files = CertificateFiles {
            certificate: a.path().join("cert.pem"),
            key: b.path().join("key.pem"),
        };
        let error = server_config(Some(&files), a.path(), vec![]).unwrap_err();
        assert!(matches!(error, TlsError::Unusable { .. }), "{error}");
    }
}
