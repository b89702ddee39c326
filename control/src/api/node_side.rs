//! `/v1/node/…`: what nodes call. The node is always the one who calls, so it needs no open port.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_ENCODING, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::auth::CallingNode;
use super::extract::Json;
use super::nodes::etag;
use super::problem::Problem;
use super::types::{Acknowledgement, Heartbeat, HeartbeatAnswer, LeftOut, Register};
use super::{Api, Reply};
use crate::feed::body::{self, Body};
use crate::feed::{Answer, BodyLimits, Encoding};
use crate::fleet::Advertisement;
use crate::steering::NodeId;

/// `POST /v1/node/register`: open, the key is the credential.
pub(super) async fn register(
    State(api): State<Api>,
    Json(register): Json<Register>,
) -> Result<Response, Problem> {
    let registered = api.fleet.register(register.key).await?;
    Ok((StatusCode::CREATED, axum::Json(registered)).into_response())
}

/// `POST /v1/node/heartbeat`
pub(super) async fn heartbeat(
    CallingNode(node): CallingNode,
    State(api): State<Api>,
    Json(heartbeat): Json<Heartbeat>,
) -> Reply<HeartbeatAnswer> {
    api.metrics.heartbeats.inc();
    Ok(axum::Json(api.fleet.heartbeat(node, heartbeat).await?))
}

/// `GET /v1/node/config`; 304 when `If-None-Match` names the newest generation.
pub(super) async fn config(
    CallingNode(node): CallingNode,
    State(api): State<Api>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let configuration = api.fleet.configuration(node).await?;
    let etag = etag(configuration.generation);
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag));
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    }
    Ok(([(ETAG, etag)], axum::Json(configuration)).into_response())
}

/// `PUT /v1/node/routes`: the whole footprint.
pub(super) async fn snapshot(
    CallingNode(node): CallingNode,
    State(api): State<Api>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    routes(&api, node, Form::Snapshot, &headers, bytes).await
}

/// `POST /v1/node/routes`: what has changed.
pub(super) async fn delta(
    CallingNode(node): CallingNode,
    State(api): State<Api>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    routes(&api, node, Form::Delta, &headers, bytes).await
}

/// What the method of a request promises of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Snapshot,
    Delta,
}

async fn routes(
    api: &Api,
    node: NodeId,
    form: Form,
    headers: &HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let encoding = encoding(headers)?;
    let limits = BodyLimits::default();
    let sent = bytes.clone();
    // A full table takes most of a second to read: not on a thread that answers requests.
    let read = tokio::task::spawn_blocking(move || body::read(&sent, encoding, &limits)).await;
    let (answer, left_out) = match read {
        Ok(Ok(body)) if form_of(&body) == form => {
            let advertisement = Advertisement { body, encoding, bytes };
            api.fleet.advertise(node, advertisement).await?
        }
        Ok(Ok(_)) => {
            let reason = "PUT takes a snapshot and POST a delta: this is the other one".to_owned();
            (Answer::Invalid { line: 1, reason, too_large: false }, None)
        }
        Ok(Err(error)) => (Answer::from(&error), None),
        Err(_) => return Err(Problem::busy("the control plane is being stopped", 5)),
    };
    Ok(reply(api, answer, left_out))
}

fn form_of(body: &Body) -> Form {
    match body {
        Body::Snapshot { .. } | Body::Claim { .. } => Form::Snapshot,
        Body::Delta { .. } => Form::Delta,
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(Encoding::Identity) };
    // Names of codings have no case (RFC 9110 §8.4.1).
    match value.to_str().unwrap_or_default().to_ascii_lowercase().as_str() {
        "identity" => Ok(Encoding::Identity),
        "zstd" => Ok(Encoding::Zstd),
        other => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("Content-Encoding: `{other}` is not understood: `zstd` or `identity`"),
        )),
    }
}

/// An answer in HTTP: 200, 409, 400 or 413.
fn reply(api: &Api, answer: Answer, left_out: Option<LeftOut>) -> Response {
    match answer {
        Answer::Ok(position) => {
            api.metrics.feed_applied.inc();
            axum::Json(Acknowledgement { position, left_out }).into_response()
        }
        Answer::Resync(held) => {
            api.metrics.feed_resync.inc();
            let detail = match held {
                Some(held) => format!(
                    "it does not follow what is stored: session {}, serial {}",
                    held.session, held.serial
                ),
                None => "nothing is stored that it could follow: send a snapshot".to_owned(),
            };
            let problem = Problem::conflict(detail);
            match held.map(serde_json::to_value) {
                Some(Ok(held)) => problem.with("held", held).into_response(),
                _ => problem.into_response(),
            }
        }
        Answer::Invalid { line, reason, too_large } => {
            api.metrics.feed_invalid.inc();
            let status =
                if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            Problem::new(status, format!("line {line}: {reason}"))
                .with("line", line)
                .with("reason", reason)
                .into_response()
        }
    }
}
