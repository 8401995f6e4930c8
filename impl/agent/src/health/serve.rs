// SPDX-License-Identifier: Apache-2.0
//! What is answered, as kube-proxy answers.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, Request, StatusCode, body::Incoming};
use loadbalancer::HealthCheck;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::rest::{Refused, Reply, or_pause, serve_connection};

/// Connections at once to one port; more wait to be accepted.
const CONNECTIONS_OF_PORT: usize = 32;
/// How long a client may take to send the head of a request, or to say nothing between two.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Largest head of a request, bytes.
const HEAD_BYTES: usize = 16 << 10;
/// How much of the load the node would take, for load balancers that weigh nodes.
const WEIGHT: &str = "x-load-balancing-endpoint-weight";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    service: Service<'a>,
    local_endpoints: u32,
}

#[derive(Serialize)]
struct Service<'a> {
    namespace: &'a str,
    name: &'a str,
}

/// Answers at a port. Ends, with all its connections, only with the task in which it runs.
pub(super) async fn serve(listener: TcpListener, check: watch::Receiver<HealthCheck>, all: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_OF_PORT {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        // It is never closed.
        let permit = all.clone().acquire_owned().await.ok();
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        let Some(stream) = or_pause(accepted).await else { continue };
        let check = check.clone();
        connections.spawn(async move {
            let answer = |request| std::future::ready(answer(&check.borrow(), &request));
            serve_connection(stream, HEAD_TIME, HEAD_BYTES, answer).await;
            drop(permit);
        });
    }
}

/// Whatever is asked for: load balancers are told no path.
fn answer(check: &HealthCheck, request: &Request<Incoming>) -> Result<Reply, Refused> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let allow = Some("GET, HEAD");
        return Err(Refused { allow, ..Refused::new(StatusCode::METHOD_NOT_ALLOWED, "only GET") });
    }
    let status = if check.local_endpoints > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let service = Service { namespace: &check.service.namespace, name: &check.service.name };
    let body = Body { service, local_endpoints: check.local_endpoints };
    Ok(Reply::created(status, &body)?.with(WEIGHT, check.local_endpoints.into()))
}
