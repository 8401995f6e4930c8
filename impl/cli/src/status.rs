// SPDX-License-Identifier: Apache-2.0
//! `status`.

use std::fmt::Write;

use api::{ControllerStatus, NodeAddressing, ServicesStatus, Status, StatusResponse, StatusState};
use clap::Args;

use crate::CliError;
use crate::output::OutputArguments;
use crate::session::{Session, note};
use crate::table::Table;

/// Refused services that are shown without `--verbose`.
const REFUSED: usize = 10;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Show all addresses that are taken
    #[arg(long)]
    all_addresses: bool,
    /// Show all controllers, not only those that fail
    #[arg(long)]
    all_controllers: bool,
    /// Show all nodes
    #[arg(long)]
    all_nodes: bool,
    #[arg(long, hide = true)]
    all_health: bool,
    #[arg(long, hide = true)]
    all_redirects: bool,
    /// One line: OK, or what is wrong
    #[arg(long)]
    brief: bool,
    /// Everything: as --all-addresses --all-controllers --all-nodes
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    output: OutputArguments,
}

/// Fails if the agent is not well: scripts and Kubernetes probes look at the exit code.
pub(crate) fn run(arguments: &Arguments, session: &mut Session<'_>) -> Result<(), CliError> {
    if arguments.all_health {
        return Err(CliError::NotSupported("health between nodes (status --all-health)"));
    }
    if arguments.all_redirects {
        return Err(CliError::NotSupported("the L7 proxy (status --all-redirects)"));
    }
    let status = session.client()?.status()?;
    let wrong = problems(&status);
    if !arguments.output.print(&status, session)? {
        if arguments.brief {
            if wrong.is_empty() {
                session.line("OK")?;
            }
        } else {
            write!(session.output(), "{}", text(&status, arguments))?;
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    note(&format!("error: {}", wrong.join("; ")));
    Err(CliError::Told("the agent is not well"))
}

/// What is wrong, in 1.4's words for `--brief`.
fn problems(status: &StatusResponse) -> Vec<String> {
    let parts = [
        ("cilium", &status.cilium),
        ("kvstore", &status.kvstore),
        ("container runtime", &status.container_runtime),
    ];
    let mut wrong: Vec<String> = parts
        .into_iter()
        .filter_map(|(name, part)| Some((name, part.as_ref()?)))
        .filter(|(_, part)| is_wrong(part.state))
        .map(|(name, part)| format!("{name}: {}", part.msg))
        .collect();
    if let Some(kubernetes) = status.kubernetes.as_ref().filter(|part| is_wrong(part.state)) {
        wrong.push(format!("kubernetes: {}", kubernetes.msg));
    }
    wrong.extend(status.stale.iter().map(|(part, since)| format!("{part}: no answer since {since}")));
    wrong
}

const fn is_wrong(state: StatusState) -> bool {
    matches!(state, StatusState::Warning | StatusState::Failure)
}

const fn word(state: StatusState) -> &'static str {
    match state {
        StatusState::Ok => "Ok",
        StatusState::Warning => "Warning",
        StatusState::Failure => "Failure",
        StatusState::Disabled => "Disabled",
    }
}

fn text(status: &StatusResponse, arguments: &Arguments) -> String {
    let mut table = Table::default();
    let mut part = |name: &str, status: &Option<Status>| {
        if let Some(status) = status {
            table.row([format!("{name}:"), word(status.state).to_owned(), status.msg.clone()]);
        }
    };
    part("KVStore", &status.kvstore);
    part("ContainerRuntime", &status.container_runtime);
    let kubernetes = status.kubernetes.as_ref().map(|k8s| Status { state: k8s.state, msg: k8s.msg.clone() });
    part("Kubernetes", &kubernetes);
    part("Cilium", &status.cilium);
    if let Some(apis) = status.kubernetes.as_ref().map(|k8s| &k8s.k8s_api_versions).filter(|v| !v.is_empty())
    {
        table.row(["Kubernetes APIs:".to_owned(), format!("{apis:?}")]);
    }
    let mut text = table.to_string();
    // Lines with one long cell would widen the columns of the others.
    for (name, line) in lines(status) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<21}   {line}", format!("{name}:"));
    }
    if let Some(services) = &status.services {
        self::services(&mut text, services, arguments.verbose);
    }
    if arguments.verbose || arguments.all_addresses {
        addresses(&mut text, status);
    }
    controllers(&mut text, &status.controllers, arguments.verbose || arguments.all_controllers);
    if arguments.verbose || arguments.all_nodes {
        nodes(&mut text, status);
    }
    for (part, since) in &status.stale {
        let _ = writeln!(text, "Stale status:           {part} has not answered since {since}");
    }
    text
}

