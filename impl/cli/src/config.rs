// SPDX-License-Identifier: Apache-2.0
//! `config`.

use api::{DaemonConfiguration, DaemonConfigurationSpec};
use clap::Args;

use crate::CliError;
use crate::options::{self, AGENT_OPTIONS, ENDPOINT_OPTIONS};
use crate::output::OutputArguments;
use crate::session::Session;

/// The one option that is a field of its own.
const POLICY_ENFORCEMENT: &str = "PolicyEnforcement";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to change; without any, the configuration is shown
    #[arg(value_name = "OPTION=VALUE")]
    changes: Vec<String>,
    /// List the options that can be changed
    #[arg(long, conflicts_with = "changes")]
    list_options: bool,
    #[command(flatten)]
    output: OutputArguments,
}

pub(crate) fn run(arguments: &Arguments, session: &mut Session<'_>) -> Result<(), CliError> {
    if arguments.list_options {
        for line in options::descriptions(ENDPOINT_OPTIONS.iter().chain(AGENT_OPTIONS)) {
            session.line(line)?;
        }
        return Ok(());
    }
    let client = session.client()?;
    if arguments.changes.is_empty() {
        let configuration = client.config()?;
        if !arguments.output.print(&configuration, session)? {
            show(&configuration, session)?;
        }
        return Ok(());
    }
    let mut options = options::parse(&arguments.changes)?;
    let enforcement = options.keys().find(|name| name.eq_ignore_ascii_case(POLICY_ENFORCEMENT)).cloned();
    let policy_enforcement =
        enforcement.and_then(|name| options.remove(&name)).map(|mode| mode.to_lowercase());
    client.patch_config(&DaemonConfigurationSpec { options, policy_enforcement })?;
    arguments.output.print(&client.config()?, session).map(|_| ())
}

fn show(configuration: &DaemonConfiguration, session: &mut Session<'_>) -> Result<(), CliError> {
    let status = &configuration.status;
    for line in options::lines(&status.realized.options) {
        session.line(line)?;
    }
    let mut more = vec![
        ("k8s-configuration", status.k8s_configuration.clone()),
        ("k8s-endpoint", status.k8s_endpoint.clone()),
        (POLICY_ENFORCEMENT, status.realized.policy_enforcement.clone().unwrap_or_default()),
    ];
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    more.push(("DeviceMTU", number(status.device_mtu)));
    more.push(("RouteMTU", number(status.route_mtu)));
    for (name, value) in more.into_iter().filter(|(_, value)| !value.is_empty()) {
        session.line(options::line(name, &value))?;
    }
    Ok(())
}
