// SPDX-License-Identifier: Apache-2.0
//! Why a request is not carried out, as HTTP says it.

use std::time::Duration;

use api::ErrorBody;
use controlplane::{Refusal, RefusalKind};
use hyper::StatusCode;
use loadbalancer::ApiError;
use tokio::sync::oneshot;

use crate::control::Gone;
use crate::realize::Busy;

/// A reply that is not a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// What is wrong, and with which field.
    pub body: ErrorBody,
    /// Methods that the path has, where the method was wrong.
    pub allow: Option<&'static str>,
}

impl Refused {
    /// About the request as a whole.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, body: ErrorBody::new(message), allow: None }
    }

    /// A field makes no sense: 400.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, body: ErrorBody::of_field(field, message), allow: None }
    }

    /// What was asked for is not there: 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// What is asked for is not there in this version: 501.
    pub fn not_supported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// The answer, unless it takes too long.
    pub async fn unless_answered<R>(
        limit: Duration,
        who: &str,
        receiver: oneshot::Receiver<R>,
    ) -> Result<R, Self> {
        match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            // The thread has ended, and with it all that it would have answered.
            Ok(Err(_)) => Err(Self::new(StatusCode::SERVICE_UNAVAILABLE, "the agent is ending")),
            Err(_) => {
                let message =
                    format!("{who} has not answered within {} s; it goes on trying", limit.as_secs());
                Err(Self::new(StatusCode::GATEWAY_TIMEOUT, message))
            }
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind() {
            RefusalKind::Invalid => StatusCode::BAD_REQUEST,
            RefusalKind::NotFound => StatusCode::NOT_FOUND,
            RefusalKind::Conflict => StatusCode::CONFLICT,
            RefusalKind::Exhausted => StatusCode::BAD_GATEWAY,
            RefusalKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            RefusalKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        let body = match &refusal {
            Refusal::Field { field, reason } | Refusal::Service(ApiError::Field { field, reason }) => {
                ErrorBody::of_field(*field, reason.clone())
            }
            Refusal::Duplicate { field, .. } => ErrorBody::of_field(*field, refusal.to_string()),
            other => ErrorBody::new(other.to_string()),
        };
        Self { status, body, allow: None }
    }
}

impl From<Gone> for Refused {
    fn from(gone: Gone) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, gone.to_string())
    }
}

impl From<Busy> for Refused {
    fn from(busy: Busy) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, busy.to_string())
    }
}
