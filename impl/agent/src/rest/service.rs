// SPDX-License-Identifier: Apache-2.0
//! `/service`.

use addr::{Port, Protocol};
use api::{BackendAddress, FrontendAddress, Service, ServiceFlags, ServiceSpec, ServiceStatus};
use controlplane::{Answer, ControlPlane, Event, Refusal, ServiceView};
use hyper::StatusCode;
use loadbalancer::{ApiError, ApiService, BackendState, FRONTEND_ID_MAX, FrontendKind, Scope};

use super::message::parse;
use super::{Api, Refused, Reply};
use crate::realize::Target;

/// 1.4's status for a frontend that cannot be.
const INVALID_FRONTEND: u16 = 460;
/// 1.4's status for a backend that cannot be.
const INVALID_BACKEND: u16 = 461;
/// The scope of frontends that a user makes.
const EXTERNAL: &str = "external";
const ACTIVE: &str = "active";

impl<T: Target> Api<T> {
    /// `GET /service`.
    pub(super) async fn services(&self) -> Result<Reply, Refused> {
        Reply::json(&self.plane(services).await?)
    }

    /// `GET /service/{id}`.
    pub(super) async fn service(&self, id: &str) -> Result<Reply, Refused> {
        let id = number(id)?;
        let found = self.plane(move |plane| plane.service(id)).await?;
        Reply::json(&model(found.ok_or_else(|| Refused::not_found(format!("there is no service {id}")))?))
    }

