//! `/v1/bgp…`: what the speaker is asked and told.

use std::net::IpAddr;
use std::sync::Arc;
use std::{future, io};

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use mcc_bgp::speaker::{
    CommandError, MalformedMessage, MalformedMessages, SessionHistory, Stopped, TapSubscription,
};
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::route_query::Routes;
use crate::node::{View, report};

/// A chunk of a capture is sent when it has so many bytes, or when nothing more is there.
const CAPTURE_CHUNK: usize = 64 * 1024;

pub(super) fn router() -> Router<Arc<View>> {
    Router::new()
        .route("/v1/bgp", get(status))
        .route("/v1/bgp/routes", get(routes))
        .route("/v1/bgp/routes/count", get(count_routes))
        .route("/v1/bgp/errors", get(errors))
        .route("/v1/bgp/history", get(history))
        .route("/v1/bgp/capture", get(capture))
        .route("/v1/bgp/dump", get(dump))
        .route("/v1/bgp/neighbors/{address}", get(neighbor))
        .route("/v1/bgp/neighbors/{address}/reset", post(reset))
        .route("/v1/bgp/neighbors/{address}/refresh", post(refresh))
}

async fn status(State(view): State<Arc<View>>) -> impl IntoResponse {
    Json(report::bgp(&view))
}

async fn routes(
    State(view): State<Arc<View>>,
    query: Result<Query<Routes>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(query) = query?;
    let query = query.query(view.config.node.ipv6)?;
    Ok(Json(view.speaker.routes(query).await?))
}

/// `GET /v1/bgp/routes/count`: the query of `GET /v1/bgp/routes`, without its pages.
async fn count_routes(
    State(view): State<Arc<View>>,
    query: Result<Query<Routes>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    #[derive(Serialize)]
    struct Answer {
        count: usize,
    }
    let Query(query) = query?;
    let query = query.query(view.config.node.ipv6)?;
    let count = view.speaker.count_routes(query).await?;
    Ok(Json(Answer { count }))
}

/// The query of what can be asked of all neighbors or of one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfNeighbor {
    neighbor: Option<IpAddr>,
}

type OfNeighborQuery = Result<Query<OfNeighbor>, QueryRejection>;

/// `GET /v1/bgp/errors`: malformed messages, oldest first.
async fn errors(
    State(view): State<Arc<View>>,
    query: OfNeighborQuery,
) -> Result<impl IntoResponse, Problem> {
    #[derive(Serialize)]
    struct Answer<'a> {
        errors: Vec<&'a MalformedMessage>,
        /// How many there were since the start; `errors` has the last of each neighbor.
        total: u64,
    }
    let Query(OfNeighbor { neighbor }) = query?;
    let MalformedMessages { last, total } = view.speaker.malformed(neighbor)?;
    let answer = Answer { errors: last.iter().map(AsRef::as_ref).collect(), total };
    Ok(Json(answer).into_response())
}

/// `GET /v1/bgp/history`: changes of state, and messages that are not routine.
async fn history(
    State(view): State<Arc<View>>,
    query: OfNeighborQuery,
) -> Result<impl IntoResponse, Problem> {
    #[derive(Serialize)]
    struct Answer {
        neighbors: Vec<SessionHistory>,
    }
    let Query(OfNeighbor { neighbor }) = query?;
    Ok(Json(Answer { neighbors: view.speaker.history(neighbor)? }))
}

/// `GET /v1/bgp/capture`: messages and changes of state from now on, as an MRT file (RFC 6396) that
/// has no end. It begins with the OPENs of the sessions that are up.
///
/// A capture has no holes: if whoever takes it is too slow it is broken off, and a log line says so.
async fn capture(
    State(view): State<Arc<View>>,
    query: OfNeighborQuery,
) -> Result<impl IntoResponse, Problem> {
    let Query(OfNeighbor { neighbor }) = query?;
    // First listen, then ask what is there: nothing is missed in between.
    let subscription = view.speaker.tap(neighbor)?;
    let mut head = Vec::new();
    for session in view.speaker.established() {
        if neighbor.is_none_or(|address| address == session.neighbor.address) {
            for open in session.opens() {
                open.record().inspect(|record| record.encode(&mut head));
            }
        }
    }
    let head = stream::once(future::ready(Ok(Bytes::from(head))));
    let body = Body::from_stream(head.chain(records(subscription)));
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body))
}

fn records(subscription: TapSubscription) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(subscription, |mut subscription| async {
        let Some(first) = subscription.next().await else { return Ok(None) };
        let mut chunk = Vec::new();
        let mut next = Some(first);
        while let Some(observation) = next {
            observation.record().inspect(|record| record.encode(&mut chunk));
            next = if chunk.len() < CAPTURE_CHUNK { subscription.try_next() } else { None };
        }
        let dropped = subscription.dropped();
        if dropped > 0 {
            tracing::warn!(dropped, "broke off a capture whose taker was too slow");
            return Err(io::Error::other("the capture is too slow"));
        }
        Ok(Some((Bytes::from(chunk), subscription)))
    })
}

/// `GET /v1/bgp/dump`: the whole table as an MRT file (RFC 6396 §4.3).
async fn dump(
    State(view): State<Arc<View>>,
    query: OfNeighborQuery,
) -> Result<impl IntoResponse, Problem> {
    let Query(OfNeighbor { neighbor }) = query?;
    let name = view.config.node.name.to_string();
    let dump = view.speaker.dump(neighbor, &name)?;
    let pieces = stream::unfold(dump, |mut dump| async {
        let piece = dump.next().await?;
        Some((piece.map(Bytes::from).map_err(io::Error::other), dump))
    });
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(pieces)))
}

/// The `{address}` of a path.
type Address = Result<Path<IpAddr>, PathRejection>;

fn address_of(address: Address) -> Result<IpAddr, Problem> {
    let Path(address) = address.map_err(|error| Problem::bad_request(error.body_text()))?;
    Ok(address)
}

async fn neighbor(
    State(view): State<Arc<View>>,
    address: Address,
) -> Result<impl IntoResponse, Problem> {
    let detail = view.speaker.neighbor(address_of(address)?).await?;
    Ok(Json(report::neighbor(detail)))
}

async fn reset(State(view): State<Arc<View>>, address: Address) -> Result<StatusCode, Problem> {
    view.speaker.reset(address_of(address)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn refresh(State(view): State<Arc<View>>, address: Address) -> Result<StatusCode, Problem> {
    view.speaker.refresh(address_of(address)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<Stopped> for Problem {
    fn from(stopped: Stopped) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, stopped.to_string())
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let status = match error {
            CommandError::UnknownNeighbor { .. } => StatusCode::NOT_FOUND,
            CommandError::NotEstablished { .. } | CommandError::NoRouteRefresh { .. } => {
                StatusCode::CONFLICT
            }
            CommandError::Stopped(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbor_that_is_not_there_is_no_conflict() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let unknown = CommandError::UnknownNeighbor { address, known: "none".to_owned() };
        assert_eq!(Problem::from(unknown).status, StatusCode::NOT_FOUND);
        let down = CommandError::NotEstablished { address };
        assert_eq!(Problem::from(down).status, StatusCode::CONFLICT);
    }
}
