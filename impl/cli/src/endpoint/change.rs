// SPDX-License-Identifier: Apache-2.0
//! `endpoint config`, `labels`, `regenerate` and `disconnect`.

use api::{EndpointConfigurationSpec, LabelConfigurationSpec, LabelConfigurationStatus};
use clap::Args;
use identity::Label;

use super::ID_HELP;
use crate::CliError;
use crate::options::{self, ENDPOINT_OPTIONS};
use crate::output::OutputArguments;
use crate::session::Session;
use crate::table::Table;

#[derive(Debug, Args)]
pub(crate) struct Id {
    #[arg(value_name = "ENDPOINT", help = ID_HELP)]
    id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[arg(value_name = "ENDPOINT", help = ID_HELP, required_unless_present = "list_options")]
    id: Option<String>,
    /// What to change; without any, the options are shown
    #[arg(value_name = "OPTION=VALUE")]
    changes: Vec<String>,
    /// List the options that can be changed
    #[arg(long, conflicts_with_all = ["id", "changes"])]
    list_options: bool,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct Labels {
    #[arg(value_name = "ENDPOINT", help = ID_HELP)]
    id: String,
    /// Add these labels
    #[arg(short, long, value_name = "LABEL", value_delimiter = ',')]
    add: Vec<Label>,
    /// Remove these labels
    #[arg(short, long, value_name = "LABEL", value_delimiter = ',')]
    delete: Vec<Label>,
    #[command(flatten)]
    output: OutputArguments,
}

pub(super) fn config(arguments: &Config, session: &mut Session<'_>) -> Result<(), CliError> {
    let Some(id) = &arguments.id else {
        for line in options::descriptions(ENDPOINT_OPTIONS) {
            session.line(line)?;
        }
        return Ok(());
    };
    let client = session.client()?;
    if !arguments.changes.is_empty() {
        let options = options::parse(&arguments.changes)?;
        let change = EndpointConfigurationSpec { options, label_configuration: None };
        client.patch_endpoint_config(id, &change)?;
        session.line(format!("Endpoint {id} configuration updated successfully"))?;
        return Ok(());
    }
    let status = client.endpoint_config(id)?;
    if arguments.output.print(&status, session)? {
        return Ok(());
    }
    for line in options::lines(&status.realized.options) {
        session.line(line)?;
    }
    Ok(())
}

pub(super) fn labels(arguments: &Labels, session: &mut Session<'_>) -> Result<(), CliError> {
    let client = session.client()?;
    if !arguments.add.is_empty() || !arguments.delete.is_empty() {
        let current = client.endpoint_labels(&arguments.id)?;
        let user = changed(&current.spec.user, &arguments.add, &arguments.delete)?;
        client.patch_endpoint_labels(&arguments.id, &LabelConfigurationSpec { user })?;
    }
    let labels = client.endpoint_labels(&arguments.id)?;
    if !arguments.output.print(&labels, session)? {
        write!(session.output(), "{}", table(labels.status))?;
    }
    Ok(())
}

/// The labels that the user gave, after the change. Those of the orchestration system are not the user's to remove.
fn changed(user: &[String], add: &[Label], delete: &[Label]) -> Result<Vec<String>, CliError> {
    let mut labels: Vec<String> = user.to_vec();
    for label in delete.iter().map(Label::to_string) {
        let position = labels.iter().position(|present| *present == label).ok_or_else(|| {
            let user = if user.is_empty() { "none".to_owned() } else { user.join(" ") };
            CliError::argument(
                "--delete",
                format!("{label} was not added by a user; those that were: {user}"),
            )
        })?;
        labels.remove(position);
    }
    for label in add.iter().map(Label::to_string) {
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    Ok(labels)
}

fn table(status: LabelConfigurationStatus) -> Table {
    let mut table = Table::of(&["Label", "Use"]);
    let sets = [
        (status.security_relevant, "identity"),
        (status.realized.user, "user"),
        (status.derived, "information"),
        (status.disabled, "disabled"),
    ];
    for (labels, what) in sets {
        for label in labels {
            table.row([label, what.to_owned()]);
        }
    }
    table
}

/// A change of nothing, as in 1.4.
pub(super) fn regenerate(arguments: &Id, session: &mut Session<'_>) -> Result<(), CliError> {
    session.client()?.patch_endpoint_config(&arguments.id, &EndpointConfigurationSpec::default())?;
    session.line(format!("Endpoint {} successfully regenerated", arguments.id))
}

pub(super) fn disconnect(arguments: &Id, session: &mut Session<'_>) -> Result<(), CliError> {
    match session.client()?.delete_endpoint(&arguments.id)? {
        0 => session.line(format!("Endpoint {} successfully disconnected", arguments.id)),
        errors => Err(CliError::Failed(format!(
            "endpoint {} is disconnected, with {errors} errors: see the agent's log",
            arguments.id
        ))),
    }
}