    /// `PUT /service/{id}`: 201 if it is new, 200 if it was there; answered when the datapath has it.
    pub(super) async fn put_service(&self, id: &str, body: &[u8]) -> Result<Reply, Refused> {
        let service = checked(number(id)?, parse(body)?)?;
        match self.ask_for(move |ticket| Event::ServicePut { ticket, service }).await? {
            Ok(Answer::ServicePut { created: true }) => Ok(Reply::empty(StatusCode::CREATED)),
            Ok(_) => Ok(Reply::done()),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    /// `DELETE /service/{id}`: one that was made with `PUT`.
    pub(super) async fn delete_service(&self, id: &str) -> Result<Reply, Refused> {
        let id = number(id)?;
        self.request(move |ticket| Event::ServiceDelete { ticket, id }).await?;
        Ok(Reply::done())
    }
}

fn number(text: &str) -> Result<u16, Refused> {
    let id = text.parse().ok().filter(|id| (1..=FRONTEND_ID_MAX).contains(id));
    id.ok_or_else(|| Refused::field("id", format!("{text:?} is not a number from 1 to {FRONTEND_ID_MAX}")))
}

fn of_kind(status: u16, field: impl Into<String>, message: impl Into<String>) -> Refused {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    Refused { status, ..Refused::field(field, message) }
}

/// As 1.4 tells frontends and backends that cannot be from other mistakes.
fn refused(refusal: Refusal) -> Refused {
    let status = match &refusal {
        Refusal::Service(ApiError::Field { field, .. }) if field.starts_with("backend") => INVALID_BACKEND,
        Refusal::Service(ApiError::Field { field, .. }) if field.starts_with("frontend") => INVALID_FRONTEND,
        Refusal::Service(ApiError::Taken { .. }) => INVALID_FRONTEND,
        // 1.4 has one status for all that it could not do.
        Refusal::Service(ApiError::Full(_)) => 500,
        _ => return refusal.into(),
    };
    let refused = Refused::from(refusal);
    Refused { status: StatusCode::from_u16(status).unwrap_or(refused.status), ..refused }
}

/// The service that a body describes.
fn checked(id: u16, spec: ServiceSpec) -> Result<ApiService, Refused> {
    let ServiceSpec { id: in_body, frontend_address, backend_addresses, flags } = spec;
    if in_body != 0 && in_body != u64::from(id) {
        return Err(Refused::field("id", format!("the path says {id}, the body {in_body}")));
    }
    let kind = flags.unwrap_or_default().kind;
    if !kind.is_empty() && kind != FrontendKind::Api.as_str() {
        let message =
            format!("{kind:?} cannot be made here: leave it out; objects of Kubernetes make other types");
        return Err(Refused::field("flags.type", message));
    }
    let wrong = |field: &str, message: String| {
        of_kind(INVALID_FRONTEND, format!("frontend-address.{field}"), message)
    };
    let required = || of_kind(INVALID_FRONTEND, "frontend-address", "is required");
    let FrontendAddress { ip, port, protocol, scope } = frontend_address.ok_or_else(required)?;
    if !scope.is_empty() && scope != EXTERNAL {
        return Err(wrong("scope", format!("{scope:?} cannot be made here: leave it out")));
    }
    Ok(ApiService {
        id,
        address: ip.parse().map_err(|_| wrong("ip", format!("{ip:?} is no IP address")))?,
        port: Port::new(port).ok_or_else(|| wrong("port", "must be from 1 to 65535".into()))?,
        protocol: transport(&protocol)
            .ok_or_else(|| wrong("protocol", format!("{protocol:?} is none of TCP, UDP, SCTP")))?,
        backends: backends(&backend_addresses)?,
    })
}

/// By its name; 1.4's clients may leave it out, or say that they say nothing.
fn transport(name: &str) -> Option<Protocol> {
    match name {
        "" => Some(Protocol::Tcp),
        none if none.eq_ignore_ascii_case("NONE") => Some(Protocol::Tcp),
        name => name.parse().ok().filter(|protocol: &Protocol| protocol.has_ports()),
    }
}

fn backends(addresses: &[BackendAddress]) -> Result<Vec<(std::net::IpAddr, Port)>, Refused> {
    let first = addresses.first().map_or(0, |address| address.weight);
    let check = |(at, address): (usize, &BackendAddress)| {
        let wrong = |field: &str, message: String| {
            of_kind(INVALID_BACKEND, format!("backend-addresses[{at}].{field}"), message)
        };
        if address.weight != first {
            let message = "all backends get the same: give all the same weight, or none".into();
            return Err(wrong("weight", message));
        }
        if !address.state.is_empty() && address.state != ACTIVE {
            return Err(wrong("state", format!("{:?} is told, not set: leave it out", address.state)));
        }
        let ip = address.ip.parse().map_err(|_| wrong("ip", format!("{:?} is no IP address", address.ip)))?;
        let port = Port::new(address.port).ok_or_else(|| wrong("port", "must be from 1 to 65535".into()))?;
        Ok((ip, port))
    };
    addresses.iter().enumerate().map(check).collect()
}

/// All services as the API shows them.
pub(super) fn services(plane: &ControlPlane) -> Vec<Service> {
    plane.services().into_iter().map(model).collect()
}

/// A service as the API shows it. What the datapath does not have as desired is told without backends and with the reason.
fn model(view: ServiceView) -> Service {
    let frontend = view.frontend;
    let backend = |(id, row): (u32, loadbalancer::BackendRow)| BackendAddress {
        ip: row.address.address.to_string(),
        port: row.address.port.get(),
        weight: 0,
        id: Some(id),
        state: match row.state {
            BackendState::Active => ACTIVE.into(),
            BackendState::Terminating => "terminating".into(),
            BackendState::NotReady => "not-ready".into(),
        },
    };
    let spec = ServiceSpec {
        id: view.id.into(),
        frontend_address: Some(FrontendAddress {
            ip: frontend.address.to_string(),
            port: frontend.port.get(),
            protocol: frontend.protocol.as_str().into(),
            scope: match frontend.scope {
                Scope::External => EXTERNAL.into(),
                Scope::Internal => "internal".into(),
            },
        }),
        backend_addresses: view.backends.into_iter().map(backend).collect(),
        flags: Some(ServiceFlags { kind: view.kind.as_str().into(), ..ServiceFlags::default() }),
    };
    Service {
        status: Some(ServiceStatus {
            realized: match view.failure {
                Some(_) => ServiceSpec { backend_addresses: Vec::new(), ..spec.clone() },
                None => spec.clone(),
            },
            owner: view.owner,
            affinity_timeout_s: view.affinity_timeout_s,
            source_ranges: view.source_ranges.map(|ranges| ranges.iter().map(ToString::to_string).collect()),
            failure: view.failure.unwrap_or_default(),
        }),
        spec,
    }
}
