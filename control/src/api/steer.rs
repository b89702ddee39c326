//! `/v1/steer` and `/geo`: which node serves a client. Answers come from what the keeper has
//! published: no database, no lock, no other task.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use mcc_config::HostName;
use serde::Deserialize;

use super::extract::Json;
use super::problem::Problem;
use super::types::{ClientAnswer, Explanation, SteerAnswer, SteerAnswers, SteerQuestions};
use super::{Api, Reply};
use crate::steering::geo::{self, GeoSettings};

/// The most clients in one bulk request.
const BULK_LIMIT: usize = 10_000;

/// The query of `GET /v1/steer`, as text, so that each value is refused in its own words.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SteerQuery {
    client: Option<String>,
    host: Option<String>,
    explain: Option<String>,
}

/// `GET /v1/steer?client=IP[&host=HOST][&explain=true]`
pub(super) async fn one(
    State(api): State<Api>,
    Query(query): Query<SteerQuery>,
) -> Reply<SteerAnswer> {
    let text = query.client.ok_or_else(|| {
        Problem::bad_request("client: it is missing: ask `/v1/steer?client=198.51.100.7`")
    })?;
    let client = text.parse::<IpAddr>().map_err(|_| {
        Problem::bad_request(format!("client: `{text}` is no IP address, such as 198.51.100.7"))
    })?;
    let explain = match query.explain.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            let detail = format!("explain: `{other}` is neither `true` nor `false`");
            return Err(Problem::bad_request(detail));
        }
    };
    if let Some(host) = query.host {
        // Every node serves every origin for now, so that a good name makes no difference.
        host.parse::<HostName>().map_err(|e| Problem::bad_request(format!("host: {e}")))?;
    }
    let client = understood(&api, "client", client)?;
    let steering = api.fleet.steering();
    let mut decision = steering.index.view().steer(client, &steering.nodes.load());
    let Some(chosen) = decision.chosen.take() else {
        api.metrics.not_steered.inc();
        let problem = Problem::not_found(format!("no node serves {client}"))
            .with("client", client.to_string());
        let explanation = serde_json::to_value(Explanation::from(decision));
        return Err(match explanation {
            Ok(explanation) if explain => problem.with("explanation", explanation),
            _ => problem,
        });
    };
    api.metrics.steered.inc();
    Ok(axum::Json(SteerAnswer {
        node: chosen.node,
        address: chosen.address,
        prefix: chosen.prefix,
        reason: chosen.reasons,
        explanation: explain.then(|| Explanation::from(decision)),
    }))
}

/// `POST /v1/steer`
pub(super) async fn many(
    State(api): State<Api>,
    Json(SteerQuestions { questions }): Json<SteerQuestions>,
) -> Reply<SteerAnswers> {
    if questions.len() > BULK_LIMIT {
        let asked = questions.len();
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("questions: {asked} are too many for one request: send at most {BULK_LIMIT}"),
        ));
    }
    let steering = api.fleet.steering();
    let (view, nodes) = (steering.index.view(), steering.nodes.load());
    let mut answers = Vec::with_capacity(questions.len());
    for (index, question) in questions.into_iter().enumerate() {
        let client = understood(&api, &format!("questions[{index}].client"), question.client)?;
        let choice = view.choose(client, &nodes);
        let node = choice.and_then(|choice| nodes.get(choice.node));
        let counter = if node.is_some() { &api.metrics.steered } else { &api.metrics.not_steered };
        counter.inc();
        answers.push(ClientAnswer {
            client,
            node: node.map(|node| node.name.clone()),
            address: node.map(|node| node.address),
            prefix: choice.map(|choice| choice.prefix),
        });
    }
    Ok(axum::Json(SteerAnswers { answers }))
}

/// `GET /geo`: the reply of the Delivery Optimization geo service. Its query says nothing that the
/// answer depends on.
pub(super) async fn geo(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let client = client_of(peer.ip(), &headers, &api.trusted_proxies);
    let steering = api.fleet.steering();
    let decision = steering.index.view().steer(client, &steering.nodes.load());
    let counter = match decision.chosen {
        Some(_) => &api.metrics.steered,
        None => &api.metrics.not_steered,
    };
    counter.inc();
    let reply = serde_json::to_vec(&geo::reply(&decision, &GeoSettings::default()))
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(CONTENT_TYPE, geo::CONTENT_TYPE)], reply).into_response())
}

/// The client's address, unless it is IPv6 and that is off. An IPv4 address mapped into IPv6 is
/// that IPv4 address.
fn understood(api: &Api, key: &str, client: IpAddr) -> Result<IpAddr, Problem> {
    match client.to_canonical() {
        IpAddr::V6(client) if !api.ipv6 => Err(Problem::bad_request(format!(
            "{key}: `{client}` is IPv6, which is off: set `ipv6 = true` under [control] to allow it"
        ))),
        client => Ok(client),
    }
}

/// Who has sent the request. `X-Forwarded-For` is believed from right to left: each trusted proxy
/// vouches for the address that it wrote, and the first address that is no trusted proxy is the
/// client. What stands further left the client can have written itself.
fn client_of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer.to_canonical();
    let values = headers.get_all("x-forwarded-for").into_iter().map(|value| value.to_str());
    let hops: Vec<&str> =
        values.map(Result::unwrap_or_default).flat_map(|value| value.split(',')).collect();
    for hop in hops.into_iter().rev() {
        if !is_trusted(client) {
            break;
        }
        let Some(address) = forwarded_address(hop.trim()) else { break };
        client = address.to_canonical();
    }
    client
}

/// An address as proxies write it: bare, with a port, or IPv6 in brackets.
fn forwarded_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}
