// SPDX-License-Identifier: Apache-2.0
//! `service update` and `service delete`.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use addr::Protocol;
use api::{BackendAddress, FrontendAddress, ServiceFlags, ServiceSpec};
use clap::Args;

use crate::CliError;
use crate::session::{Session, note};

/// The type of services that are made so; the others are objects in Kubernetes' words, and change there.
const OURS: &str = "API";
/// As many backends as a list from standard input may have.
const BACKENDS: usize = 65_536;

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Its number, 1 to 65534
    #[arg(long, value_name = "ID")]
    id: u64,
    /// What clients connect to
    #[arg(long, value_name = "IP:PORT")]
    frontend: SocketAddr,
    /// TCP, UDP or SCTP
    #[arg(long, default_value = "TCP", value_parser = protocol)]
    protocol: Protocol,
    /// Who answers them; without any, they are read from standard input, one a line
    #[arg(long, value_name = "IP:PORT[/WEIGHT]", value_delimiter = ',')]
    backends: Vec<Backend>,
    /// Answers carry the frontend's address: they always do
    #[arg(long)]
    rev: bool,
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["id", "all"])]
pub(crate) struct Delete {
    /// Its number
    #[arg(value_name = "ID")]
    id: Option<u64>,
    /// All that were made with update
    #[arg(long)]
    all: bool,
}

fn protocol(text: &str) -> Result<Protocol, String> {
    let known = text.parse().ok().filter(|protocol: &Protocol| protocol.has_ports());
    known.ok_or_else(|| "write TCP, UDP or SCTP".to_owned())
}

/// `IP:PORT`, with `/WEIGHT` behind it.
#[derive(Debug, Clone)]
struct Backend {
    socket: SocketAddr,
    weight: u16,
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (socket, weight) = match text.split_once('/') {
            Some((socket, weight)) => {
                (socket, weight.parse().map_err(|_| "its weight is no number".to_owned())?)
            }
            None => (text, 0),
        };
        let socket = socket.parse().map_err(|_| "write IP:PORT or [IP]:PORT".to_owned())?;
        Ok(Self { socket, weight })
    }
}

pub(super) fn update(arguments: &Update, session: &mut Session<'_>) -> Result<(), CliError> {
    let read = if arguments.backends.is_empty() { from_input()? } else { Vec::new() };
    let backends = arguments.backends.iter().chain(&read);
    let spec = ServiceSpec {
        id: arguments.id,
        frontend_address: Some(FrontendAddress {
            ip: arguments.frontend.ip().to_string(),
            port: arguments.frontend.port(),
            protocol: arguments.protocol.as_str().to_owned(),
            scope: String::new(),
        }),
        backend_addresses: backends
            .map(|backend| BackendAddress {
                ip: backend.socket.ip().to_string(),
                port: backend.socket.port(),
                weight: backend.weight,
                ..BackendAddress::default()
            })
            .collect(),
        flags: arguments.rev.then(|| ServiceFlags { direct_server_return: true, ..ServiceFlags::default() }),
    };
    let created = session.client()?.put_service(arguments.id, &spec)?;
    let done = if created { "Added" } else { "Updated" };
    session.line(format!("{done} service with {} backends", spec.backend_addresses.len()))
}

fn from_input() -> Result<Vec<Backend>, CliError> {
    note("Reading backend list from stdin...");
    let failed = |source| CliError::Read { path: "-".into(), source };
    let mut backends = Vec::new();
    for line in io::stdin().lines() {
        let line = line.map_err(failed)?;
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        if backends.len() == BACKENDS {
            return Err(CliError::argument("standard input", format!("holds more than {BACKENDS} backends")));
        }
        backends.push(text.parse().map_err(|reason: String| CliError::argument(text, reason))?);
    }
    Ok(backends)
}

pub(super) fn delete(arguments: &Delete, session: &mut Session<'_>) -> Result<(), CliError> {
    let client = session.client()?;
    if let Some(id) = arguments.id {
        client.delete_service(id)?;
        return session.line(format!("Service {id} deleted successfully"));
    }
    let services = client.services()?;
    let ours = |kind: &Option<ServiceFlags>| kind.as_ref().is_some_and(|flags| flags.kind == OURS);
    let (ours, others): (Vec<_>, Vec<_>) = services.iter().partition(|service| ours(&service.spec.flags));
    for service in &ours {
        client.delete_service(service.spec.id)?;
    }
    session.line(format!("{} services deleted successfully", ours.len()))?;
    if !others.is_empty() {
        note(&format!("{} more are those of objects: remove the objects to remove them", others.len()));
    }
    Ok(())
}
