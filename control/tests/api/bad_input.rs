//! Bad input: each is told what is wrong, where, and what would be right.

use mcc_config::ControlConfig;
use mcc_control::tokens::Role;

use crate::plane::{Plane, healthy, settings};

/// Sends each body to `method path` as an operator and compares status and detail.
async fn table(plane: &Plane, method: &str, path: &str, cases: &[(&str, u16, &str)]) {
    let token = plane.token(Role::Operator).await;
    let bearer = format!("Bearer {}", token.expose());
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    for (body, status, detail) in cases {
        let reply = plane.raw(method, path, &headers, (*body).to_owned()).await;
        assert_eq!(reply.status, *status, "{body}: {reply:?}");
        let told = reply.detail();
        assert!(told.contains(detail), "{body}: `{told}` lacks `{detail}`");
    }
}

#[tokio::test]
async fn nodes_that_cannot_be() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    owner.create_node(&settings("edge-1", "192.0.2.10", &["198.51.100.0/24"])).await.unwrap();
    table(
        &plane,
        "POST",
        "/v1/nodes",
        &[
            ("{", 400, "body: EOF while parsing an object at line 1 column 1"),
            ("[]", 400, "body: "),
            ("{}", 400, "missing field `name`"),
            (r#"{"name":"a b","address":"192.0.2.1"}"#, 400, "name: `a b` is no node name: 1 to 63 letters"),
            (r#"{"name":"b","address":"192.0.2"}"#, 400, "address: invalid IP address syntax"),
            (r#"{"name":"b","address":"192.0.2.1","cidr":[]}"#, 400, "unknown field `cidr`, expected one of"),
            (r#"{"name":"b","address":"192.0.2.1","cidrs":["198.51.100.0"]}"#, 400, "cidrs[0]: "),
            (r#"{"name":"b","address":"192.0.2.1","cidrs":["198.51.101.9/24"]}"#, 400, "cidrs[0]: `198.51.101.9/24` has host bits set: use `198.51.101.0/24`"),
            (r#"{"name":"b","address":"2001:db8::1"}"#, 400, "is IPv6, which is off: set `ipv6 = true` under [control]"),
            (r#"{"name":"b","address":"192.0.2.1","neighbors":[{"address":"192.0.2.2","asn":0}]}"#, 400, "neighbors[0].asn: 0 is a reserved AS number"),
            (r#"{"name":"b","address":"192.0.2.1","cidrs":["0.0.0.0/0"]}"#, 400, "cidrs[0]: `0.0.0.0/0`, the whole internet"),
            (r#"{"name":"b","address":"192.0.2.1","neighbors":[{"address":"192.0.2.2","asn":1,"max_prefixes":0}]}"#, 400, "neighbors[0].max_prefixes: `0` is not possible: 1 to 4294967295"),
            (r#"{"name":"Edge-1","address":"192.0.2.1"}"#, 409, "name `Edge-1` is in use by node `edge-1`"),
            (r#"{"name":"edge-1","address":"192.0.2.1"}"#, 409, "name `edge-1` is in use by node `edge-1`"),
            (r#"{"name":"b","address":"192.0.2.10"}"#, 409, "address `192.0.2.10` is in use by node `edge-1`"),
            (r#"{"name":"b","address":"192.0.2.1","cidrs":["198.51.100.0/24"]}"#, 409, "CIDR block `198.51.100.0/24` is in use by node `edge-1`"),
        ],
    )
    .await;
    table(
        &plane,
        "PATCH",
        "/v1/nodes/edge-1",
        &[
            (r#"{"name":"edge-2"}"#, 400, "unknown field `name`"),
            (r#"{"address":null}"#, 400, "address: invalid type: null"),
            (r#"{"max_egress_mbps":0}"#, 400, "max_egress_mbps: 0 is not possible"),
        ],
    )
    .await;
    table(&plane, "PATCH", "/v1/nodes/edge-9", &[("{}", 404, "there is no node `edge-9`")]).await;
    table(&plane, "PATCH", "/v1/nodes/a_b", &[("{}", 400, "`a_b` is no node name")]).await;
    assert_eq!(owner.nodes().await.unwrap().len(), 1, "nothing of it came to be");
}

#[tokio::test]
async fn requests_that_cannot_be() {
    let plane = Plane::start().await;
    let json = [("content-type", "application/json")];
    for (method, path, headers, status, detail) in [
        ("GET", "/nowhere", &json[..], 404, "there is no `/nowhere` here"),
        ("GET", "/v1/node", &json, 404, "there is no `/v1/node` here"),
        ("DELETE", "/v1/steer", &json, 405, "`/v1/steer` does not take DELETE"),
        ("BREW", "/v1/steer", &json, 405, "`/v1/steer` does not take BREW"),
        ("GET", "/v1/steer", &json, 400, "client: it is missing"),
        ("GET", "/v1/steer?client=192.0.2", &json, 400, "client: `192.0.2` is no IP address"),
        ("GET", "/v1/steer?client=2001:db8::1", &json, 400, "is IPv6, which is off"),
        ("GET", "/v1/steer?client=192.0.2.1&explain=maybe", &json, 400, "explain: `maybe`"),
        ("GET", "/v1/steer?client=192.0.2.1&host=a/b", &json, 400, "host: `a/b` is no host name"),
        ("GET", "/v1/steer?klient=192.0.2.1", &json, 400, "unknown field `klient`"),
        ("POST", "/v1/node/register", &[], 415, "send `Content-Type: application/json`"),
    ] {
        let reply = plane.raw(method, path, headers, "{}").await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        let told = reply.detail();
        assert!(told.contains(detail), "{method} {path}: `{told}` lacks `{detail}`");
    }
    let long = vec![b' '; (1 << 20) + 1];
    let reply = plane.raw("POST", "/v1/node/register", &json, long).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    reply.detail();
    let reply = plane.raw("GET", "/v1/nodes", &[("authorization", "Basic bWU6cHc=")], "").await;
    assert!(reply.detail().contains("send `Bearer mcc_…`"));
}

#[tokio::test]
async fn a_change_of_what_has_changed_meanwhile_is_refused() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    owner.create_node(&settings("edge-1", "192.0.2.10", &[])).await.unwrap();
    let token = plane.token(Role::Operator).await;
    let bearer = format!("Bearer {}", token.expose());
    let patch = async |etag: &str, limit: u32| {
        let headers =
            [("content-type", "application/json"), ("authorization", &bearer), ("if-match", etag)];
        let body = format!(r#"{{"max_egress_mbps":{limit}}}"#);
        plane.raw("PATCH", "/v1/nodes/edge-1", &headers, body).await
    };
    let first = patch("\"1\"", 100).await;
    assert_eq!((first.status, &first.headers["etag"]), (200, &"\"2\"".parse().unwrap()));
    let second = patch("\"1\"", 200).await;
    assert_eq!(second.status, 412);
    assert!(second.detail().contains("at generation 2, not 1"));
    assert_eq!(patch("W/1", 200).await.status, 400);
}

#[tokio::test]
async fn advertisements_that_cannot_be() {
    let plane = Plane::start().await;
    let owner = plane.owner().await;
    let link = plane.healthy_node(&owner, &settings("edge-1", "192.0.2.10", &[])).await;
    let bearer = format!("Bearer {}", link.token.expose());
    let head = r#"{"kind":"snapshot","version":1,"session":"0190b8a3-6b5e-7000-8000-000000000001","serial":1,"digest":"00000000000000000000000000000000","routes":1}"#;
    let host_bits = format!(
        "{head}\n{{\"op\":\"+\",\"prefix\":\"198.51.100.7/24\",\"source\":\"bgp\",\"path_len\":1}}\n"
    );
    for (method, encoding, body, status, detail) in [
        ("PUT", "identity", String::new(), 400, "line 1: there is no first line"),
        ("PUT", "identity", "hello\n".to_owned(), 400, "line 1: "),
        ("PUT", "zstd", head.to_owned(), 400, "cannot be decompressed"),
        ("PUT", "gzip", head.to_owned(), 415, "`gzip` is not understood: `zstd` or `identity`"),
        ("PUT", "identity", host_bits, 400, "line 2: 198.51.100.7/24 has host bits set"),
        ("POST", "identity", head.to_owned(), 400, "PUT takes a snapshot and POST a delta"),
    ] {
        let headers = [("authorization", bearer.as_str()), ("content-encoding", encoding)];
        let reply = plane.raw(method, "/v1/node/routes", &headers, body.clone()).await;
        assert_eq!(reply.status, status, "{body}: {reply:?}");
        let told = reply.detail();
        assert!(told.contains(detail), "{body}: `{told}` lacks `{detail}`");
    }
    // A heartbeat of a newer node has keys that are not known here: no reason to refuse it.
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = r#"{"ready":true,"invented_later":{"x":1}}"#;
    assert_eq!(plane.raw("POST", "/v1/node/heartbeat", &headers, body).await.status, 200);
    link.client.heartbeat(&healthy()).await.unwrap();
}

#[tokio::test]
async fn ipv6_is_taken_when_it_is_on() {
    let on = |config: &mut ControlConfig| config.control.ipv6 = true;
    let plane = Plane::start_with(on).await;
    let owner = plane.owner().await;
    let node = settings("edge-6", "2001:db8::10", &["2001:db8:1::/48"]);
    plane.healthy_node(&owner, &node).await;
    let client = "2001:db8:1::7".parse().unwrap();
    let answer = owner.steer(client, None, false).await.unwrap().node().unwrap();
    assert_eq!(answer.address, node.address);
}
