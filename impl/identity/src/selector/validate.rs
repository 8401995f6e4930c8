// SPDX-License-Identifier: Apache-2.0
//! What Kubernetes calls a valid label selector, with the path of what is not.

use std::collections::BTreeMap;

use super::wire::{RawExpression, RawSelector};
use super::{EndpointSelector, Expression, Operator, SelectorKey};

/// The longest name and value of a Kubernetes label, in bytes.
const NAME_MAX: usize = 63;
/// The longest prefix (a DNS subdomain) of a Kubernetes label's key, in bytes.
const PREFIX_MAX: usize = 253;

/// Why a selector is refused. `path` is the field inside the selector: `matchExpressions[0].values`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The key is no label key.
    #[error("{path}: {key:?} is not a label key: {reason}")]
    Key {
        /// Field.
        path: String,
        /// As written.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The value is no label value.
    #[error("{path}: {value:?} is not a label value: {reason}")]
    Value {
        /// Field.
        path: String,
        /// As written.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two keys are the same once each has its source.
    #[error("{path}: {key:?} is given twice, with different values")]
    Twice {
        /// Field.
        path: String,
        /// The key, with its source.
        key: String,
    },
    /// `In` or `NotIn` without values.
    #[error("{path}: at least one value must be given when operator is In or NotIn")]
    NoValues {
        /// Field.
        path: String,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("{path}: no value may be given when operator is Exists or DoesNotExist")]
    Values {
        /// Field.
        path: String,
    },
    /// Some other word.
    #[error("{path}: {operator:?} is not one of In, NotIn, Exists, DoesNotExist")]
    Operator {
        /// Field.
        path: String,
        /// As written.
        operator: String,
    },
}

/// Checks a selector as written; `read_key` says how its keys are to be understood.
pub(super) fn selector(
    raw: RawSelector,
    read_key: impl Fn(&str) -> SelectorKey,
) -> Result<EndpointSelector, SelectorError> {
    let mut match_labels: BTreeMap<SelectorKey, Box<str>> = BTreeMap::new();
    for (text, value) in raw.match_labels.unwrap_or_default() {
        let path = || format!("matchLabels[{text:?}]");
        let key = checked_key(read_key(&text), &text, path)?;
        let value = checked_value(&value, path)?;
        if match_labels.get(&key).is_some_and(|before| *before != value) {
            return Err(SelectorError::Twice { path: path(), key: key.to_string() });
        }
        match_labels.insert(key, value);
    }
    let match_expressions = raw
        .match_expressions
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .map(|(at, raw)| expression(at, raw, &read_key))
        .collect::<Result<_, _>>()?;
    Ok(EndpointSelector { match_labels, match_expressions })
}

fn expression(
    at: usize,
    raw: RawExpression,
    read_key: &impl Fn(&str) -> SelectorKey,
) -> Result<Expression, SelectorError> {
    let path = |field: &str| format!("matchExpressions[{at}].{field}");
    let key = checked_key(read_key(&raw.key), &raw.key, || path("key"))?;
    let values = raw.values.unwrap_or_default();
    let operator = match raw.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => return Err(SelectorError::NoValues { path: path("values") }),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            return Err(SelectorError::Values { path: path("values") });
        }
        "In" => Operator::In(checked_values(at, &values)?),
        "NotIn" => Operator::NotIn(checked_values(at, &values)?),
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        _ => return Err(SelectorError::Operator { path: path("operator"), operator: raw.operator }),
    };
    Ok(Expression { key, operator })
}

fn checked_values(at: usize, values: &[String]) -> Result<Vec<Box<str>>, SelectorError> {
    let check =
        |(n, value): (usize, &String)| checked_value(value, || format!("matchExpressions[{at}].values[{n}]"));
    values.iter().enumerate().map(check).collect()
}

fn checked_key(
    key: SelectorKey,
    text: &str,
    path: impl Fn() -> String,
) -> Result<SelectorKey, SelectorError> {
    match source_fault(key.source().as_str()).or_else(|| key_fault(key.key())) {
        None => Ok(key),
        Some(reason) => Err(SelectorError::Key { path: path(), key: text.to_owned(), reason }),
    }
}

fn checked_value(value: &str, path: impl Fn() -> String) -> Result<Box<str>, SelectorError> {
    let reason = match value {
        "" => return Ok("".into()),
        _ if value.len() > NAME_MAX => "it is longer than 63 characters",
        _ if !is_name(value) => {
            "it may hold letters, digits, '-', '_' and '.', and must begin and end with a letter or digit"
        }
        _ => return Ok(value.into()),
    };
    Err(SelectorError::Value { path: path(), value: value.to_owned(), reason })
}

/// The source precedes the key with a dot, so it can hold none.
fn source_fault(source: &str) -> Option<&'static str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (source.is_empty() || !source.chars().all(fits))
        .then_some("its source may hold letters, digits, '-' and '_'")
}

fn key_fault(key: &str) -> Option<&'static str> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    match prefix {
        Some("") => return Some("nothing stands before the '/'"),
        Some(prefix) if prefix.len() > PREFIX_MAX => {
            return Some("the part before '/' is longer than 253 characters");
        }
        Some(prefix) if !prefix.split('.').all(is_dns_label) => {
            return Some("the part before '/' must be a DNS name in lower case");
        }
        _ => {}
    }
    match name {
        "" => Some("it has no name"),
        _ if name.contains('/') => Some("it may hold one '/' only"),
        _ if name.len() > NAME_MAX => Some("its name is longer than 63 characters"),
        _ if !is_name(name) => Some(
            "its name may hold letters, digits, '-', '_' and '.', and must begin and end with a letter or digit",
        ),
        _ => None,
    }
}

fn is_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_dns_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}
