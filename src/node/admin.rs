//! The admin API of a node: what `mcc status`, `mcc bgp …` and monitoring ask.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mcc_bgp::speaker::RouteQuery;
use mcc_cache::PurgeSelector;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{View, metrics, report};

/// Answers on `listener` until `stop`.
pub(super) async fn serve(listener: TcpListener, view: Arc<View>, stop: CancellationToken) {
    let served = axum::serve(listener, router(view))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
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
        .route("/v1/bgp", get(bgp))
        .route("/v1/bgp/routes", get(routes))
        .route("/v1/bgp/neighbors/{address}/reset", post(reset))
        .route("/v1/bgp/neighbors/{address}/refresh", post(refresh))
        .route("/v1/footprint", get(footprint))
        .route("/v1/cache", get(cache))
        .route("/v1/cache/purge", post(purge))
        .route("/v1/drain", post(drain))
        .route("/v1/undrain", post(undrain))
        .fallback(unknown)
        .with_state(view)
}

/// A refusal in the form of RFC 9457.
struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, detail: impl ToString) -> Self {
        Self { status, detail: detail.to_string() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            #[serde(rename = "type")]
            kind: &'static str,
            title: &'static str,
            status: u16,
            detail: String,
        }
        let body = Body {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}

async fn unknown(request: Request) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", request.uri().path()))
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
}

async fn readyz(State(view): State<Arc<View>>) -> impl IntoResponse {
    let reasons = report::not_ready(&view);
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, reasons }))
}

async fn metrics(State(view): State<Arc<View>>) -> Result<impl IntoResponse, Problem> {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = metrics::encode(view)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    Ok(([(header::CONTENT_TYPE, OPENMETRICS)], text))
}

async fn status(State(view): State<Arc<View>>) -> impl IntoResponse {
    Json(report::status(&view))
}

async fn bgp(State(view): State<Arc<View>>) -> impl IntoResponse {
    Json(report::bgp(&view))
}

async fn cache(State(view): State<Arc<View>>) -> impl IntoResponse {
    Json(view.cache.status())
}

async fn routes(
    State(view): State<Arc<View>>,
    query: Result<Query<RouteQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(query) = query.map_err(|e| Problem::new(StatusCode::BAD_REQUEST, e.body_text()))?;
    let page = view
        .speaker
        .routes(query)
        .await
        .map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error))?;
    Ok(Json(page))
}

async fn footprint(State(view): State<Arc<View>>) -> Result<impl IntoResponse, Problem> {
    let page = view
        .speaker
        .footprint()
        .await
        .map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error))?;
    Ok(Json(page))
}

async fn reset(
    State(view): State<Arc<View>>,
    Path(address): Path<IpAddr>,
) -> Result<StatusCode, Problem> {
    view.speaker.reset(address).await.map_err(|error| Problem::new(StatusCode::CONFLICT, error))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn refresh(
    State(view): State<Arc<View>>,
    Path(address): Path<IpAddr>,
) -> Result<StatusCode, Problem> {
    view.speaker
        .refresh(address)
        .await
        .map_err(|error| Problem::new(StatusCode::CONFLICT, error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/cache/purge`: exactly one of the three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Purge {
    Url(String),
    Origin(String),
    All(bool),
}

async fn purge(
    State(view): State<Arc<View>>,
    body: Result<Json<Purge>, axum::extract::rejection::JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let Json(purge) = body.map_err(|error| bad(error.body_text()))?;
    let selector = match purge {
        Purge::Url(url) => PurgeSelector::Url(url),
        Purge::Origin(host) => PurgeSelector::Origin(host),
        Purge::All(true) => PurgeSelector::All,
        Purge::All(false) => return Err(bad("`all` is true or absent".to_owned())),
    };
    let purged = view.cache.purge(selector).map_err(|error| bad(error.to_string()))?;
    tracing::info!(objects = purged.objects, bytes = purged.bytes, "purged");
    Ok(Json(purged))
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
