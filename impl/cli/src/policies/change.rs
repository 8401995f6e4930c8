// SPDX-License-Identifier: Apache-2.0
//! `policy get`, `import`, `delete` and `validate`.

use std::path::PathBuf;

use api::Policy;
use clap::Args;

use super::files;
use crate::CliError;
use crate::output::OutputArguments;
use crate::session::Session;

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Such as k8s:app=web
    labels: Vec<String>,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Files or directories; - is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["labels", "all"])]
pub(crate) struct Delete {
    /// The rules that have all these labels
    labels: Vec<String>,
    /// All rules
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// Files or directories; - is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print the rules as the agent would get them
    #[arg(short, long)]
    verbose: bool,
}

pub(super) fn get(arguments: &Get, session: &mut Session<'_>) -> Result<(), CliError> {
    let policy = session.client()?.policy(&arguments.labels)?;
    if arguments.output.print(&policy, session)? {
        return Ok(());
    }
    session.line(&policy.policy)?;
    session.line(format!("Revision: {}", policy.revision))
}

/// All or none: what is wrong in the last file keeps the first from being loaded.
pub(super) fn import(arguments: &Import, session: &mut Session<'_>) -> Result<(), CliError> {
    let rules = files::rules(&arguments.paths)?;
    let rules = serde_json::to_string(&rules).map_err(std::io::Error::from)?;
    let policy = session.client()?.put_policy(&rules)?;
    revision(&arguments.output, &policy, session)
}

pub(super) fn delete(arguments: &Delete, session: &mut Session<'_>) -> Result<(), CliError> {
    let policy = session.client()?.delete_policy(&arguments.labels)?;
    revision(&arguments.output, &policy, session)
}

fn revision(output: &OutputArguments, policy: &Policy, session: &mut Session<'_>) -> Result<(), CliError> {
    if !output.print(policy, session)? {
        session.line(format!("Revision: {}", policy.revision))?;
    }
    Ok(())
}

pub(super) fn validate(arguments: &Validate, session: &mut Session<'_>) -> Result<(), CliError> {
    let rules = files::rules(&arguments.paths)?;
    if arguments.verbose {
        session.line(serde_json::to_string_pretty(&rules).map_err(std::io::Error::from)?)?;
    }
    session.line("All policy elements are valid.")
}