/// Name and text of the parts that are more than a state.
fn lines(status: &StatusResponse) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(monitor) = &status.node_monitor {
        let mut line = format!(
            "Listening for events on {} CPUs with {}x{} of shared memory",
            monitor.cpus, monitor.npages, monitor.pagesize
        );
        if monitor.lost > 0 || monitor.unknown > 0 {
            let _ = write!(line, ", {} events lost, {} unknown", monitor.lost, monitor.unknown);
        }
        lines.push(("NodeMonitor", line));
    }
    if let Some(health) = status.cluster.as_ref().and_then(|cluster| cluster.cilium_health.as_ref()) {
        lines.push(("Cilium health daemon", format!("{}   {}", word(health.state), health.msg)));
    }
    if let Some(ipam) = &status.ipam {
        let line = match ipam.status.as_str() {
            "" => format!("{} IPv4 and {} IPv6 addresses taken", ipam.ipv4.len(), ipam.ipv6.len()),
            status => status.to_owned(),
        };
        lines.push(("IPAM", line));
    }
    if let Some(proxy) = &status.proxy {
        lines.push(("Proxy Status", format!("OK, ip {}, port-range {}", proxy.ip, proxy.port_range)));
    }
    lines
}

/// How services are brought about, and which cannot be.
fn services(text: &mut String, services: &ServicesStatus, all: bool) {
    let mut line = format!("{} frontends, {} backends", services.frontends, services.active_backends);
    if services.terminating_backends > 0 {
        let _ = write!(line, " and {} terminating", services.terminating_backends);
    }
    if services.not_ready_backends > 0 {
        let _ = write!(line, " and {} not ready", services.not_ready_backends);
    }
    if services.health_checks > 0 {
        let _ = write!(line, ", {} health check ports", services.health_checks);
    }
    if services.refused_count > 0 {
        let _ = write!(line, "; {} refused", services.refused_count);
    }
    let enabled = |enabled: bool| if enabled { "Enabled" } else { "Disabled" };
    let sockets = format!("{}: {}", enabled(services.sockets), services.sockets_msg);
    let mode = format!("{}, {}, NodePorts {}", services.mode, services.algorithm, services.node_port_range);
    let mut part = |name: &str, line: &str| {
        let _ = writeln!(text, "{:<21}   {line}", format!("{name}:"));
    };
    part("Services", &line);
    part("  Kubernetes", enabled(services.kubernetes));
    part("  Sockets", sockets.trim_end_matches(": "));
    part("  Mode", &mode);
    let shown = if all { services.refused.len() } else { REFUSED };
    for (name, reason) in services.refused.iter().take(shown) {
        part("  Refused", &format!("{name}: {reason}"));
    }
    let shown = services.refused.len().min(shown) as u64;
    if services.refused_count > shown {
        part("  Refused", &format!("and {} more", services.refused_count - shown));
    }
}

fn addresses(text: &mut String, status: &StatusResponse) {
    let Some(ipam) = &status.ipam else { return };
    text.push_str("Allocated addresses:\n");
    for address in ipam.ipv4.iter().chain(&ipam.ipv6) {
        let _ = writeln!(text, "  {address}");
    }
}

fn controllers(text: &mut String, controllers: &[ControllerStatus], all: bool) {
    let fails = |controller: &&ControllerStatus| {
        controller.status.as_ref().is_some_and(|runs| runs.consecutive_failure_count > 0)
    };
    let failing = controllers.iter().filter(fails).count();
    let healthy = controllers.len() - failing;
    let _ = writeln!(text, "{:<21}   {healthy}/{} healthy", "Controller Status:", controllers.len());
    let shown: Vec<&ControllerStatus> = controllers.iter().filter(|c| all || fails(c)).collect();
    if shown.is_empty() {
        return;
    }
    let mut table = Table::of(&["  Name", "Last success", "Last error", "Count", "Message"]);
    for controller in shown {
        let runs = controller.status.clone().unwrap_or_default();
        let or = |text: String, none: &str| if text.is_empty() { none.to_owned() } else { text };
        table.row([
            format!("  {}", controller.name),
            or(runs.last_success_timestamp, "never"),
            or(runs.last_failure_timestamp, "never"),
            runs.consecutive_failure_count.to_string(),
            or(runs.last_failure_msg, "no error"),
        ]);
    }
    let _ = write!(text, "{table}");
}

fn nodes(text: &mut String, status: &StatusResponse) {
    let Some(cluster) = status.cluster.as_ref().filter(|cluster| !cluster.nodes.is_empty()) else { return };
    let mut table = Table::of(&["Name", "IPv4 Address", "Endpoint CIDR", "IPv6 Address", "Endpoint CIDR"]);
    for node in &cluster.nodes {
        let NodeAddressing { ipv4, ipv6 } = node.primary_address.clone().unwrap_or_default();
        let (ipv4, ipv6) = (ipv4.unwrap_or_default(), ipv6.unwrap_or_default());
        let this = if node.name == cluster.this { " (localhost)" } else { "" };
        let name = format!("{}{this}", node.name);
        table.row([name, ipv4.ip, ipv4.alloc_range, ipv6.ip, ipv6.alloc_range]);
    }
    let _ = write!(text, "{table}");
}
