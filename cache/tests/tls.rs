//! Port 443: content over TLS, with the certificate that the node signs for itself.

mod support;

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use support::client::parse;
use support::{HOST, Node, TestOrigin, content, settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[tokio::test(flavor = "multi_thread")]
async fn content_comes_over_tls_too() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let origin = TestOrigin::start().await;
    let expected = content(3_000_000, 3);
    origin.put("/f", expected.clone(), "\"v1\"");
    let node = Node::start(settings(folder.path(), origin.address)).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.path().join("data/tls/cert.pem"))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    // A miss, then a hit.
    for _ in 0..2 {
        let stream = TcpStream::connect(node.https).await?;
        let mut stream = connector.connect(ServerName::try_from("edge-1")?, stream).await?;
        let request = format!(
            "GET /f?cacheHostOrigin={HOST} HTTP/1.1\r\nHost: edge-1\r\n\
             Range: bytes=1000000-\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let reply = parse(&answer);
        assert_eq!(reply.status, 206);
        assert!(reply.is_whole() && expected.ends_with(&reply.body));
        node.written("/f", 2).await;
    }
    Ok(())
}
