// SPDX-License-Identifier: Apache-2.0
//! `-o`: for people or for programs.

use std::str::FromStr;

use clap::Args;
use serde::Serialize;

use crate::CliError;
use crate::jsonpath::{JsonPath, JsonPathError};
use crate::session::Session;

/// What each command has that prints a value.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OutputArguments {
    /// json, or jsonpath='{.path.to[0].field}'
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// For programs.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    /// All of it.
    Json,
    /// Parts of it.
    Path(JsonPath),
}

/// No such format.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("{0:?} is not a format: write json or jsonpath='{{.path}}'")]
    Unknown(String),
    #[error(transparent)]
    Path(#[from] JsonPathError),
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text.split_once('=') {
            None if text == "json" => Ok(Self::Json),
            Some(("jsonpath", path)) => Ok(Self::Path(path.parse()?)),
            _ => Err(FormatError::Unknown(text.to_owned())),
        }
    }
}

impl OutputArguments {
    /// Prints a value for programs; `false` if people should read it.
    pub fn print<T: Serialize + ?Sized>(
        &self,
        value: &T,
        session: &mut Session<'_>,
    ) -> Result<bool, CliError> {
        match &self.output {
            None => return Ok(false),
            Some(Format::Json) => print_json(value, session)?,
            Some(Format::Path(path)) => {
                let value = serde_json::to_value(value).map_err(std::io::Error::from)?;
                let text = path.apply(&value).map_err(|error| CliError::Failed(error.to_string()))?;
                session.line(text)?;
            }
        }
        Ok(true)
    }

    /// As [`Self::print`], for commands that print JSON to people too.
    pub fn print_or_json<T: Serialize + ?Sized>(
        &self,
        value: &T,
        session: &mut Session<'_>,
    ) -> Result<(), CliError> {
        if !self.print(value, session)? {
            print_json(value, session)?;
        }
        Ok(())
    }
}

fn print_json<T: Serialize + ?Sized>(value: &T, session: &mut Session<'_>) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
    session.line(text)
}
