//! Who is calling, and whether that one may: bearer tokens (RFC 6750) against roles.
//!
//! A handler names what it asks for by the extractor among its arguments: [`Sees`], [`Changes`] or
//! [`CallingNode`]. A handler without one is open to everyone.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use jiff::Timestamp;

use super::Api;
use super::problem::Problem;
use crate::steering::NodeId;
use crate::store::TokenHolder;
use crate::tokens::{Hash, Role};

/// Someone who may look: a viewer, an operator or an owner.
pub(crate) struct Sees;

/// Someone who may change nodes: an operator or an owner. Holds the name for the audit log.
pub(crate) struct Changes(pub(crate) String);

/// A node with its own token.
pub(crate) struct CallingNode(pub(crate) NodeId);

impl FromRequestParts<Api> for Sees {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        operator(parts, api, Role::Viewer).await.map(|_| Self)
    }
}

impl FromRequestParts<Api> for Changes {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        operator(parts, api, Role::Operator).await.map(Self)
    }
}

impl FromRequestParts<Api> for CallingNode {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        match holder(parts, api).await?.0 {
            TokenHolder::Node(node) => Ok(Self(node)),
            TokenHolder::DeletedNode => Err(node_gone()),
            TokenHolder::Operator(role) => Err(Problem::new(
                StatusCode::FORBIDDEN,
                format!(
                    "this is for nodes: a token of role {role} does not do, `mcc enrol` writes one"
                ),
            )),
        }
    }
}

/// The node was deleted: its program stops calling.
pub(crate) fn node_gone() -> Problem {
    Problem::new(StatusCode::GONE, "this node was deleted: create and enrol it again to use it")
}

/// The audit log's name of a caller who has at least `needed`.
async fn operator(parts: &Parts, api: &Api, needed: Role) -> Result<String, Problem> {
    let (holder, subject) = holder(parts, api).await?;
    let has = match holder {
        TokenHolder::Operator(role) if role >= needed => return Ok(subject),
        TokenHolder::Operator(role) => role.as_str(),
        TokenHolder::Node(_) | TokenHolder::DeletedNode => "node",
    };
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        format!("a token of role {has} may not do this: it takes {needed} or more"),
    ))
}

async fn holder(parts: &Parts, api: &Api) -> Result<(TokenHolder, String), Problem> {
    let refused = |detail: &str| Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
    let Some(header) = parts.headers.get(AUTHORIZATION) else {
        return refused("no token: send `Authorization: Bearer mcc_…`");
    };
    let bearer = header.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let Some(bearer) = bearer else {
        return refused("the Authorization header holds no bearer token: send `Bearer mcc_…`");
    };
    let now = Timestamp::now();
    let Some(token) = api.store.token(&Hash::of(bearer), now).await? else {
        return refused("this token is not known here, or was replaced: create or enrol again");
    };
    match token.expires_at {
        Some(at) if at <= now => refused(&format!("this token expired at {at:.0}")),
        _ => Ok((token.holder, token.subject)),
    }
}
