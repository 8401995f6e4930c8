// SPDX-License-Identifier: Apache-2.0
//! What the agent was told to do: composed values, read once at start and passed down.
//!
//! An option that is not in [`OPTIONS`] is refused; one whose feature is not there is refused with what is missing.

mod absent;
mod error;
mod network;
mod option;
mod places;
mod services;
mod settings;
mod sources;
mod table;
mod telling;
#[cfg(test)]
mod tests;
mod workloads;

use std::ffi::OsString;
use std::path::PathBuf;

pub use error::ConfigError;
pub use network::{AddressFamily, Network};
pub use option::{Kind, Spec};
pub use places::Places;
pub use services::Services;
pub use settings::{Origin, Settings};
pub use table::OPTIONS;
pub use telling::{Aggregation, Telling};
pub use workloads::{AllowLocalhost, Workloads};

/// All that the agent was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Files, directories and sockets.
    pub places: Places,
    /// Addresses, devices and what the kernel does with packets.
    pub network: Network,
    /// Load balancing.
    pub services: Services,
    /// What makes identities and when policy is enforced.
    pub workloads: Workloads,
    /// Logs, events and metrics.
    pub telling: Telling,
}

/// What came out of reading the configuration.
#[derive(Debug)]
pub enum Loaded {
    /// Start with this.
    Run {
        /// The options, parsed.
        config: Box<Config>,
        /// The options as texts, for the log.
        settings: Settings,
        /// Variables that begin with `CILIUM_` and are no option.
        unknown_variables: Vec<String>,
    },
    /// `--help` or `--version`: print this and end.
    Print(String),
}

/// Reads command line (its first element is the program), environment, ConfigMap directory and file.
///
/// # Errors
/// [`ConfigError`], which names where the mistake stands.
pub fn load(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    let matches = match sources::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(e) if !e.use_stderr() => return Ok(Loaded::Print(e.to_string())),
        Err(e) => return Err(ConfigError::Flags(one_line(&e.to_string()))),
    };
    let flags = sources::flags(&matches)?;
    let (environment, unknown_variables) = sources::environment(variables)?;
    // These two name the places that come after them, so only the first two can say them.
    let named = |name| flags.one(name).or_else(|| environment.one(name)).map(PathBuf::from);
    let (directory_path, file_path) = (named("config-dir"), named("config"));
    let directory = directory_path.as_deref().map(sources::directory).transpose()?.unwrap_or_default();
    let file = file_path.as_deref().map(sources::file).transpose()?.unwrap_or_default();
    for (layer, place) in [(&directory, "--config-dir"), (&file, "--config")] {
        if let Some(name) = ["config", "config-dir"].into_iter().find(|name| layer.one(name).is_some()) {
            let problem = format!("{name} stands in what {place} names: give it as a flag or variable");
            return Err(ConfigError::Contradiction(problem));
        }
    }
    let settings = Settings::new(&[flags, environment, directory, file])?;
    let config = Box::new(Config::parse(&settings)?);
    Ok(Loaded::Run { config, settings, unknown_variables })
}

impl Config {
    /// Parses the options.
    ///
    /// # Errors
    /// [`ConfigError`] of the first that makes no sense.
    pub fn parse(settings: &Settings) -> Result<Self, ConfigError> {
        Ok(Self {
            places: Places::parse(settings)?,
            network: Network::parse(settings)?,
            services: Services::parse(settings)?,
            workloads: Workloads::parse(settings)?,
            telling: Telling::parse(settings)?,
        })
    }
}

/// The command line parser's words in one line, without the usage that follows.
fn one_line(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .map(|line| line.strip_prefix("error: ").unwrap_or(line))
        .collect();
    lines.join("; ")
}
