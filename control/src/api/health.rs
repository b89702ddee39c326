//! `/healthz`, `/readyz`, `/metrics`: what monitoring asks.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::auth::Sees;
use super::problem::Problem;
use crate::metrics;

/// `GET /healthz`: the process is alive.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the database answers. Steering goes on without it; changes do not.
pub(super) async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    api.store.ping().await?;
    Ok("ok\n")
}

/// `GET /metrics`
pub(super) async fn metrics(_: Sees, State(api): State<Api>) -> Result<Response, Problem> {
    let text = api.metrics.text().map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write metrics: {error}"))
    })?;
    Ok(([(CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response())
}
