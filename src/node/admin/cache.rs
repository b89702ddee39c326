//! `/v1/cache…`: what is stored, and what is done to it.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream;
use mcc_cache::store::{ListOrder, ListQuery, OnlineError, PinnedObject, VerifyError};
use mcc_cache::{PinError, Purge, PurgeError};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use super::problem::Problem;
use super::{View, page};
use crate::node::prefill::{self, PrefillOrder};
use crate::node::verify::{self, VerifyOrder};

/// Bytes of the longest list of URLs.
const LONGEST_ORDER: usize = 16 << 20;
/// Events that may wait for whoever asked for a job. When it is full the job waits.
const EVENTS: usize = 64;

/// Listings at once: each looks at every object. Further ones wait.
static LISTINGS: Semaphore = Semaphore::const_new(2);
/// Prefills at once. Further ones are refused.
static PREFILLS: Semaphore = Semaphore::const_new(4);
/// Whoever begins a verification is the only one who follows it and breaks it off.
static VERIFICATIONS: Semaphore = Semaphore::const_new(1);

pub(super) fn router() -> Router<Arc<View>> {
    Router::new()
        .route("/v1/cache", get(status))
        .route("/v1/cache/objects", get(objects))
        .route("/v1/cache/object", get(object))
        .route("/v1/cache/purge", post(purge))
        .route("/v1/cache/pins", get(pins))
        .route("/v1/cache/pin", post(pin))
        .route("/v1/cache/unpin", post(unpin))
        .route("/v1/cache/prefill", post(prefill).layer(DefaultBodyLimit::max(LONGEST_ORDER)))
        .route("/v1/cache/verify", post(verify))
        .route("/v1/cache/online", post(online))
}

async fn status(State(view): State<Arc<View>>) -> impl IntoResponse {
    Json(view.cache.status())
}

/// The query of `GET /v1/cache/objects`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// Only what begins so.
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    sort: ListOrder,
    /// Where an earlier page ended.
    after: Option<String>,
    limit: Option<usize>,
}

async fn objects(
    State(view): State<Arc<View>>,
    query: Result<Query<Listing>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(Listing { prefix, sort, after, limit }) = query?;
    let after = after.as_deref().map(str::parse).transpose();
    let query = ListQuery {
        prefix,
        order: sort,
        after: after.map_err(|error| Problem::bad_request(format!("{error}")))?,
        limit: page(limit)?,
    };
    let _turn = LISTINGS.acquire().await;
    Ok(Json(off_the_runtime(move || view.cache.list(&query)).await?))
}

async fn object(
    State(view): State<Arc<View>>,
    query: Result<Query<OfUrl>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(OfUrl { url }) = query?;
    // A long object has many blocks to look at.
    let asked = url.clone();
    let found = off_the_runtime(move || view.cache.object(&asked)).await??;
    found.map(Json).ok_or_else(|| not_stored(&url))
}

fn not_stored(url: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("`{url}` is not stored here"))
}

/// `POST /v1/cache/purge`: exactly one of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum PurgeBody {
    Url(String),
    Origin(String),
    Prefix(String),
    All(bool),
}

async fn purge(
    State(view): State<Arc<View>>,
    body: Result<Json<PurgeBody>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(body) = body?;
    let what = match body {
        PurgeBody::Url(url) => Purge::Url(url),
        PurgeBody::Origin(host) => Purge::Origin(host),
        PurgeBody::Prefix(prefix) => Purge::Prefix(prefix),
        PurgeBody::All(true) => Purge::All,
        PurgeBody::All(false) => return Err(Problem::bad_request("`all` is true or absent")),
    };
    let purged = view.cache.purge_for_good(&what).await?;
    let (objects, bytes, durable) = (purged.objects, purged.bytes, purged.durable);
    tracing::info!(objects, bytes, durable, "purged");
    Ok(Json(purged))
}

/// `GET /v1/cache/pins`
async fn pins(State(view): State<Arc<View>>) -> impl IntoResponse {
    #[derive(Serialize)]
    struct Answer {
        pins: Vec<PinnedObject>,
    }
    Json(Answer { pins: view.cache.pins() })
}

/// The body of `POST /v1/cache/pin` and `…/unpin`, and the query of `GET /v1/cache/object`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfUrl {
    url: String,
}

