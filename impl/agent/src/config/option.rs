// SPDX-License-Identifier: Apache-2.0
//! What an option is: its name, its other names, what it takes and what holds when nobody says anything.

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; a flag without a value means `true`.
    Switch,
    /// One value; the text is its placeholder in the help.
    Value(&'static str),
    /// Values, separated by commas or by repeating the flag; the text is the placeholder of one.
    List(&'static str),
}

/// An option that works.
#[derive(Debug)]
pub struct Spec {
    /// The name as a flag, in a ConfigMap and in a file.
    pub name: &'static str,
    /// The one-letter flag.
    pub short: Option<char>,
    /// What it takes.
    pub kind: Kind,
    /// What holds when nobody says anything.
    pub default: &'static str,
    /// One line for the help.
    pub help: &'static str,
    /// Further names of the environment variable, beside `CILIUM_<NAME>`.
    pub variables: &'static [&'static str],
    /// Further names as the key of a ConfigMap.
    pub keys: &'static [&'static str],
}

/// An option of Cilium 1.4 whose feature is not there.
#[derive(Debug)]
pub struct Absent {
    /// Its name in 1.4.
    pub name: &'static str,
    /// What it takes in 1.4.
    pub kind: Kind,
    /// Values that say nothing but what is the case here.
    pub accepted: &'static [&'static str],
    /// What is missing, or what to do instead.
    pub missing: &'static str,
}

/// The environment variable of an option, as 1.4 derives it.
pub fn variable(name: &str) -> String {
    format!("CILIUM_{}", name.to_ascii_uppercase().replace('-', "_"))
}
