// SPDX-License-Identifier: Apache-2.0
//! Why a configuration is refused, in one line that names the flag, variable, key or file.

use std::io;
use std::path::PathBuf;

use super::settings::Origin;

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line is not understood.
    #[error("{0}")]
    Flags(String),
    /// No option has this name.
    #[error("{at}: there is no option {name:?}{}", suggestion(.similar))]
    Unknown {
        /// Where it stands.
        at: String,
        /// The name.
        name: String,
        /// An option whose name is almost this.
        similar: Option<&'static str>,
    },
    /// The option is known and its feature is not there.
    #[error("{at}={value:?}: {missing}{}", remedy(.accepted))]
    Absent {
        /// Where it stands.
        at: Origin,
        /// As written.
        value: String,
        /// What is missing.
        missing: &'static str,
        /// What may be written.
        accepted: &'static [&'static str],
    },
    /// The value makes no sense.
    #[error("{at}={value:?}: {problem}")]
    Invalid {
        /// Where it stands.
        at: Origin,
        /// As written.
        value: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// Two options cannot both hold.
    #[error("{0}")]
    Contradiction(String),
    /// The same option twice in one place, by two of its names.
    #[error("{first} and {second} are the same option: write one of them")]
    Twice {
        /// One.
        first: Origin,
        /// The other.
        second: Origin,
    },
    /// A file or directory cannot be read.
    #[error("{flag} {path:?}: {problem}")]
    Read {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

impl ConfigError {
    /// Of a failed system call on a file.
    pub fn read(flag: &'static str, path: impl Into<PathBuf>, source: &io::Error) -> Self {
        Self::Read { flag, path: path.into(), problem: source.to_string() }
    }
}

fn suggestion(similar: &Option<&'static str>) -> String {
    similar.map_or_else(
        || "; `cilium-agent --help` lists them".into(),
        |name| format!("; did you mean {name:?}?"),
    )
}

fn remedy(accepted: &[&str]) -> String {
    match accepted {
        [] => "; leave the option out".into(),
        [one] => format!("; leave the option out or write {one:?}"),
        many => format!("; leave the option out or write one of {many:?}"),
    }
}
