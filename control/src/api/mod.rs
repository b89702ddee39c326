//! The HTTP interface of the control plane: which path leads to which handler, and what holds for
//! all of them. [`types`] has the bodies, [`problem`] the errors, [`auth`] who may do what.

mod auth;
mod extract;
mod health;
mod node_side;
mod nodes;
pub mod problem;
mod steer;
pub mod types;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use ipnet::IpNet;

use crate::fleet::{Fleet, FleetError, Wish};
use crate::metrics::{Metrics, RequestLabels};
use crate::store::{RedeemError, Store};
use problem::Problem;

/// Longest body of a request, in bytes, where nothing else is said.
const BODY_LIMIT: usize = 1 << 20;
/// Longest body of an advertisement, in bytes as sent: a full table takes about 5 MB.
const ADVERTISEMENT_LIMIT: usize = 64 << 20;
/// A request that takes longer, slow senders included, is answered 503.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What handlers work with.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) fleet: Fleet,
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    /// Networks whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Arc<[IpNet]>,
    /// IPv6 addresses are understood.
    pub(crate) ipv6: bool,
    /// Clients speak TLS to this server.
    pub(crate) tls: bool,
}

/// A JSON reply or a problem.
type Reply<T> = Result<axum::Json<T>, Problem>;

/// Every path. Who may use it is told by the arguments of its handler.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/steer", get(steer::one).post(steer::many))
        .route("/geo", get(steer::geo))
        .route("/v1/nodes", get(nodes::list).post(nodes::create))
        .route("/v1/nodes/{name}", get(nodes::get).patch(nodes::change).delete(nodes::delete))
        .route("/v1/nodes/{name}/enrolment", post(nodes::enrolment))
        .route("/v1/nodes/{name}/drain", wish(Wish::Drain))
        .route("/v1/nodes/{name}/undrain", wish(Wish::Undrain))
        .route("/v1/nodes/{name}/enable", wish(Wish::Enable))
        .route("/v1/nodes/{name}/disable", wish(Wish::Disable))
        .route("/v1/node/register", post(node_side::register))
        .route("/v1/node/heartbeat", post(node_side::heartbeat))
        .route("/v1/node/config", get(node_side::config))
        .route(
            "/v1/node/routes",
            put(node_side::snapshot)
                .post(node_side::delta)
                .layer(DefaultBodyLimit::max(ADVERTISEMENT_LIMIT)),
        )
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(as_problem))
        .layer(middleware::from_fn_with_state(api.clone(), count_and_limit))
        .with_state(api)
}

fn wish(wish: Wish) -> axum::routing::MethodRouter<Api> {
    post(move |changes, api, name| nodes::wish(wish, changes, api, name))
}

async fn unknown_path(request: Request) -> Problem {
    Problem::not_found(format!("there is no `{}` here", request.uri().path()))
}

async fn wrong_method(request: Request) -> Problem {
    let detail = format!("`{}` does not take {}", request.uri().path(), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

async fn count_and_limit(State(api): State<Api>, request: Request, next: Next) -> Response {
    // Only patterns that exist become labels: what a stranger asks for must not grow the metrics.
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let (route, method) = (route.to_owned(), known(request.method()));
    let response = match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::busy("the request took too long", 5).into_response(),
    };
    let labels = RequestLabels { route, method, status: response.status().as_u16() };
    api.metrics.requests.get_or_create(&labels).inc();
    response
}

/// Turns errors that axum answers in plain words, such as a body that is too long, into problems.
async fn as_problem(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let media_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !is_error || media_type == Some(problem::MEDIA_TYPE.as_bytes()) {
        return response;
    }
    let words = axum::body::to_bytes(response.into_body(), BODY_LIMIT).await.unwrap_or_default();
    Problem::new(status, String::from_utf8_lossy(&words)).into_response()
}

/// Methods that HTTP itself knows (RFC 9110 §9); a client may invent others without end.
fn known(method: &Method) -> &'static str {
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE]
        .iter()
        .zip(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
        .find_map(|(known, name)| (known == method).then_some(name))
        .unwrap_or("other")
}

impl From<FleetError> for Problem {
    fn from(error: FleetError) -> Self {
        let detail = error.to_string();
        match error {
            FleetError::NoSuchNode(_) => Self::not_found(detail),
            FleetError::NodeGone => auth::node_gone(),
            FleetError::Settings(_) => Self::bad_request(detail),
            FleetError::InUse { .. } => Self::conflict(detail),
            FleetError::Outdated { .. } => Self::new(StatusCode::PRECONDITION_FAILED, detail),
            FleetError::Redeem(RedeemError::Store(error)) | FleetError::Store(error) => {
                error.into()
            }
            FleetError::Redeem(_) => Self::new(StatusCode::UNAUTHORIZED, detail),
            FleetError::Busy => Self::busy(detail, 1),
            FleetError::Stopped => Self::busy(detail, 5),
        }
    }
}
