// SPDX-License-Identifier: Apache-2.0
//! Options that can be changed while the agent runs, as users write them: `Debug=true`. The agent knows which there are
//! and which values they take; it refuses the others by name.

use api::ConfigurationMap;

use crate::CliError;

/// The options that an endpoint has, and what each does.
pub(crate) const ENDPOINT_OPTIONS: &[(&str, &str)] = &[
    ("ConntrackAccounting", "Count packets and bytes of each connection"),
    ("Debug", "Tell every step of a packet"),
    ("DropNotification", "Tell every packet that is dropped"),
    ("PolicyVerdictNotification", "Tell every verdict of policy on a new connection"),
    ("TraceNotification", "Tell every packet that passes, while a monitor listens"),
];

/// Those that only the agent has.
pub(crate) const AGENT_OPTIONS: &[(&str, &str)] = &[
    ("MonitorAggregationLevel", "How much of what passes is told: None, Low, Medium or Maximum"),
    ("PolicyEnforcement", "When policy is enforced: default, always or never"),
];

/// Options as they are sent, from `NAME=VALUE`.
pub(crate) fn parse(changes: &[String]) -> Result<ConfigurationMap, CliError> {
    let mut options = ConfigurationMap::new();
    for change in changes {
        let (name, value) = change
            .split_once('=')
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or_else(|| CliError::argument(change, "write OPTION=VALUE, such as Debug=true"))?;
        if options.insert(name.to_owned(), word(value)).is_some() {
            return Err(CliError::argument(change, "is given twice"));
        }
    }
    Ok(options)
}

/// 1.4 takes any of these words and shows Enabled and Disabled.
fn word(value: &str) -> String {
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "enable" | "enabled" => "Enabled".to_owned(),
        "false" | "off" | "disable" | "disabled" => "Disabled".to_owned(),
        _ => value.to_owned(),
    }
}

/// Options and what they do.
pub(crate) fn descriptions<'a>(
    options: impl IntoIterator<Item = &'a (&'a str, &'a str)>,
) -> impl Iterator<Item = String> {
    options.into_iter().map(|(name, what)| format!("{name:<26} {what}"))
}

/// Options and their values.
pub(crate) fn lines(options: &ConfigurationMap) -> impl Iterator<Item = String> {
    options.iter().map(|(name, value)| line(name, value))
}

/// An option and its value.
pub(crate) fn line(name: &str, value: &str) -> String {
    format!("{name:<26} {value}")
}
