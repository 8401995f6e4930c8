// SPDX-License-Identifier: Apache-2.0
//! `netns-lab serve`: the server process of a phase, started by `run` itself.

use std::process::ExitCode;

use anyhow::Result;

/// Serves as told on standard input until that ends.
pub fn run() -> Result<ExitCode> {
    netns_lab::workload::serve(std::io::stdin().lock(), std::io::stdout())?;
    Ok(ExitCode::SUCCESS)
}
