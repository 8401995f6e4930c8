// SPDX-License-Identifier: Apache-2.0
//! `debuginfo`: Markdown, to be put into a bug report.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use api::DebugInfo;
use clap::Args;
use serde::Serialize;

use crate::CliError;
use crate::output::OutputArguments;
use crate::session::{Session, note};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write to this file
    #[arg(short, long, value_name = "PATH", conflicts_with = "output")]
    file: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
}

pub(crate) fn run(arguments: &Arguments, session: &mut Session<'_>) -> Result<(), CliError> {
    let info = session.client()?.debuginfo()?;
    if arguments.output.print(&info, session)? {
        return Ok(());
    }
    let text = markdown(&info).map_err(std::io::Error::from)?;
    let Some(path) = &arguments.file else {
        return Ok(session.output().write_all(text.as_bytes())?);
    };
    fs::write(path, text).map_err(|source| CliError::Change {
        action: "write",
        path: path.clone(),
        source,
    })?;
    note(&format!("written to {}", path.display()));
    Ok(())
}

fn markdown(info: &DebugInfo) -> Result<String, serde_json::Error> {
    let mut text = String::from("# Cilium debug information\n");
    section(&mut text, "Version", &info.cilium_version);
    section(&mut text, "Kernel version", &info.kernel_version);
    section(&mut text, "Status", &json(&info.cilium_status)?);
    section(&mut text, "Endpoints", &json(&info.endpoint_list)?);
    if !info.service_list.is_empty() {
        section(&mut text, "Services", &json(&info.service_list)?);
    }
    if let Some(policy) = &info.policy {
        section(&mut text, &format!("Policy (revision {})", policy.revision), &policy.policy);
    }
    for (name, state) in &info.subsystem {
        section(&mut text, name, state);
    }
    section(&mut text, "Environment variables", &info.environment_variables.join("\n"));
    section(&mut text, "Memory map", &info.cilium_memory_map);
    Ok(text)
}

fn section(text: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        // Writing to a string does not fail.
        let _ = write!(text, "\n## {title}\n\n```\n{}\n```\n", body.trim_end());
    }
}

fn json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value)
}