async fn pin(
    State(view): State<Arc<View>>,
    body: Result<Json<OfUrl>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(OfUrl { url }) = body?;
    // It is written down before it is acknowledged.
    let answer = off_the_runtime(move || -> Result<PinnedObject, PinError> {
        view.cache.pin(&url)?;
        let object = view.cache.object(&url)?.map(|detail| detail.summary);
        Ok(PinnedObject { url, object })
    });
    let answer = answer.await??;
    tracing::info!(url = answer.url, "pinned");
    Ok(Json(answer))
}

async fn unpin(
    State(view): State<Arc<View>>,
    body: Result<Json<OfUrl>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    #[derive(Serialize)]
    struct Answer {
        url: String,
        was_pinned: bool,
    }
    let Json(OfUrl { url }) = body?;
    let asked = url.clone();
    let was_pinned = off_the_runtime(move || view.cache.unpin(&asked)).await??;
    tracing::info!(url, was_pinned, "unpinned");
    Ok(Json(Answer { url, was_pinned }))
}

/// `POST /v1/cache/prefill`: answers with lines of JSON as long as it goes on. It ends when the connection does.
async fn prefill(
    State(view): State<Arc<View>>,
    order: Result<Json<PrefillOrder>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(order) = order?;
    order.check().map_err(Problem::bad_request)?;
    let turn = PREFILLS.try_acquire().map_err(|_| {
        let detail = "four prefills are running already: wait for one of them, or stop it";
        Problem::new(StatusCode::CONFLICT, detail)
    })?;
    let (events, taken) = mpsc::channel(EVENTS);
    tokio::spawn(async move {
        prefill::run(Arc::clone(&view.cache), order, events).await;
        drop(turn);
    });
    Ok(lines(taken))
}

/// `POST /v1/cache/verify`: answers with lines of JSON as long as it goes on. It ends when the connection does.
async fn verify(
    State(view): State<Arc<View>>,
    order: Result<Json<VerifyOrder>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(VerifyOrder { drive }) = order?;
    let turn = VERIFICATIONS.try_acquire().map_err(|_| {
        let detail = "a verification is running already: wait for its end, or stop it";
        Problem::new(StatusCode::CONFLICT, detail)
    })?;
    let verification = view.cache.verify(drive.as_deref())?;
    let (events, taken) = mpsc::channel(EVENTS);
    tokio::spawn(async move {
        verify::run(verification, events).await;
        drop(turn);
    });
    Ok(lines(taken))
}

/// The body of `POST /v1/cache/online`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfDrive {
    drive: PathBuf,
}

/// Answers when the drive has begun to open.
async fn online(
    State(view): State<Arc<View>>,
    body: Result<Json<OfDrive>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(OfDrive { drive }) = body?;
    let path = drive.clone();
    off_the_runtime(move || view.cache.online(&path)).await??;
    tracing::info!(drive = %drive.display(), "an operator takes the drive back");
    Ok(Json(serde_json::json!({ "drive": drive, "opening": true })))
}

/// Events as lines of JSON, each sent as soon as it is there.
fn lines<T: Serialize + Send + 'static>(events: mpsc::Receiver<T>) -> impl IntoResponse {
    let lines = stream::unfold(events, |mut events| async {
        let event = events.recv().await?;
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(line)), events))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines))
}

/// Does what takes long, or waits for a drive, on a thread of its own.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a question of the admin API");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect of this program: see its log")
    })
}

impl From<PinError> for Problem {
    fn from(error: PinError) -> Self {
        match error {
            PinError::Name(error) => error.into(),
            PinError::TooMany(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
        }
    }
}

impl From<OnlineError> for Problem {
    fn from(error: OnlineError) -> Self {
        match error {
            OnlineError::Unknown { .. } => Self::bad_request(error.to_string()),
            OnlineError::Up | OnlineError::Opening | OnlineError::Held => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
        }
    }
}

impl From<VerifyError> for Problem {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Unknown { .. } => Self::bad_request(error.to_string()),
            VerifyError::Down => Self::new(StatusCode::CONFLICT, error.to_string()),
        }
    }
}

impl From<PurgeError> for Problem {
    fn from(error: PurgeError) -> Self {
        Self::bad_request(error.to_string())
    }
}
