// SPDX-License-Identifier: Apache-2.0
//! `completion`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::session::Session;
use crate::{Cilium, CliError};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// For this shell
    #[arg(default_value = "bash")]
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, session: &mut Session<'_>) -> Result<(), CliError> {
    // clap_complete panics where it cannot write: it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cilium::command(), session.program(), &mut script);
    Ok(session.output().write_all(&script)?)
}
