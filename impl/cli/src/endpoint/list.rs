// SPDX-License-Identifier: Apache-2.0
//! `endpoint list`.

use api::Endpoint;
use clap::Args;

use crate::CliError;
use crate::output::OutputArguments;
use crate::session::Session;
use crate::table::Table;

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only endpoints that have all these labels
    #[arg(short, long, value_name = "LABEL", value_delimiter = ',')]
    labels: Vec<String>,
    /// Without the names of the columns
    #[arg(long)]
    no_headers: bool,
    #[command(flatten)]
    output: OutputArguments,
}

pub(super) fn run(arguments: &List, session: &mut Session<'_>) -> Result<(), CliError> {
    let mut endpoints = session.client()?.endpoints(&arguments.labels)?;
    endpoints.sort_by_key(|endpoint| endpoint.id);
    if arguments.output.print(&endpoints, session)? {
        return Ok(());
    }
    let mut table = Table::default();
    if !arguments.no_headers {
        let labels = "LABELS (source:key[=value])";
        let columns = ["POLICY (ingress)", "POLICY (egress)", "IDENTITY", labels, "IPv6", "IPv4", "STATUS"];
        table.row(["ENDPOINT"].into_iter().chain(columns));
        table.row(["", "ENFORCEMENT", "ENFORCEMENT"]);
    }
    for endpoint in endpoints {
        rows(&mut table, endpoint);
    }
    Ok(write!(session.output(), "{table}")?)
}

/// One row, and one more for each label after the first.
fn rows(table: &mut Table, endpoint: Endpoint) {
    let status = endpoint.status;
    let enforced = |enforced: bool| if enforced { "Enabled" } else { "Disabled" }.to_owned();
    let policy = status.policy.realized.policy_enabled;
    let (identity, labels) = match status.identity {
        Some(identity) => (identity.id.to_string(), identity.labels),
        None => ("<no label id>".to_owned(), Vec::new()),
    };
    let addresses = status.networking.addressing.into_iter().next().unwrap_or_default();
    let mut labels = labels.into_iter();
    table.row([
        endpoint.id.to_string(),
        enforced(policy.ingress()),
        enforced(policy.egress()),
        identity,
        labels.next().unwrap_or_else(|| "no labels".to_owned()),
        addresses.ipv6,
        addresses.ipv4,
        status.state.to_string(),
    ]);
    for label in labels {
        table.row(["", "", "", "", &label]);
    }
}
