// SPDX-License-Identifier: Apache-2.0
//! `policy trace`.

use std::str::FromStr;

use api::{Client, Port, PortProtocol, TraceFrom, TraceSelector, TraceTo, Verdict};
use clap::{ArgGroup, Args};
use identity::NumericIdentity;

use crate::CliError;
use crate::output::OutputArguments;
use crate::session::Session;

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("from").required(true).args(["src", "src_endpoint", "src_identity", "src_k8s_pod"]),
    group = ArgGroup::new("to").required(true).args(["dst", "dst_endpoint", "dst_identity", "dst_k8s_pod"]),
)]
pub(crate) struct Arguments {
    /// Labels of the source, such as k8s:app=web
    #[arg(short, long, value_name = "LABEL", value_delimiter = ',')]
    src: Vec<String>,
    /// An endpoint as the source
    #[arg(long, value_name = "ENDPOINT")]
    src_endpoint: Option<String>,
    /// An identity as the source
    #[arg(long, value_name = "IDENTITY")]
    src_identity: Option<NumericIdentity>,
    /// A pod of this node as the source
    #[arg(long, value_name = "NAMESPACE:POD")]
    src_k8s_pod: Option<String>,
    /// Labels of the destination
    #[arg(short, long, value_name = "LABEL", value_delimiter = ',')]
    dst: Vec<String>,
    /// An endpoint as the destination
    #[arg(long, value_name = "ENDPOINT")]
    dst_endpoint: Option<String>,
    /// An identity as the destination
    #[arg(long, value_name = "IDENTITY")]
    dst_identity: Option<NumericIdentity>,
    /// A pod of this node as the destination
    #[arg(long, value_name = "NAMESPACE:POD")]
    dst_k8s_pod: Option<String>,
    /// Ports of the destination, such as 80/tcp or 53
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_delimiter = ',')]
    dport: Vec<Dport>,
    /// A longer log
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    output: OutputArguments,
}

/// A port as users write it.
#[derive(Debug, Clone)]
struct Dport(Port);

impl FromStr for Dport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "any"));
        let port = match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(format!("{port:?} is not a port from 1 to 65535")),
        };
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "any" => PortProtocol::Any,
            "tcp" => PortProtocol::Tcp,
            "udp" => PortProtocol::Udp,
            other => return Err(format!("{other:?} is not a protocol: write tcp, udp or any")),
        };
        Ok(Self(Port { port, protocol }))
    }
}

/// One end, as the user named it.
struct End<'a> {
    labels: &'a [String],
    endpoint: Option<&'a str>,
    identity: Option<NumericIdentity>,
    pod: Option<&'a str>,
}

impl End<'_> {
    /// Its labels.
    fn resolve(&self, client: &Client) -> Result<Vec<String>, CliError> {
        if let Some(identity) = self.identity {
            return Ok(client.identity(&identity.as_u32().to_string())?.labels);
        }
        let pod = self.pod.map(|pod| format!("pod-name:{pod}"));
        match self.endpoint.or(pod.as_deref()) {
            None => Ok(self.labels.to_vec()),
            Some(endpoint) => match client.endpoint(endpoint)?.status.identity {
                Some(identity) => Ok(identity.labels),
                None => Err(CliError::Failed(format!("endpoint {endpoint} has no identity yet"))),
            },
        }
    }
}

pub(super) fn run(arguments: &Arguments, session: &mut Session<'_>) -> Result<(), CliError> {
    let client = session.client()?;
    let from = End {
        labels: &arguments.src,
        endpoint: arguments.src_endpoint.as_deref(),
        identity: arguments.src_identity,
        pod: arguments.src_k8s_pod.as_deref(),
    };
    let to = End {
        labels: &arguments.dst,
        endpoint: arguments.dst_endpoint.as_deref(),
        identity: arguments.dst_identity,
        pod: arguments.dst_k8s_pod.as_deref(),
    };
    let selector = TraceSelector {
        from: TraceFrom { labels: from.resolve(&client)? },
        to: TraceTo {
            labels: to.resolve(&client)?,
            dports: arguments.dport.iter().map(|dport| dport.0.clone()).collect(),
        },
        verbose: arguments.verbose,
    };
    let result = client.resolve_policy(&selector)?;
    if arguments.output.print(&result, session)? {
        return Ok(());
    }
    session.line(result.log.trim_end())?;
    session.line(format!(
        "Final verdict: {}",
        match result.verdict {
            Verdict::Allowed => "ALLOWED",
            Verdict::Denied => "DENIED",
            Verdict::Undecided => "UNDECIDED",
        }
    ))
}
