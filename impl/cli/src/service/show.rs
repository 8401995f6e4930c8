// SPDX-License-Identifier: Apache-2.0
//! `service list` and `service get`.

use api::{BackendAddress, FrontendAddress, Service};
use clap::Args;

use crate::CliError;
use crate::output::OutputArguments;
use crate::session::Session;
use crate::table::Table;

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Its number
    #[arg(value_name = "ID")]
    id: u64,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    output: OutputArguments,
}

pub(super) fn list(arguments: &List, session: &mut Session<'_>) -> Result<(), CliError> {
    let mut services = session.client()?.services()?;
    services.sort_by_key(|service| service.spec.id);
    if arguments.output.print(&services, session)? {
        return Ok(());
    }
    let mut table = Table::of(&["ID", "Frontend", "Service Type", "Backend"]);
    for service in services {
        let kind = service.spec.flags.clone().unwrap_or_default().kind;
        let mut backends = realized(&service).iter().map(backend);
        let failure = service.status.as_ref().map_or("", |status| &status.failure);
        let first = match failure {
            "" => backends.next().unwrap_or_default(),
            reason => format!("not as desired: {reason}"),
        };
        table.row([service.spec.id.to_string(), frontend(&service), kind, first]);
        for backend in backends {
            table.row(["", "", "", &backend]);
        }
    }
    Ok(write!(session.output(), "{table}")?)
}

pub(super) fn get(arguments: &Get, session: &mut Session<'_>) -> Result<(), CliError> {
    let service = session.client()?.service(arguments.id)?;
    if arguments.output.print(&service, session)? {
        return Ok(());
    }
    session.line(format!("{} =>", frontend(&service)))?;
    for address in realized(&service) {
        session.line(format!("    {}", backend(address)))?;
    }
    let status = service.status.clone().unwrap_or_default();
    let affinity = status.affinity_timeout_s.map(|seconds| format!("{seconds} s")).unwrap_or_default();
    let ranges = match &status.source_ranges {
        None => String::new(),
        Some(ranges) if ranges.is_empty() => "none: nobody is let in".to_owned(),
        Some(ranges) => ranges.join(" "),
    };
    let kind = service.spec.flags.unwrap_or_default().kind;
    let mut table = Table::default();
    for (name, value) in [
        ("Service Type:", kind),
        ("Owner:", status.owner),
        ("Session Affinity:", affinity),
        ("Source Ranges:", ranges),
        ("Failure:", status.failure),
    ] {
        if !value.is_empty() {
            table.row([name.to_owned(), value]);
        }
    }
    Ok(write!(session.output(), "{table}")?)
}

/// What the datapath has, which is what it should have unless a failure is told.
fn realized(service: &Service) -> &[BackendAddress] {
    let spec = service.status.as_ref().map_or(&service.spec, |status| &status.realized);
    &spec.backend_addresses
}

/// `10.96.0.1:80/TCP`.
fn frontend(service: &Service) -> String {
    let Some(FrontendAddress { ip, port, protocol, scope }) = &service.spec.frontend_address else {
        return String::new();
    };
    let scope = if scope == "internal" { "/internal" } else { "" };
    format!("{}/{protocol}{scope}", socket(ip, *port))
}

/// `12 => 10.0.0.7:8080 (active)`.
fn backend(backend: &BackendAddress) -> String {
    let id = backend.id.map(|id| format!("{id} ")).unwrap_or_default();
    let state = if backend.state.is_empty() { String::new() } else { format!(" ({})", backend.state) };
    format!("{id}=> {}{state}", socket(&backend.ip, backend.port))
}

fn socket(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}
