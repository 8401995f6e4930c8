// SPDX-License-Identifier: Apache-2.0
//! The four places that say something: command line, environment, mounted ConfigMap, YAML file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

use super::absent::ABSENT;
use super::error::ConfigError;
use super::option::{Kind, variable};
use super::settings::{Layer, Origin};
use super::table::OPTIONS;

/// Largest `--config` file and largest value in `--config-dir` that are read, bytes.
const FILE_LIMIT: u64 = 1 << 20;
/// Files that `--config-dir` may hold.
const DIRECTORY_LIMIT: usize = 1024;

/// Each option that is known, with its kind and names as a key, whether its feature is there or not.
fn known() -> impl Iterator<Item = (&'static str, Kind, &'static [&'static str])> {
    OPTIONS
        .iter()
        .map(|spec| (spec.name, spec.kind, spec.keys))
        .chain(ABSENT.iter().map(|absent| (absent.name, absent.kind, &[] as &[_])))
}

/// The option that a key of a ConfigMap or of a file names.
fn option_of_key(key: &str, at: impl FnOnce() -> String) -> Result<(&'static str, Kind), ConfigError> {
    known()
        .find(|(name, _, keys)| *name == key || keys.contains(&key))
        .map(|(name, kind, _)| (name, kind))
        .ok_or_else(|| ConfigError::Unknown { at: at(), name: key.into(), similar: similar(key) })
}

/// The option whose name differs least, if by no more than two letters.
fn similar(key: &str) -> Option<&'static str> {
    OPTIONS
        .iter()
        .map(|spec| (distance(spec.name, key), spec.name))
        .min()
        .and_then(|(distance, name)| (distance <= 2).then_some(name))
}

/// Levenshtein's distance.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(128).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// What a text that is not the command line says: lists are split, an empty text says nothing.
fn split(kind: Kind, text: &str) -> Vec<String> {
    match kind {
        Kind::List(_) => text
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect(),
        _ if text.is_empty() => Vec::new(),
        _ => vec![text.to_owned()],
    }
}

/// The command with all flags; those whose feature is not there are hidden.
pub fn command() -> Command {
    let switch_or_value = |arg: Arg, kind: Kind| match kind {
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Value(placeholder) => arg.value_name(placeholder),
        Kind::List(placeholder) => arg.value_name(placeholder).action(ArgAction::Append).value_delimiter(','),
    };
    let works = OPTIONS.iter().map(|spec| {
        let default = if spec.default.is_empty() { String::new() } else { format!(" [{}]", spec.default) };
        let arg = Arg::new(spec.name).long(spec.name).help(format!("{}{default}", spec.help));
        let arg = if let Some(short) = spec.short { arg.short(short) } else { arg };
        switch_or_value(arg, spec.kind)
    });
    let absent = ABSENT
        .iter()
        .map(|absent| switch_or_value(Arg::new(absent.name).long(absent.name).hide(true), absent.kind));
    Command::new("cilium-agent")
        .about("Keeps this node's pods connected and their policies enforced")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(
            "Each option may also be given as CILIUM_<NAME> in the environment, as a file <name> in --config-dir, \
             or as a key of the YAML file --config; the first of these outweighs the later.",
        )
        .args_override_self(true)
        .args(works)
        .args(absent)
}

/// What the command line says.
///
/// # Errors
/// [`ConfigError::Flags`].
pub fn flags(matches: &ArgMatches) -> Result<Layer, ConfigError> {
    let mut layer = Layer::default();
    for (name, _, _) in known() {
        if let Some(values) = matches.get_many::<String>(name) {
            layer.say(name, values.cloned().collect(), Origin::Flag(name))?;
        }
    }
    Ok(layer)
}

