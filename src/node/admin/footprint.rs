//! What the admin API says of the footprint.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use ipnet::IpNet;
use mcc_bgp::rib;
use serde::Deserialize;

use super::problem::Problem;
use super::{View, page};

pub(super) fn router() -> Router<Arc<View>> {
    Router::new()
        .route("/v1/footprint", get(footprint))
        .route("/v1/footprint/approve", post(approve))
        .route("/v1/footprint/damped", get(damped))
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
    let Query(FootprintQuery { after, limit, inconsistent }) = query?;
    let limit = page(limit)?;
    let query = rib::FootprintQuery { after, limit, inconsistent };
    Ok(Json(view.speaker.footprint(query).await?))
}

/// Answers whether anything was held.
async fn approve(State(view): State<Arc<View>>) -> Result<impl IntoResponse, Problem> {
    let held = view.speaker.approve().await?;
    Ok(Json(serde_json::json!({ "held": held })))
}

async fn damped(State(view): State<Arc<View>>) -> Result<impl IntoResponse, Problem> {
    let prefixes = view.speaker.damped().await?;
    Ok(Json(serde_json::json!({ "prefixes": prefixes })))
}
