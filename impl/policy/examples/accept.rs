// SPDX-License-Identifier: Apache-2.0
//! Says of each policy file in a directory whether it is accepted: `cargo run -p policy --example accept -- DIR`.
//!
//! `accepted` with the number of rules, `refused` with the feature that is missing, or `ERROR`. Exits with 1 if there is
//! an error. What is no policy (a Pod beside it in a file) is skipped, and said so.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use policy::{ParseError, Rule, kubernetes, parse_rules_json};

/// What became of a file.
enum Outcome {
    Accepted { rules: usize, skipped: BTreeMap<String, usize> },
    NoPolicy { skipped: BTreeMap<String, usize> },
    Refused(ParseError),
    Error(String),
}

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: accept DIR");
        return ExitCode::from(2);
    };
    let mut files = Vec::new();
    if let Err(error) = collect(Path::new(&directory), &mut files) {
        eprintln!("{}: {error}", directory.display());
        return ExitCode::from(2);
    }
    files.sort();
    let mut counts = [0usize; 4];
    for file in &files {
        let name = file.strip_prefix(&directory).unwrap_or(file).display();
        let (at, text) = match outcome(file) {
            Outcome::Accepted { rules, skipped } => {
                (0, format!("accepted {name}: {rules} rules{}", listed(&skipped)))
            }
            Outcome::Refused(error) => (1, format!("refused  {name}: {error}")),
            Outcome::NoPolicy { skipped } => (2, format!("skipped  {name}: no policy{}", listed(&skipped))),
            Outcome::Error(error) => (3, format!("ERROR    {name}: {error}")),
        };
        counts[at] += 1;
        println!("{text}");
    }
    let [accepted, refused, skipped, errors] = counts;
    println!(
        "{accepted} accepted, {refused} refused for a missing feature, {skipped} without policy, {errors} errors"
    );
    if files.is_empty() {
        eprintln!("{}: no .json, .yaml or .yml file", directory.display());
    }
    ExitCode::from(u8::from(errors > 0 || files.is_empty()))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|end| ["json", "yaml", "yml"].iter().any(|known| end == *known))
        {
            files.push(path);
        }
    }
    Ok(())
}

fn outcome(file: &Path) -> Outcome {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return Outcome::Error(error.to_string()),
    };
    match read(&text) {
        Ok((rules, skipped)) if rules.is_empty() => Outcome::NoPolicy { skipped },
        Ok((rules, skipped)) => match written_again(&rules) {
            Ok(()) => Outcome::Accepted { rules: rules.len(), skipped },
            Err(reason) => Outcome::Error(reason),
        },
        Err(error @ ParseError::Unsupported { .. }) => Outcome::Refused(error),
        Err(error) => Outcome::Error(error.to_string()),
    }
}

/// Objects of Kubernetes, or rules as `policy import` reads them.
fn read(text: &str) -> Result<(Vec<Rule>, BTreeMap<String, usize>), ParseError> {
    let documents = kubernetes::documents(text)?;
    let is_object = |document: &serde_json::Value| document.get("kind").is_some();
    if !documents.iter().any(is_object) {
        return Ok((parse_rules_json(text)?, BTreeMap::new()));
    }
    let (mut rules, mut skipped) = (Vec::new(), BTreeMap::new());
    for document in &documents {
        match kubernetes::policy_of(document)? {
            Some(policy) => rules.extend(policy.rules),
            None => {
                let kind = document.get("kind").and_then(|kind| kind.as_str()).unwrap_or("?");
                *skipped.entry(kind.to_owned()).or_default() += 1;
            }
        }
    }
    Ok((rules, skipped))
}

/// What was accepted must be the same rules when it is written and read again.
fn written_again(rules: &[Rule]) -> Result<(), String> {
    let text = serde_json::to_string(rules).map_err(|error| format!("not writable: {error}"))?;
    match parse_rules_json(&text) {
        Ok(again) if again == rules => Ok(()),
        Ok(_) => Err("other rules when written and read again".to_owned()),
        Err(error) => Err(format!("not readable when written: {error}")),
    }
}

fn listed(skipped: &BTreeMap<String, usize>) -> String {
    let kinds: Vec<String> = skipped.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if kinds.is_empty() { String::new() } else { format!(" (skipped: {})", kinds.join(", ")) }
}
