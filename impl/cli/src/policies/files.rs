// SPDX-License-Identifier: Apache-2.0
//! Rules out of files: JSON and YAML, of 1.4's API or of Kubernetes, one by one or whole directories.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use policy::{MAX_IMPORT_BYTES, Rule, kubernetes, parse_rules_json};
use serde_json::Value;

use crate::CliError;
use crate::session::note;

/// Which files of a directory are read.
const ENDINGS: &[&str] = &["json", "policy", "yaml", "yml"];
/// How deep directories may lie in each other.
const MAX_DEPTH: usize = 32;
/// What stands for standard input.
const STANDARD_INPUT: &str = "-";

/// The rules of files and directories.
pub(super) fn rules(paths: &[PathBuf]) -> Result<Vec<Rule>, CliError> {
    let mut rules = Vec::new();
    for path in paths {
        for file in files(path)? {
            let text = read(&file)?;
            let found = rules_of(&text).map_err(|source| CliError::Policy { path: file.clone(), source })?;
            found.notes.iter().for_each(|line| note(&format!("{}: {line}", file.display())));
            rules.extend(found.rules);
        }
    }
    if rules.is_empty() {
        let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(CliError::Failed(format!("there is no policy in {}", paths.join(" "))));
    }
    Ok(rules)
}

/// The file itself, or those of a directory and of the ones below it, by name; hidden ones are left out, as in 1.4.
fn files(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    if path.as_os_str() == STANDARD_INPUT || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut found, mut left) = (Vec::new(), vec![(path.to_owned(), 0)]);
    while let Some((directory, depth)) = left.pop() {
        if depth > MAX_DEPTH {
            let reason = format!("directories lie more than {MAX_DEPTH} deep in each other");
            return Err(CliError::argument(directory.display().to_string(), reason));
        }
        let read = || -> io::Result<Vec<fs::DirEntry>> { fs::read_dir(&directory)?.collect() };
        for entry in read().map_err(|source| CliError::Read { path: directory.clone(), source })? {
            let path = entry.path();
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if path.is_dir() {
                left.push((path, depth + 1));
            } else if ENDINGS.contains(&ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The text, as far as the policy crate would take it.
fn read(path: &Path) -> Result<String, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let reader: Box<dyn Read> = if path.as_os_str() == STANDARD_INPUT {
        Box::new(io::stdin())
    } else {
        Box::new(fs::File::open(path).map_err(failed)?)
    };
    let mut text = String::new();
    // One more than is allowed, so that what is too long is refused and not cut.
    reader.take(MAX_IMPORT_BYTES as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// What one text holds.
#[derive(Debug, Default)]
struct Found {
    rules: Vec<Rule>,
    /// What the user should know.
    notes: Vec<String>,
}

fn rules_of(text: &str) -> Result<Found, policy::ParseError> {
    let mut found = Found::default();
    let documents = kubernetes::documents(text)?;
    for document in documents {
        if document.get("kind").is_none() {
            found.rules.extend(parse_rules_json(&document.to_string())?);
            continue;
        }
        match kubernetes::policy_of(&document)? {
            Some(object) => {
                let name = format!("{} {}/{}", object.kind, object.namespace, object.name);
                found.notes.extend(object.warnings.iter().map(|warning| format!("{name}: {warning}")));
                found.rules.extend(object.rules);
            }
            None => {
                let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default();
                found.notes.push(format!("left out: {kind} is no policy"));
            }
        }
    }
    Ok(found)
}
