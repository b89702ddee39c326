//! Starting: what is refused, and TLS.

use std::net::SocketAddr;

use mcc_config::{ControlConfig, Database, Dns, Secret, Tls};
use mcc_control::client::{Client, Steered};
use mcc_control::server::ControlPlane;

use crate::plane::{Plane, ip};

/// Makes settings impossible. The address is one that is taken.
type Spoil = fn(&mut ControlConfig, SocketAddr);

#[tokio::test]
async fn impossible_settings_are_refused_in_words() {
    let cases: [(Spoil, &str); 6] = [
        (|c, _| c.control.listen.clear(), "[control] listen: no address"),
        (
            |c, _| c.control.listen = vec!["0.0.0.0:0".parse().unwrap()],
            "0.0.0.0:0 is no loopback address and needs TLS",
        ),
        (
            |c, _| {
                let url = Secret::new("postgres://db.example/mcc".to_owned());
                c.control.database = Database::Postgres(url);
            },
            "PostgreSQL is not supported by this version",
        ),
        (
            |c, _| c.dns = Some(Dns { listen: Vec::new(), upstream: Vec::new() }),
            "[dns]: DNS steering is not supported by this version",
        ),
        (
            |c, _| {
                c.control.tls = Some(Tls {
                    certificate: c.control.data_dir.join("none.pem"),
                    key: c.control.data_dir.join("none.pem"),
                });
            },
            "none.pem: ",
        ),
        (|c, held| c.control.listen = vec![held], "cannot listen on 127.0.0.1:"),
    ];
    let holder = Plane::start().await;
    let held: SocketAddr = holder.url().strip_prefix("http://").unwrap().parse().unwrap();
    for (change, message) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut config = ControlConfig { control: Default::default(), dns: None };
        config.control.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.control.data_dir = folder.path().to_owned();
        change(&mut config, held);
        let error = ControlPlane::start(config).await.unwrap_err().to_string();
        assert!(error.contains(message), "`{error}` lacks `{message}`");
    }
}

#[tokio::test]
async fn tls_with_a_certificate_of_its_own() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let tls = Tls { certificate: certificate.clone(), key };
    let plane = Plane::start_with(|config| config.control.tls = Some(tls)).await;

    let trusting = Client::new(&plane.url(), Some(&certificate)).unwrap();
    let answer = trusting.steer(ip("192.0.2.1"), None, false).await.unwrap();
    assert_eq!(answer, Steered::Nobody(None));
    // Without the certificate at hand the client does not talk to it, whether the system has
    // certificate authorities or not.
    let doubting = Client::new(&plane.url(), None).unwrap();
    let error = doubting.steer(ip("192.0.2.1"), None, false).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn the_end_comes_though_a_client_keeps_its_connection() {
    let plane = Plane::start().await;
    let client = plane.stranger();
    client.steer(ip("192.0.2.1"), None, false).await.unwrap();
    let address = plane.url();
    // The client keeps its connection open; this returns all the same.
    plane.stop().await;
    let error = client.steer(ip("192.0.2.1"), None, false).await.unwrap_err().to_string();
    assert!(error.contains("does not answer"), "{address}: {error}");
}
