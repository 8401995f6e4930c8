// SPDX-License-Identifier: Apache-2.0
//! Objects out of a file of YAML documents or of JSON.

use serde_json::Value;

use crate::error::ParseError;
use crate::rule::from_json_text;

/// The longest text, in bytes: services and endpoints of a large cluster in one list.
pub const MAX_DOCUMENTS_BYTES: usize = 64 << 20;
/// How many objects one text may hold.
pub const MAX_DOCUMENTS: usize = 65_536;

/// The objects of a text: YAML documents, or one JSON value. Objects of lists (`kind: List`, `kind: PodList`) come one
/// by one; empty documents do not come at all.
///
/// # Errors
/// [`ParseError::Syntax`] if it is neither, [`ParseError::TooMany`] beyond [`MAX_DOCUMENTS_BYTES`] and [`MAX_DOCUMENTS`].
pub fn documents(text: &str) -> Result<Vec<Value>, ParseError> {
    let within = |what, found, limit| {
        if found <= limit {
            return Ok(());
        }
        Err(ParseError::TooMany { path: ".".into(), what, found, limit })
    };
    within("bytes", text.len(), MAX_DOCUMENTS_BYTES)?;
    let read = if text.trim_start().starts_with(['{', '[']) {
        vec![from_json_text::<Value>(text)?]
    } else {
        yaml(text)?
    };
    let objects: Vec<Value> = read.into_iter().flat_map(items).collect();
    within("objects", objects.len(), MAX_DOCUMENTS)?;
    Ok(objects)
}

fn yaml(text: &str) -> Result<Vec<Value>, ParseError> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let full = error.without_snippet().to_string();
        ParseError::Syntax { format: "YAML", reason: full.lines().next().unwrap_or_default().to_owned() }
    })
}

/// A list's objects, or the object itself. Objects of a list of one kind need not say their kind.
fn items(mut object: Value) -> Vec<Value> {
    let kind = object.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"));
    let Some(kind) = kind.map(str::to_owned) else {
        return vec![object];
    };
    let version = object.get("apiVersion").cloned();
    let Some(Value::Array(mut items)) = object.get_mut("items").map(Value::take) else {
        return vec![object];
    };
    for item in items.iter_mut().filter_map(Value::as_object_mut).filter(|_| !kind.is_empty()) {
        item.entry("kind").or_insert_with(|| kind.clone().into());
        item.entry("apiVersion").or_insert_with(|| version.clone().unwrap_or_default());
    }
    items
}
