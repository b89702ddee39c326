//! `/v1/nodes…`: what operators do with nodes.

use axum::extract::{Path, State};
use axum::http::header::{ETAG, HOST, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use mcc_config::NodeName;

use super::auth::{Changes, Sees};
use super::extract::Json;
use super::problem::Problem;
use super::types::{Enrolment, Node, NodeList, NodePatch, NodeSettings};
use super::{Api, Reply};
use crate::fleet::Wish;

/// `GET /v1/nodes`
pub(super) async fn list(_: Sees, State(api): State<Api>) -> Reply<NodeList> {
    Ok(axum::Json(NodeList { nodes: api.fleet.list().await? }))
}

/// `GET /v1/nodes/{name}`
pub(super) async fn get(
    _: Sees,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let node = api.fleet.get(named(&name)?).await?;
    Ok(with_etag(StatusCode::OK, &node))
}

/// `POST /v1/nodes`
pub(super) async fn create(
    Changes(actor): Changes,
    State(api): State<Api>,
    Json(settings): Json<NodeSettings>,
) -> Result<Response, Problem> {
    let node = api.fleet.create(actor, settings).await?;
    Ok(with_etag(StatusCode::CREATED, &node))
}

/// `PATCH /v1/nodes/{name}`; with `If-Match` only if nobody else has changed it since.
pub(super) async fn change(
    Changes(actor): Changes,
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(patch): Json<NodePatch>,
) -> Result<Response, Problem> {
    let expected = expected_generation(&headers)?;
    let node = api.fleet.change(actor, named(&name)?, patch, expected).await?;
    Ok(with_etag(StatusCode::OK, &node))
}

/// `DELETE /v1/nodes/{name}`
pub(super) async fn delete(
    Changes(actor): Changes,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    api.fleet.delete(actor, named(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/nodes/{name}/drain`, `…/undrain`, `…/enable`, `…/disable`
pub(super) async fn wish(
    wish: Wish,
    Changes(actor): Changes,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Reply<Node> {
    Ok(axum::Json(api.fleet.wish(actor, named(&name)?, wish).await?))
}

/// `POST /v1/nodes/{name}/enrolment`
pub(super) async fn enrolment(
    Changes(actor): Changes,
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (key, expires_at) = api.fleet.enrolment_key(actor, named(&name)?).await?;
    let scheme = if api.tls { "https" } else { "http" };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("CONTROL-PLANE");
    let command = format!(
        "mcc enrol --url {scheme}://{host} --key {} --token-file /etc/mcc/node.token",
        key.expose()
    );
    let enrolment = Enrolment { key, expires_at, command };
    Ok((StatusCode::CREATED, axum::Json(enrolment)).into_response())
}

fn named(name: &str) -> Result<NodeName, Problem> {
    name.parse().map_err(|error: mcc_config::NameError| Problem::bad_request(error.to_string()))
}

/// A node's entity tag is the generation of its settings: what `If-Match` guards.
pub(super) fn etag(generation: u64) -> String {
    format!("\"{generation}\"")
}

fn with_etag(status: StatusCode, node: &Node) -> Response {
    let mut response = (status, axum::Json(node)).into_response();
    if let Ok(value) = HeaderValue::try_from(etag(node.generation)) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

fn expected_generation(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(header) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = header.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let generation = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    generation.and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| {
        Problem::bad_request(format!(
            "If-Match: `{text}` is no entity tag of a node: send the ETag that GET returned"
        ))
    })
}
