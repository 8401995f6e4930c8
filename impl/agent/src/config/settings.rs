// SPDX-License-Identifier: Apache-2.0
//! The options' texts with where each comes from: what flags, environment, directory and file said, the first of them
//! outweighing the later.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use super::absent::ABSENT;
use super::error::ConfigError;
use super::option::Spec;
use super::table::OPTIONS;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything. Shown as the flag that would change it.
    Default(&'static str),
    /// The command line.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(String),
    /// A file of `--config-dir`.
    Key(PathBuf),
    /// A line of `--config`.
    File(PathBuf, String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(name) | Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(name),
            Self::Key(path) => write!(f, "{}", path.display()),
            Self::File(path, key) => write!(f, "{}: {key}", path.display()),
        }
    }
}

/// What one place says of one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The value; more than one only for lists.
    pub values: Vec<String>,
    /// Where.
    pub origin: Origin,
}

/// What one place says.
#[derive(Debug, Default)]
pub struct Layer(BTreeMap<&'static str, Said>);

impl Layer {
    /// Adds what is said of an option.
    ///
    /// # Errors
    /// [`ConfigError::Twice`] when this place has said it by another name.
    pub fn say(
        &mut self,
        name: &'static str,
        values: Vec<String>,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        match self.0.insert(name, Said { values, origin: origin.clone() }) {
            Some(before) => Err(ConfigError::Twice { first: before.origin, second: origin }),
            None => Ok(()),
        }
    }

    /// The one value of an option, if this place says one.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.values.first().map(String::as_str)
    }
}

/// The options as they hold.
#[derive(Debug)]
pub struct Settings {
    values: BTreeMap<&'static str, Said>,
    /// Options that were asked for. A test compares them with the table, so that no option does nothing.
    read: RefCell<BTreeSet<&'static str>>,
}

impl Settings {
    /// Lays the layers over each other, the first outweighing the later, and refuses what is not there.
    ///
    /// # Errors
    /// [`ConfigError::Absent`].
    pub fn new(layers: &[Layer]) -> Result<Self, ConfigError> {
        let said = |name| layers.iter().find_map(|layer| layer.0.get(name));
        for absent in ABSENT {
            let Some(Said { values, origin }) = said(absent.name) else { continue };
            // By what it means, so that "False" is no other value than "false".
            let harmless = |value: &String| {
                value.is_empty()
                    || absent.accepted.iter().any(|accepted| {
                        accepted.eq_ignore_ascii_case(value)
                            || switch(accepted).is_some_and(|on| switch(value) == Some(on))
                    })
            };
            if !values.iter().all(harmless) {
                return Err(ConfigError::Absent {
                    at: origin.clone(),
                    value: values.join(","),
                    missing: absent.missing,
                    accepted: absent.accepted,
                });
            }
        }
        let values = OPTIONS
            .iter()
            .map(|spec| (spec.name, said(spec.name).cloned().unwrap_or_else(|| default(spec))))
            .collect();
        Ok(Self { values, read: RefCell::default() })
    }

    fn said(&self, name: &'static str) -> &Said {
        self.read.borrow_mut().insert(name);
        // Every name in the code is in the table: parsing the defaults, a test, reads them all.
        &self.values[name]
    }

    /// An error about an option.
    pub fn invalid(&self, name: &'static str, problem: impl Into<String>) -> ConfigError {
        let Said { values, origin } = self.said(name);
        ConfigError::Invalid { at: origin.clone(), value: values.join(","), problem: problem.into() }
    }

    /// How the value of an option was set, for messages that name two options.
    pub fn origin(&self, name: &'static str) -> &Origin {
        &self.said(name).origin
    }

    /// The text; empty if there is none.
    pub fn text(&self, name: &'static str) -> &str {
        self.said(name).values.first().map_or("", String::as_str)
    }

    /// A path, or `None` where the text is empty.
    ///
    /// # Errors
    /// A path that depends on where the agent was started.
    pub fn path(&self, name: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        if !text.starts_with('/') {
            return Err(self.invalid(name, "must be an absolute path"));
        }
        Ok(Some(PathBuf::from(text)))
    }

    /// A path that must be there.
    ///
    /// # Errors
    /// As [`Settings::path`], or no path at all.
    pub fn required_path(&self, name: &'static str) -> Result<PathBuf, ConfigError> {
        self.path(name)?.ok_or_else(|| self.invalid(name, "must not be empty"))
    }

    /// A list.
    pub fn list(&self, name: &'static str) -> &[String] {
        &self.said(name).values
    }

    /// A switch, written as Go's `strconv.ParseBool` takes it, since manifests for 1.4 do.
    ///
    /// # Errors
    /// Another word.
    pub fn switch(&self, name: &'static str) -> Result<bool, ConfigError> {
        switch(self.text(name)).ok_or_else(|| self.invalid(name, "must be true or false"))
    }

    /// A whole number in a range.
    ///
    /// # Errors
    /// No number, or one out of the range.
    pub fn number(&self, name: &'static str, range: RangeInclusive<u32>) -> Result<u32, ConfigError> {
        self.text(name).parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            self.invalid(name, format!("must be a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// A value, or `None` where the text is the word that stands for "find out".
    ///
    /// # Errors
    /// A text that is neither.
    pub fn value_unless<T: FromStr>(
        &self,
        name: &'static str,
        find_out: &str,
        expected: &str,
    ) -> Result<Option<T>, ConfigError> {
        let text = self.text(name);
        if text == find_out {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| self.invalid(name, format!("must be {expected}")))
    }

    /// One of some words, without regard to case.
    ///
    /// # Errors
    /// Another word.
    pub fn word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let text = self.text(name);
        words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|&(_, value)| value).ok_or_else(
            || {
                let words: Vec<_> = words.iter().map(|&(word, _)| word).collect();
                self.invalid(name, format!("must be one of {}", words.join(", ")))
            },
        )
    }

    /// All options with their texts and whether somebody set them, in the order of their names.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, String, &Origin)> {
        self.values.iter().map(|(name, said)| (*name, said.values.join(","), &said.origin))
    }

    /// Options that nobody has asked for.
    #[cfg(test)]
    pub fn unread(&self) -> Vec<&'static str> {
        self.values.keys().filter(|name| !self.read.borrow().contains(*name)).copied().collect()
    }
}

fn default(spec: &Spec) -> Said {
    let values = if spec.default.is_empty() { Vec::new() } else { vec![spec.default.to_owned()] };
    Said { values, origin: Origin::Default(spec.name) }
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
