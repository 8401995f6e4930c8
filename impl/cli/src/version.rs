// SPDX-License-Identifier: Apache-2.0
//! `version`.

use clap::Args;
use serde::Serialize;

use crate::CliError;
use crate::output::OutputArguments;
use crate::session::{Session, note};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Serialize)]
struct Versions {
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    daemon: Option<String>,
}

/// The client's version is known without an agent.
pub(crate) fn run(arguments: &Arguments, session: &mut Session<'_>) -> Result<(), CliError> {
    let client = env!("CARGO_PKG_VERSION");
    let asked = session.client()?.debuginfo();
    let versions = Versions { client, daemon: asked.as_ref().ok().map(|info| info.cilium_version.clone()) };
    if !arguments.output.print(&versions, session)? {
        session.line(format!("Client: {client}"))?;
        if let Some(daemon) = &versions.daemon {
            session.line(format!("Daemon: {daemon}"))?;
        }
    }
    if let Err(error) = asked {
        note(&format!("Daemon: unknown: {error}"));
    }
    Ok(())
}
