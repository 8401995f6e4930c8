// SPDX-License-Identifier: Apache-2.0
//! Bodies of requests, read within limits; replies.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Refused;

/// Largest body, bytes: `policy import` of a whole cluster's rules.
pub const BODY_LIMIT: usize = 16 << 20;
/// How long a client may take to send it.
const BODY_TIME: Duration = Duration::from_secs(30);

/// A successful reply.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    kind: &'static str,
    body: Vec<u8>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Reply {
    /// 200 with JSON.
    pub fn json<T: Serialize>(content: &T) -> Result<Self, Refused> {
        Self::created(StatusCode::OK, content)
    }

    /// Another status with JSON.
    pub fn created<T: Serialize>(status: StatusCode, content: &T) -> Result<Self, Refused> {
        let body = serde_json::to_vec(content)
            .map_err(|e| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the reply: {e}")))?;
        Ok(Self { status, kind: "application/json", body, header: None })
    }

    /// 200 without a body.
    pub fn done() -> Self {
        Self::empty(StatusCode::OK)
    }

    /// Another success without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, kind: "application/json", body: Vec::new(), header: None }
    }

    /// 200 with text.
    pub fn text(kind: &'static str, body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, kind, body, header: None }
    }

    /// With a header of ours.
    pub fn with(mut self, name: &'static str, value: u64) -> Self {
        self.header = Some((HeaderName::from_static(name), HeaderValue::from(value)));
        self
    }
}

/// The reply as HTTP.
pub fn response(reply: Result<Reply, Refused>) -> Response<Full<Bytes>> {
    let (reply, allow) = match reply {
        Ok(reply) => (reply, None),
        Err(refused) => {
            // A struct of two strings always has a JSON form.
            let body = serde_json::to_vec(&refused.body).unwrap_or_default();
            (Reply { status: refused.status, kind: "application/json", body, header: None }, refused.allow)
        }
    };
    let mut response = Response::new(Full::new(reply.body.into()));
    *response.status_mut() = reply.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.kind));
    if let Some((name, value)) = reply.header {
        response.headers_mut().insert(name, value);
    }
    if let Some(allow) = allow {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}

/// The whole body.
pub async fn read(body: Incoming) -> Result<Bytes, Refused> {
    let too_large =
        || Refused::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {BODY_LIMIT} bytes"));
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_LIMIT).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Refused::new(StatusCode::BAD_REQUEST, format!("the body: {error}"))),
        Err(_) => {
            let message = format!("the body has not come within {} s", BODY_TIME.as_secs());
            Err(Refused::new(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

/// A body as a model; the error names the field.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    if body.trim_ascii().is_empty() {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "the request needs a JSON body and has none"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let message = error.inner().to_string();
        if path == "." {
            Refused::new(StatusCode::BAD_REQUEST, message)
        } else {
            Refused::field(path, message)
        }
    })?;
    json.end().map_err(|error| Refused::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok(value)
}

/// A body that may be left out.
pub fn parse_optional<T: DeserializeOwned>(body: &[u8]) -> Result<Option<T>, Refused> {
    if body.trim_ascii().is_empty() { Ok(None) } else { parse(body) }
}
