// SPDX-License-Identifier: Apache-2.0
//! What a command works with: the agent, and where output goes.

use std::io::{self, Write};
use std::path::PathBuf;

use api::{Client, paths};

use crate::CliError;
use crate::args::Global;

/// One run of the command line.
pub(crate) struct Session<'a> {
    global: Global,
    program: &'static str,
    output: &'a mut dyn Write,
}

impl<'a> Session<'a> {
    pub fn new(global: Global, program: &'static str, output: &'a mut dyn Write) -> Self {
        Self { global, program, output }
    }

    /// The name by which the user called it, for hints.
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// The agent.
    pub fn client(&self) -> Result<Client, CliError> {
        let client = Client::of_host(self.global.host.as_deref())?;
        if !self.global.debug {
            return Ok(client);
        }
        Ok(client.observed(|exchange| {
            let status = exchange.status.map_or("no reply".to_owned(), |status| status.to_string());
            note(&format!(
                "{} {} -> {status} in {:.1} ms",
                exchange.method,
                exchange.target,
                exchange.took.as_secs_f64() * 1000.0
            ));
        }))
    }

    /// The socket on which the agent tells events: beside its own.
    pub fn monitor_socket(&self) -> Result<PathBuf, CliError> {
        let client = Client::of_host(self.global.host.as_deref())?;
        let name = std::path::Path::new(paths::MONITOR_SOCKET).file_name().unwrap_or_default();
        Ok(client.path().with_file_name(name))
    }

    /// A line for those who look for a fault.
    pub fn debug(&self, text: impl FnOnce() -> String) {
        if self.global.debug {
            note(&text());
        }
    }

    /// Where output goes.
    pub fn output(&mut self) -> &mut dyn Write {
        self.output
    }

    /// A line of output.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), CliError> {
        Ok(writeln!(self.output, "{}", text.as_ref())?)
    }

    pub fn finish(&mut self) -> Result<(), CliError> {
        Ok(self.output.flush()?)
    }
}

/// A line for people beside the output.
pub(crate) fn note(text: &str) {
    // A closed standard error is no reason to fail.
    let _ = writeln!(io::stderr(), "{text}");
}
