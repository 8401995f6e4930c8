// SPDX-License-Identifier: Apache-2.0
//! A blocking client over the agent's unix socket.

mod error;
mod requests;
mod transport;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{ErrorBody, paths};
pub use error::ClientError;
use transport::{ConnectFailed, NoResolver, UnixConnector};

/// The largest reply that is read: a full map of a million entries as text is less.
const MAX_REPLY: u64 = 256 << 20;
/// How long a request may take, as in 1.4.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Talks to the agent. Each request is one connection.
pub struct Client {
    path: PathBuf,
    timeout: Duration,
    agent: ureq::Agent,
    observer: Option<Box<Observer>>,
}

/// What is called after each request.
type Observer = dyn Fn(&Exchange<'_>) + Send + Sync;

/// One request that has ended, for whoever wants to see what is said.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The method.
    pub method: &'static str,
    /// The path with its query.
    pub target: &'a str,
    /// The HTTP status; none if there was no reply.
    pub status: Option<u16>,
    /// How long it took.
    pub took: Duration,
}

impl Client {
    /// Of the agent on this socket.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_timeout(path, TIMEOUT)
    }

    /// As [`Self::new`], with another limit on how long each request may take.
    pub fn with_timeout(path: impl Into<PathBuf>, timeout: Duration) -> Self {
        let path = path.into();
        let config = ureq::config::Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .proxy(None)
            .timeout_global(Some(timeout))
            .user_agent("ciliate")
            .build();
        let agent = ureq::Agent::with_parts(config, UnixConnector(path.clone()), NoResolver);
        Self { path, timeout, agent, observer: None }
    }

    /// Of the agent that `-H`, otherwise `CILIUM_SOCK`, otherwise the default names: a path or `unix://PATH`.
    ///
    /// # Errors
    /// [`ClientError::Host`] when it is neither.
    pub fn of_host(host: Option<&str>) -> Result<Self, ClientError> {
        let variable = std::env::var(paths::SOCKET_VARIABLE).ok().filter(|value| !value.is_empty());
        let host = host.or(variable.as_deref()).unwrap_or(paths::SOCKET);
        let path = host.strip_prefix("unix://").unwrap_or(host);
        if path.is_empty() || path.contains("://") {
            return Err(ClientError::Host { host: host.to_owned() });
        }
        Ok(Self::new(path))
    }

    /// Calls `observer` after each request.
    pub fn observed(mut self, observer: impl Fn(&Exchange<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// The agent's socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends a request and reads the JSON of a successful reply; an empty one is `null`.
    fn request<B, R>(&self, method: &'static str, target: &str, body: Option<&B>) -> Result<R, ClientError>
    where
        B: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.request_with_head(method, target, body).map(|(value, _)| value)
    }

    /// As [`Self::request`], with what the reply says before its body.
    fn request_with_head<B, R>(
        &self,
        method: &'static str,
        target: &str,
        body: Option<&B>,
    ) -> Result<(R, Head), ClientError>
    where
        B: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let request = Request { client: self, method, target };
        let body = body.map(serde_json::to_vec).transpose().map_err(|source| request.undecodable(source))?;
        let began = Instant::now();
        let sent = request.send(body.as_deref().unwrap_or_default());
        if let Some(observer) = &self.observer {
            let status = sent.as_ref().ok().map(|reply| reply.head.status);
            observer(&Exchange { method, target, status, took: began.elapsed() });
        }
        let reply = sent?;
        if !(200..300).contains(&reply.head.status) {
            return Err(request.refused(reply.head.status, &reply.text));
        }
        let empty = reply.text.trim_ascii().is_empty();
        let text = if empty { b"null".as_slice() } else { &reply.text };
        let value = serde_json::from_slice(text).map_err(|source| request.undecodable(source))?;
        Ok((value, reply.head))
    }
}

/// What a reply says before its body.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// The HTTP status.
    status: u16,
    /// How many entries it left out.
    left_out: u64,
}

/// What came back.
struct Reply {
    head: Head,
    text: Vec<u8>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("path", &self.path)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// One request, for what its errors have to say.
struct Request<'a> {
    client: &'a Client,
    method: &'static str,
    target: &'a str,
}

impl Request<'_> {
    fn send(&self, body: &[u8]) -> Result<Reply, ClientError> {
        // The host is not looked at, but HTTP/1.1 wants one.
        let mut request = ureq::http::Request::builder()
            .method(self.method)
            .uri(format!("http://localhost{}", self.target))
            .header("accept", "application/json")
            .header("connection", "close");
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(body).map_err(|error| self.broken(error.to_string()))?;
        // 1.4 gives `GET` and `DELETE` bodies.
        let request = self.client.agent.configure_request(request).allow_non_standard_methods(true).build();
        let mut reply = self.client.agent.run(request).map_err(|error| self.failed(error))?;
        let status = reply.status().as_u16();
        let left_out = reply.headers().get(paths::ENTRIES_LEFT_OUT);
        let left_out = left_out.and_then(|number| number.to_str().ok()?.parse().ok()).unwrap_or(0);
        let text = reply.body_mut().with_config().limit(MAX_REPLY).read_to_vec();
        Ok(Reply { head: Head { status, left_out }, text: text.map_err(|error| self.failed(error))? })
    }

    fn failed(&self, error: ureq::Error) -> ClientError {
        match error {
            ureq::Error::Timeout(_) => ClientError::Timeout {
                method: self.method.to_owned(),
                target: self.target.to_owned(),
                path: self.client.path.clone(),
                after: self.client.timeout,
            },
            ureq::Error::BodyExceedsLimit(limit) => {
                self.broken(format!("the reply is larger than {} MiB", limit >> 20))
            }
            ureq::Error::Other(other) => match other.downcast::<ConnectFailed>() {
                Ok(failed) => ClientError::Connect { path: self.client.path.clone(), source: failed.0 },
                Err(other) => self.broken(other.to_string()),
            },
            other => self.broken(other.to_string()),
        }
    }

    fn refused(&self, status: u16, text: &[u8]) -> ClientError {
        let body = serde_json::from_slice::<ErrorBody>(text)
            .or_else(|_| serde_json::from_slice::<String>(text).map(ErrorBody::new))
            .unwrap_or_else(|_| ErrorBody::new(String::from_utf8_lossy(text).trim()));
        ClientError::Refused { method: self.method.to_owned(), target: self.target.to_owned(), status, body }
    }

    fn broken(&self, reason: String) -> ClientError {
        ClientError::Protocol {
            method: self.method.to_owned(),
            target: self.target.to_owned(),
            path: self.client.path.clone(),
            reason,
        }
    }

    fn undecodable(&self, source: serde_json::Error) -> ClientError {
        ClientError::Decode { method: self.method.to_owned(), target: self.target.to_owned(), source }
    }
}
