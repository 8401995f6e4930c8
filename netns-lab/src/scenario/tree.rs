// SPDX-License-Identifier: Apache-2.0
//! The directory of scenarios: `<area>/<behaviour>.yaml`, and nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::{Scenario, ScenarioError};

/// Why the scenarios of a directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file or directory cannot be read.
    #[error("read {path}: {source}", path = path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something that is no scenario lies there.
    #[error("{path} does not belong here: scenarios are <area>/<behaviour>.yaml", path = .0.display())]
    Stray(PathBuf),
    /// A file is not understood.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A file names a subject that does not exist.
    #[error("{file}: there is no subject {subject:?}")]
    Subject {
        /// The file.
        file: String,
        /// The name.
        subject: String,
    },
    /// There is none.
    #[error("there are no scenarios in {path}", path = .0.display())]
    Empty(PathBuf),
    /// No scenario and no subject has such a name.
    #[error("no scenario and no subject has a name with {0} in it; --list shows all")]
    NoMatch(String),
}

/// The text of a scenario that [`load`] has read.
///
/// # Errors
/// [`TreeError::Io`].
pub fn text(directory: &Path, id: &str) -> Result<String, TreeError> {
    let path = directory.join(format!("{id}.yaml"));
    fs::read_to_string(&path).map_err(io_error(&path))
}

/// Reads all scenarios of a directory. The first of each pair is `<area>/<behaviour>`, by which they are sorted.
/// `known` tells whether a subject exists.
///
/// # Errors
/// The first that is found wrong: a directory is right as a whole or not at all.
pub fn load(directory: &Path, known: impl Fn(&str) -> bool) -> Result<Vec<(String, Scenario)>, TreeError> {
    let mut scenarios = Vec::new();
    for area in entries(directory)? {
        if !area.is_dir() {
            return Err(TreeError::Stray(area));
        }
        for path in entries(&area)? {
            let id = id(&area, &path).ok_or_else(|| TreeError::Stray(path.clone()))?;
            let text = fs::read_to_string(&path).map_err(io_error(&path))?;
            let file = path.display().to_string();
            let scenario = Scenario::parse(&file, &text)?;
            if let Some(subject) = scenario.subjects.iter().find(|subject| !known(subject)) {
                return Err(TreeError::Subject { file, subject: subject.clone() });
            }
            scenarios.push((id, scenario));
        }
    }
    if scenarios.is_empty() {
        return Err(TreeError::Empty(directory.into()));
    }
    Ok(scenarios)
}

/// The pairs of scenario and subject that one of the filters is a part of the name of; without filters, all.
///
/// # Errors
/// [`TreeError::NoMatch`] for a filter that matches nothing: it is a slip of the pen.
pub fn select<'a>(
    scenarios: &'a [(String, Scenario)],
    filters: &[String],
) -> Result<Vec<(&'a str, &'a Scenario, &'a str)>, TreeError> {
    let all: Vec<_> = scenarios
        .iter()
        .flat_map(|(id, scenario)| scenario.subjects.iter().map(move |s| (id.as_str(), scenario, s.as_str())))
        .collect();
    let matches = |filter: &String, (id, _, subject): &(&str, &Scenario, &str)| {
        id.contains(filter.as_str()) || subject.contains(filter.as_str())
    };
    if let Some(filter) = filters.iter().find(|filter| !all.iter().any(|one| matches(filter, one))) {
        return Err(TreeError::NoMatch(format!("{filter:?}")));
    }
    Ok(all
        .into_iter()
        .filter(|one| filters.is_empty() || filters.iter().any(|filter| matches(filter, one)))
        .collect())
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> TreeError {
    move |source| TreeError::Io { path: path.into(), source }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, TreeError> {
    let mut paths = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map_err(io_error(directory))?;
    paths.sort();
    Ok(paths)
}

fn id(area: &Path, path: &Path) -> Option<String> {
    let scenario = path.is_file() && path.extension().is_some_and(|e| e == "yaml");
    let (area, behaviour) = (area.file_name()?.to_str()?, path.file_stem()?.to_str()?);
    scenario.then(|| format!("{area}/{behaviour}"))
}
