//! The JSON body of a request, with every way in which it can be wrong told as a [`Problem`].

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A JSON body. Unlike axum's own it answers a value of the wrong kind with 400: for the caller it
/// makes no difference whether the text is no JSON or the wrong JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(JsonRejection::JsonDataError(error)) => {
                Err(Problem::new(StatusCode::BAD_REQUEST, said(&error.body_text())))
            }
            Err(JsonRejection::MissingJsonContentType(error)) => {
                let detail =
                    format!("{}: send `Content-Type: application/json`", error.body_text());
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
            }
            Err(error) => Err(Problem::new(error.status(), said(&error.body_text()))),
        }
    }
}

/// What serde said, without the words that axum puts before it.
fn said(text: &str) -> String {
    let prefixes = [
        "Failed to deserialize the JSON body into the target type: ",
        "Failed to parse the request body as JSON: ",
    ];
    let detail = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    format!("body: {detail}")
}
