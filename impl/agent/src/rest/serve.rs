// SPDX-License-Identifier: Apache-2.0
//! Connections: accepted within a limit, each served by a task of its own.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode, body::Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::message::response;
use super::{Api, Refused, Reply, route};
use crate::realize::Target;

/// Connections at once, over each socket; more wait to be accepted.
pub const CONNECTIONS: usize = 256;
/// How long a client may take to send the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Largest head of a request, bytes.
const HEAD_BYTES: usize = 400 << 10;
/// How long to wait after the kernel refused a connection, for want of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the REST API. Ends only with the task in which it runs.
pub async fn serve_unix<T: Target>(listener: UnixListener, api: Arc<Api<T>>) {
    let limit = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = permit(&limit).await;
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        if let Some(stream) = or_pause(accepted).await {
            let api = api.clone();
            tokio::spawn(connection(stream, permit, move |request| route::handle(api.clone(), request)));
        }
    }
}

/// Serves the metrics to Prometheus. Ends only with the task in which it runs.
pub async fn serve_metrics<T: Target>(listener: TcpListener, api: Arc<Api<T>>) {
    let limit = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = permit(&limit).await;
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        if let Some(stream) = or_pause(accepted).await {
            let api = api.clone();
            tokio::spawn(connection(stream, permit, move |request| scrape(api.clone(), request)));
        }
    }
}

async fn scrape<T: Target>(api: Arc<Api<T>>, request: Request<Incoming>) -> Result<Reply, Refused> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => api.prometheus().await,
        (_, "/metrics") => Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "only GET")),
        _ => Err(Refused::not_found("the metrics are at /metrics")),
    }
}

async fn permit(limit: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    // It is never closed.
    limit.clone().acquire_owned().await.ok()
}

/// The connection; or, after a moment, none.
pub async fn or_pause<S>(accepted: io::Result<S>) -> Option<S> {
    match accepted {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::warn!(%error, "a connection was not accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection<S, H, F>(stream: S, permit: Option<OwnedSemaphorePermit>, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Reply, Refused>>,
{
    serve_connection(stream, HEAD_TIME, HEAD_BYTES, handle).await;
    drop(permit);
}

/// Serves one connection until its client ends it, takes longer than `head_time` for the head of a request, or sends one that is
/// larger than `head_bytes`.
pub async fn serve_connection<S, H, F>(stream: S, head_time: Duration, head_bytes: usize, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Reply, Refused>>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let answer = handle(request);
        async move {
            let reply = answer.await;
            match &reply {
                Err(refused) => {
                    tracing::info!(request = asked, status = refused.status.as_u16(), reason = %refused.body, "refused");
                }
                Ok(_) => tracing::debug!(request = asked, "done"),
            }
            Ok::<_, Infallible>(response(reply))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_buf_size(head_bytes)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        // A client that hung up, as a rule.
        tracing::debug!(%error, "connection");
    }
}