/// What the environment says. Variables that merely begin with `CILIUM_` are returned, not refused: Kubernetes puts
/// `CILIUM_…_SERVICE_HOST` and the like there for each service whose name begins so.
///
/// # Errors
/// [`ConfigError::Twice`]; a value that is no text.
pub fn environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Layer, Vec<String>), ConfigError> {
    let mut layer = Layer::default();
    let mut unknown = Vec::new();
    for (variable_name, value) in variables {
        let Some(variable_name) = variable_name.to_str() else { continue };
        let option = known().find(|(name, _, _)| variable(name) == variable_name).map(|(n, k, _)| (n, k));
        let alias = || OPTIONS.iter().find(|spec| spec.variables.contains(&variable_name));
        let Some((name, kind)) = option.or_else(|| alias().map(|spec| (spec.name, spec.kind))) else {
            if variable_name.starts_with("CILIUM_") {
                unknown.push(variable_name.to_owned());
            }
            continue;
        };
        let origin = Origin::Variable(variable_name.to_owned());
        let Some(value) = value.to_str() else {
            let value = value.to_string_lossy().into();
            return Err(ConfigError::Invalid { at: origin, value, problem: "is not UTF-8".into() });
        };
        let values = split(kind, value);
        if !values.is_empty() {
            layer.say(name, values, origin)?;
        }
    }
    unknown.sort();
    Ok((layer, unknown))
}

/// What a mounted ConfigMap says: a file per key. The kubelet's own entries begin with `..`.
///
/// # Errors
/// A directory that cannot be read, an unknown key.
pub fn directory(path: &Path) -> Result<Layer, ConfigError> {
    const FLAG: &str = "--config-dir";
    let refused = |e: std::io::Error| ConfigError::read(FLAG, path, &e);
    let mut layer = Layer::default();
    let mut entries: Vec<_> = fs::read_dir(path)
        .map_err(refused)?
        .take(DIRECTORY_LIMIT + 1)
        .collect::<Result<_, _>>()
        .map_err(refused)?;
    if entries.len() > DIRECTORY_LIMIT {
        let problem = format!("holds more than {DIRECTORY_LIMIT} files: is it the right directory?");
        return Err(ConfigError::Read { flag: FLAG, path: path.into(), problem });
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let file = entry.path();
        let name = entry.file_name();
        let key = name.to_string_lossy();
        if key.starts_with("..") {
            continue;
        }
        let (name, kind) = option_of_key(&key, || file.display().to_string())?;
        let values = split(kind, read(FLAG, &file)?.trim());
        if !values.is_empty() {
            layer.say(name, values, Origin::Key(file))?;
        }
    }
    Ok(layer)
}

/// What a YAML file says.
///
/// # Errors
/// A file that cannot be read, is no YAML mapping, or has an unknown key.
pub fn file(path: &Path) -> Result<Layer, ConfigError> {
    const FLAG: &str = "--config";
    let malformed = |problem: String| ConfigError::Read { flag: FLAG, path: path.into(), problem };
    let text = read(FLAG, path)?;
    let document: Value = serde_saphyr::from_str(&text)
        .map_err(|e| malformed(e.to_string().lines().next().unwrap_or("is no YAML").to_owned()))?;
    let entries = match document {
        Value::Null => return Ok(Layer::default()),
        Value::Object(entries) => entries,
        _ => return Err(malformed("must be a mapping of options to values".into())),
    };
    let mut layer = Layer::default();
    for (key, value) in entries {
        let at = || format!("{}: {key}", path.display());
        let (name, kind) = option_of_key(&key, at)?;
        let origin = Origin::File(path.into(), key.clone());
        let values = texts(kind, &value).ok_or_else(|| ConfigError::Invalid {
            at: origin.clone(),
            value: value.to_string(),
            problem: "must be a single value, or a list or mapping of them where the option takes several"
                .into(),
        })?;
        if !values.is_empty() {
            layer.say(name, values, origin)?;
        }
    }
    Ok(layer)
}

/// The texts of a value in YAML. A mapping is a list of `key=value`.
fn texts(kind: Kind, value: &Value) -> Option<Vec<String>> {
    match (kind, value) {
        (_, Value::Null) => Some(Vec::new()),
        (Kind::List(_), Value::Array(values)) => values.iter().map(scalar).collect(),
        (Kind::List(_), Value::Object(entries)) => {
            entries.iter().map(|(key, value)| Some(format!("{key}={}", scalar(value)?))).collect()
        }
        (_, value) => scalar(value).map(|text| split(kind, &text)),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        _ => None,
    }
}

fn read(flag: &'static str, path: &Path) -> Result<String, ConfigError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LIMIT + 1).read_to_string(&mut text))
        .map_err(|e| ConfigError::read(flag, path, &e))?;
    if text.len() as u64 > FILE_LIMIT {
        let problem = format!("is larger than {FILE_LIMIT} bytes");
        return Err(ConfigError::Read { flag, path: path.into(), problem });
    }
    Ok(text)
}
