// SPDX-License-Identifier: Apache-2.0
//! Objects out of a file of YAML documents or of JSON.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

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
    let mut documents = Vec::new();
    each_document(text, |index, document| {
        documents.push((index, document));
        Ok::<_, ParseError>(())
    })?;
    documents.sort_by_key(|(index, _)| *index);
    Ok(documents.into_iter().map(|(_, document)| document).collect())
}

/// As [`documents`], one by one with their places in the text, from 0: of a JSON list there is never more than one object in
/// memory, except for those that leave it to the list to say their kind.
///
/// # Errors
/// As [`documents`]; or what `visit` says first.
pub fn each_document<E: From<ParseError>>(
    text: &str,
    mut visit: impl FnMut(usize, Value) -> Result<(), E>,
) -> Result<(), E> {
    if text.len() > MAX_DOCUMENTS_BYTES {
        return Err(too_many("bytes", text.len(), MAX_DOCUMENTS_BYTES).into());
    }
    if text.trim_start().starts_with('{') {
        return in_object(text, visit);
    }
    let read =
        if text.trim_start().starts_with('[') { vec![from_json_text::<Value>(text)?] } else { yaml(text)? };
    for (index, document) in read.into_iter().flat_map(items).enumerate() {
        within(index)?;
        visit(index, document)?;
    }
    Ok(())
}

fn too_many(what: &'static str, found: usize, limit: usize) -> ParseError {
    ParseError::TooMany { path: ".".into(), what, found, limit }
}

/// Whether there may be an object in this place.
fn within(index: usize) -> Result<(), ParseError> {
    if index < MAX_DOCUMENTS { Ok(()) } else { Err(too_many("objects", index + 1, MAX_DOCUMENTS)) }
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
    items.iter_mut().for_each(|item| say_kind(item, &kind, version.as_ref()));
    items
}

/// An object of a list of one kind is of that kind, unless it says another.
fn say_kind(item: &mut Value, kind: &str, version: Option<&Value>) {
    if let Some(item) = item.as_object_mut().filter(|_| !kind.is_empty()) {
        item.entry("kind").or_insert_with(|| kind.into());
        item.entry("apiVersion").or_insert_with(|| version.cloned().unwrap_or_default());
    }
}

/// A JSON object, which may be a list. Lists are written with `items` before `kind`.
fn in_object<E: From<ParseError>>(
    text: &str,
    visit: impl FnMut(usize, Value) -> Result<(), E>,
) -> Result<(), E> {
    let mut stream = Stream { visit, failed: None, fields: Map::new(), listed: None, held: Vec::new() };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Fields(&mut stream).deserialize(&mut json).and_then(|()| json.end());
    let Stream { mut visit, failed, fields, listed, held } = stream;
    if let Some(error) = failed {
        return Err(error);
    }
    read.map_err(|error| ParseError::Syntax { format: "JSON", reason: error.to_string() })?;
    if listed.is_none() {
        return visit(0, Value::Object(fields));
    }
    let Some(kind) = fields.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"))
    else {
        let reason = "only an object whose kind ends with List has items".into();
        return Err(ParseError::Schema { path: "items".into(), reason }.into());
    };
    for (index, mut item) in held {
        say_kind(&mut item, kind, fields.get("apiVersion"));
        visit(index, item)?;
    }
    Ok(())
}

/// What was read of an object that may be a list.
struct Stream<F, E> {
    visit: F,
    failed: Option<E>,
    /// Its fields but `items`.
    fields: Map<String, Value>,
    /// How many items it had so far, if it has any.
    listed: Option<usize>,
    /// Items that wait for the list's kind.
    held: Vec<(usize, Value)>,
}

impl<F: FnMut(usize, Value) -> Result<(), E>, E: From<ParseError>> Stream<F, E> {
    fn item(&mut self, item: Value) -> Result<(), E> {
        let index = self.listed.unwrap_or_default();
        within(index)?;
        self.listed = Some(index + 1);
        if ["kind", "apiVersion"].iter().all(|field| item.get(field).is_some()) {
            return (self.visit)(index, item);
        }
        self.held.push((index, item));
        Ok(())
    }
}

struct Fields<'a, F, E>(&'a mut Stream<F, E>);

impl<'de, F: FnMut(usize, Value) -> Result<(), E>, E: From<ParseError>> DeserializeSeed<'de>
    for Fields<'_, F, E>
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(usize, Value) -> Result<(), E>, E: From<ParseError>> Visitor<'de> for Fields<'_, F, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                map.next_value_seed(Items(self.0))?;
            } else {
                let value = map.next_value()?;
                self.0.fields.insert(key, value);
            }
        }
        Ok(())
    }
}

struct Items<'a, F, E>(&'a mut Stream<F, E>);

impl<'de, F: FnMut(usize, Value) -> Result<(), E>, E: From<ParseError>> DeserializeSeed<'de>
    for Items<'_, F, E>
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(usize, Value) -> Result<(), E>, E: From<ParseError>> Visitor<'de> for Items<'_, F, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_unit<R: Error>(self) -> Result<(), R> {
        self.0.listed.get_or_insert_default();
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<(), S::Error> {
        self.0.listed.get_or_insert_default();
        while let Some(item) = items.next_element()? {
            if let Err(error) = self.0.item(item) {
                self.0.failed = Some(error);
                return Err(S::Error::custom("an object is refused"));
            }
        }
        Ok(())
    }
}
