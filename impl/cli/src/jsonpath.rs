// SPDX-License-Identifier: Apache-2.0
//! `jsonpath='…'` as in kubectl, as far as it goes: text, and paths in braces of fields (`.name`, `['name']`), indices
//! (`[0]`, `[-1]`) and `[*]`. Filters, ranges, slices, unions and `..` are refused.

use std::str::FromStr;

use serde_json::Value;

/// A template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonPath {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Path(Vec<Step>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(i64),
    All,
}

/// Why a template is refused or finds nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonPathError {
    #[error("jsonpath: {found:?} is not supported: only fields, indices and [*] are")]
    NotSupported { found: String },
    #[error("jsonpath: `{{` without `}}`")]
    Open,
    #[error("jsonpath: nothing is at {step}")]
    Missing { step: String },
}

impl FromStr for JsonPath {
    type Err = JsonPathError;

    fn from_str(template: &str) -> Result<Self, JsonPathError> {
        let (mut parts, mut rest) = (Vec::new(), template);
        while let Some((text, after)) = rest.split_once('{') {
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            let (inside, after) = after.split_once('}').ok_or(JsonPathError::Open)?;
            parts.push(part(inside.trim())?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }
}

/// What is between braces: a path or quoted text.
fn part(inside: &str) -> Result<Part, JsonPathError> {
    if let Some(quoted) = inside.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        return Ok(Part::Text(quoted.replace("\\n", "\n").replace("\\t", "\t")));
    }
    let mut rest = inside.strip_prefix('$').unwrap_or(inside);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = step(rest)?;
        steps.extend(step);
        rest = after;
    }
    Ok(Part::Path(steps))
}

/// The next step and what follows it; no step for the dot that is the whole value.
fn step(rest: &str) -> Result<(Option<Step>, &str), JsonPathError> {
    let unsupported = || JsonPathError::NotSupported { found: rest.to_owned() };
    if let Some(after) = rest.strip_prefix('[') {
        let (inside, after) = after.split_once(']').ok_or_else(unsupported)?;
        let quoted = inside.strip_prefix('\'').and_then(|name| name.strip_suffix('\''));
        let step = match (quoted, inside) {
            (Some(name), _) if !name.contains('\'') => Step::Field(name.to_owned()),
            (_, "*") => Step::All,
            _ => Step::Index(inside.parse().map_err(|_| unsupported())?),
        };
        return Ok((Some(step), after));
    }
    let after = rest.strip_prefix('.').ok_or_else(unsupported)?;
    let end = after.find(['.', '[']).unwrap_or(after.len());
    let (name, after) = after.split_at(end);
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    match name {
        "" if after.is_empty() || after.starts_with('[') => Ok((None, after)),
        "*" => Ok((Some(Step::All), after)),
        name if !name.is_empty() && name.chars().all(plain) => {
            Ok((Some(Step::Field(name.to_owned())), after))
        }
        _ => Err(unsupported()),
    }
}

impl JsonPath {
    /// The text for a value: what several paths or a `[*]` find is joined by spaces, as kubectl does.
    pub fn apply(&self, value: &Value) -> Result<String, JsonPathError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(words) => text.push_str(words),
                Part::Path(steps) => {
                    let found: Vec<String> = find(value, steps)?.into_iter().map(plain).collect();
                    text.push_str(&found.join(" "));
                }
            }
        }
        Ok(text)
    }
}

fn find<'a>(value: &'a Value, steps: &[Step]) -> Result<Vec<&'a Value>, JsonPathError> {
    let mut found = vec![value];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            match (step, value) {
                (Step::Field(name), _) => next.push(value.get(name).ok_or_else(|| missing(step))?),
                (Step::Index(index), Value::Array(values)) => {
                    let index = if *index < 0 { values.len() as i64 + index } else { *index };
                    let at = usize::try_from(index).ok().and_then(|index| values.get(index));
                    next.push(at.ok_or_else(|| missing(step))?);
                }
                (Step::All, Value::Array(values)) => next.extend(values),
                (Step::All, Value::Object(values)) => next.extend(values.values()),
                (Step::Index(_) | Step::All, _) => return Err(missing(step)),
            }
        }
        found = next;
    }
    Ok(found)
}

fn missing(step: &Step) -> JsonPathError {
    let step = match step {
        Step::Field(name) => format!(".{name}"),
        Step::Index(index) => format!("[{index}]"),
        Step::All => "[*]".to_owned(),
    };
    JsonPathError::Missing { step }
}

/// Text without its quotes, all else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(template: &str) -> Result<String, JsonPathError> {
        let value = json!([
            {"id": 7, "status": {"identity": {"labels": ["k8s:app=web", "k8s:x"]}, "policy-enabled": "both"}},
            {"id": 8, "status": {"identity": {"labels": []}, "policy-enabled": "none"}}
        ]);
        template.parse::<JsonPath>()?.apply(&value)
    }

    #[test]
    fn paths_find_fields_indices_and_all() {
        for (template, text) in [
            ("{[0].id}", "7"),
            ("{[-1].id}", "8"),
            ("{[*].id}", "7 8"),
            ("{$[*].id}", "7 8"),
            ("{.[0].id}", "7"),
            ("{[0].status['policy-enabled']}", "both"),
            ("{[0].status.identity.labels}", r#"["k8s:app=web","k8s:x"]"#),
            ("{[0].status.identity.labels[*]}", "k8s:app=web k8s:x"),
            ("{[1].status.identity.labels[*]}", ""),
            ("id={[0].id}{\"\\n\"}", "id=7\n"),
            ("no path", "no path"),
        ] {
            assert_eq!(apply(template), Ok(text.to_owned()), "{template}");
        }
        assert_eq!("{.}".parse::<JsonPath>().unwrap().apply(&json!({"a": 1})), Ok(r#"{"a":1}"#.to_owned()));
    }

    #[test]
    fn what_is_not_there_is_told() {
        for template in ["{[2].id}", "{[-3].id}", "{[0].nothing}", "{.id}", "{[0].id[0]}", "{[0].id[*]}"] {
            assert!(matches!(apply(template), Err(JsonPathError::Missing { .. })), "{template}");
        }
    }

    #[test]
    fn what_is_not_done_right_is_refused() {
        for template in [
            "{range [*]}{.id}{end}",
            "{[?(@.id==7)].id}",
            "{..id}",
            "{[0:1].id}",
            "{[0,1].id}",
            "{['a','b']}",
            "{.a b}",
            "{[0}",
            "{id}",
        ] {
            assert!(matches!(apply(template), Err(JsonPathError::NotSupported { .. })), "{template}");
        }
        assert_eq!(apply("{[0].id"), Err(JsonPathError::Open));
    }
}
