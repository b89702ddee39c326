//! Whom a client trusts: the system's certificate authorities, read when the first server shows a
//! certificate.
//!
//! Not before: plain HTTP to a loopback address needs none, a machine without them still runs a
//! node, and one that gets them while the node runs is helped without a restart.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// The way out where there is nobody to trust.
const NO_AUTHORITIES: &str = "this machine has no certificate authorities to compare the server's certificate with: \
     install the package `ca-certificates`, or name a PEM file in the environment variable SSL_CERT_FILE";

/// Compares certificates with the system's authorities, and with `extra`.
#[derive(Debug)]
pub(crate) struct SystemRoots {
    extra: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    /// Once there are any.
    verifier: OnceLock<Verifier>,
}

impl SystemRoots {
    pub(crate) fn new(extra: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Self {
        Self { extra, provider, verifier: OnceLock::new() }
    }

    fn verifier(&self) -> Result<&Verifier, Error> {
        if let Some(verifier) = self.verifier.get() {
            return Ok(verifier);
        }
        let extra = self.extra.iter().cloned();
        let verifier =
            Verifier::new_with_extra_roots(extra, Arc::clone(&self.provider)).map_err(|error| {
                match error {
                    // What the platform's verifier says of an empty list.
                    Error::General(_) => Error::General(NO_AUTHORITIES.to_owned()),
                    error => error,
                }
            })?;
        Ok(self.verifier.get_or_init(|| verifier))
    }
}

impl ServerCertVerifier for SystemRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifier = self.verifier()?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
