//! The admin API of a node: what `mcc status`, `mcc bgp …` and monitoring ask.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ipnet::IpNet;
use mcc_bgp::rib::{RouteFilter, RouteQuery};
use mcc_bgp::speaker::CommandError;
use mcc_cache::Purge;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{View, metrics, report};

/// The most routes or prefixes of one answer; `next` says where to go on.
const PAGE: usize = 8_192;

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
        .method_not_allowed_fallback(wrong_method)
        .with_state(view)
}

/// A refusal in the form of RFC 9457.
struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
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

async fn wrong_method(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{path} does not take {method}"))
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
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
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

/// The query of `GET /v1/bgp/routes`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Routes {
    ip: Option<IpAddr>,
    prefix: Option<IpNet>,
    #[serde(default)]
    longer: bool,
    neighbor: Option<IpAddr>,
    #[serde(default)]
    rejected: bool,
    limit: Option<usize>,
    after: Option<String>,
}

impl Routes {
    /// What the RIB is asked. Without `ipv6` it can have no IPv6 route, and "none" would be a
    /// misleading answer.
    fn query(self, ipv6: bool) -> Result<RouteQuery, Problem> {
        let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
        let prefix = self.prefix.map(|prefix| prefix.addr());
        let mut addresses = [self.ip, prefix, self.neighbor].into_iter().flatten();
        if let Some(address) = addresses.find(|address| address.is_ipv6() && !ipv6) {
            return Err(bad(format!(
                "`{address}` is IPv6, which is off: `[node] ipv6 = true` switches it on"
            )));
        }
        let filter = match (self.ip, self.prefix, self.longer) {
            (None, None, false) => RouteFilter::All,
            (Some(ip), None, false) => RouteFilter::LongestMatch(ip),
            (None, Some(prefix), false) => RouteFilter::Exact(prefix.trunc()),
            (None, Some(prefix), true) => RouteFilter::Longer(prefix.trunc()),
            (Some(_), Some(_), _) => return Err(bad("`ip` or `prefix`, not both".to_owned())),
            (_, None, true) => return Err(bad("`longer` goes with `prefix`".to_owned())),
        };
        let after = self.after.map(|after| after.parse()).transpose();
        Ok(RouteQuery {
            filter,
            neighbor: self.neighbor,
            rejected: self.rejected,
            limit: self.limit.unwrap_or(PAGE).clamp(1, PAGE),
            after: after.map_err(|error| bad(ToString::to_string(&error)))?,
        })
    }
}

async fn routes(
    State(view): State<Arc<View>>,
    query: Result<Query<Routes>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(query) = query.map_err(|rejection| bad_query(&rejection))?;
    let page = view
        .speaker
        .routes(query.query(view.config.node.ipv6)?)
        .await
        .map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(Json(page))
}

/// The query of `GET /v1/footprint`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FootprintQuery {
    after: Option<IpNet>,
    limit: Option<usize>,
    #[serde(default)]
    inconsistent: bool,
}

async fn footprint(
    State(view): State<Arc<View>>,
    query: Result<Query<FootprintQuery>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(query) = query.map_err(|rejection| bad_query(&rejection))?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let page = view
        .speaker
        .footprint(mcc_bgp::rib::FootprintQuery {
            after: query.after,
            limit,
            inconsistent: query.inconsistent,
        })
        .await
        .map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(Json(page))
}

fn bad_query(rejection: &QueryRejection) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, rejection.body_text())
}

/// The `{address}` of a path.
type Address = Result<Path<IpAddr>, PathRejection>;

async fn reset(State(view): State<Arc<View>>, address: Address) -> Result<StatusCode, Problem> {
    view.speaker.reset(neighbor(address)?).await.map_err(|error| not_commanded(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn refresh(State(view): State<Arc<View>>, address: Address) -> Result<StatusCode, Problem> {
    view.speaker.refresh(neighbor(address)?).await.map_err(|error| not_commanded(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

fn neighbor(address: Address) -> Result<IpAddr, Problem> {
    let Path(address) =
        address.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    Ok(address)
}

fn not_commanded(error: &CommandError) -> Problem {
    let status = match error {
        CommandError::UnknownNeighbor { .. } => StatusCode::NOT_FOUND,
        CommandError::NotEstablished { .. } | CommandError::NoRouteRefresh { .. } => {
            StatusCode::CONFLICT
        }
        CommandError::Stopped(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, error.to_string())
}

/// `POST /v1/cache/purge`: exactly one of the three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum PurgeBody {
    Url(String),
    Origin(String),
    All(bool),
}

async fn purge(
    State(view): State<Arc<View>>,
    body: Result<Json<PurgeBody>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let Json(body) = body.map_err(|error| bad(error.body_text()))?;
    let what = match body {
        PurgeBody::Url(url) => Purge::Url(url),
        PurgeBody::Origin(host) => Purge::Origin(host),
        PurgeBody::All(true) => Purge::All,
        PurgeBody::All(false) => return Err(bad("`all` is true or absent".to_owned())),
    };
    let purged = view.cache.purge(&what).map_err(|error| bad(error.to_string()))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_refused_where_it_is_off() {
        let ask = |query: &str, ipv6: bool| {
            let uri = format!("http://node/v1/bgp/routes?{query}").parse().unwrap();
            let Query(routes) = Query::<Routes>::try_from_uri(&uri).unwrap();
            routes.query(ipv6).map_err(|problem| (problem.status, problem.detail))
        };
        for query in ["ip=2001:db8::1", "prefix=2001:db8::/32", "neighbor=2001:db8::1"] {
            let (status, detail) = ask(query, false).unwrap_err();
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(detail.contains("`[node] ipv6 = true`"), "{detail}");
            assert!(ask(query, true).is_ok());
        }
        assert!(ask("ip=192.0.2.7&neighbor=192.0.2.1", false).is_ok());
    }

    #[test]
    fn a_neighbor_that_is_not_there_is_no_conflict() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let unknown = CommandError::UnknownNeighbor { address, known: "none".to_owned() };
        assert_eq!(not_commanded(&unknown).status, StatusCode::NOT_FOUND);
        let down = CommandError::NotEstablished { address };
        assert_eq!(not_commanded(&down).status, StatusCode::CONFLICT);
    }
}
