//! The admin API of a node: what `mcc status`, `mcc bgp …` and monitoring ask.

mod bgp;
mod cache;
mod footprint;
mod problem;
mod route_query;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{View, metrics, report};
use problem::Problem;

/// The most routes or prefixes of one answer; `next` says where to go on.
const PAGE: usize = 8_192;

/// How many rows an answer may have. Nobody asks for none and means it.
fn page(limit: Option<usize>) -> Result<usize, Problem> {
    match limit {
        Some(0) => Err(Problem::bad_request("`limit` is 1 or more; without it a page is full")),
        Some(limit) => Ok(limit.min(PAGE)),
        None => Ok(PAGE),
    }
}

/// Answers on `listener` until `stop`.
pub(super) async fn serve(listener: TcpListener, view: Arc<View>, stop: CancellationToken) {
    let served =
        axum::serve(listener, router(view)).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the admin API has stopped; the node goes on without it");
    }
}

fn router(view: Arc<View>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .merge(bgp::router())
        .merge(footprint::router())
        .merge(cache::router())
        .route("/v1/drain", post(drain))
        .route("/v1/undrain", post(undrain))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(view)
}

async fn unknown(request: Request) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", request.uri().path()))
}

async fn wrong_method(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{path} does not take {method}"))
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// Why it is not.
    reasons: Vec<String>,
    /// What is not as it should be all the same.
    warnings: Vec<String>,
}

async fn readyz(State(view): State<Arc<View>>) -> impl IntoResponse {
    let reasons = report::not_ready(&view);
    let warnings = report::warnings(&view);
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, reasons, warnings }))
}

async fn metrics(State(view): State<Arc<View>>) -> Result<impl IntoResponse, Problem> {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = metrics::encode(view)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, OPENMETRICS)], text))
}

async fn status(State(view): State<Arc<View>>) -> impl IntoResponse {
    Json(report::status(&view))
}

async fn drain(State(view): State<Arc<View>>) -> StatusCode {
    tracing::info!("draining: new clients are sent elsewhere");
    view.cache.drain(true);
    StatusCode::NO_CONTENT
}

async fn undrain(State(view): State<Arc<View>>) -> StatusCode {
    tracing::info!("taking clients again");
    view.cache.drain(false);
    StatusCode::NO_CONTENT
}
