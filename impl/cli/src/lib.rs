// SPDX-License-Identifier: Apache-2.0
//! The command line of 1.4: asks the agent, reads pinned maps, prints for people and for programs.
//!
//! Each command is one module with its arguments and its `run`. What 1.4 has and is not there is in [`missing`], and
//! refused by name.

mod args;
mod bpf;
mod cleanup;
mod completion;
mod config;
mod debuginfo;
mod endpoint;
mod error;
mod identities;
mod jsonpath;
mod map;
mod metrics;
mod missing;
mod monitoring;
mod options;
mod output;
mod policies;
mod service;
mod session;
mod status;
mod table;
mod version;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

pub use args::Cilium;
pub use error::CliError;
use session::Session;

/// Runs a command line whose first word is the program's name, and says how the process should end: 0 on success, 2
/// for what is not understood or not there, otherwise 1. An error is one line on standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut output = io::stdout().lock();
    match run_into(arguments, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read has enough: `| head`.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(CliError::Usage(error)) => {
            // Help and version are no errors; clap knows where each goes.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { 2 } else { 0 })
        }
        Err(error) => {
            if !error.is_told() {
                // Nothing is left to be done if this fails.
                let _ = writeln!(io::stderr(), "error: {error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// As [`run`], with what belongs on standard output written to `output`.
///
/// # Errors
/// [`CliError`].
pub fn run_into(
    arguments: impl IntoIterator<Item = OsString>,
    output: &mut dyn Write,
) -> Result<(), CliError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = args::program(arguments.first());
    let matches = Cilium::command().name(name).bin_name(name).try_get_matches_from(arguments)?;
    let cilium = Cilium::from_arg_matches(&matches)?;
    let mut session = Session::new(cilium.global, name, output);
    cilium.command.run(&mut session)?;
    session.finish()
}
