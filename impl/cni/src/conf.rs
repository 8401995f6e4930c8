// SPDX-License-Identifier: Apache-2.0
//! The network configuration: what the runtime sends on standard input.

use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::invocation::{container_id, interface_name};
use crate::version::Version;

/// The largest configuration that is read. A list of a thousand valid attachments is a tenth of it.
pub const MAX_BYTES: u64 = 1 << 20;
/// The longest name of a network: see [`crate::attachment::Alias`].
pub const MAX_NAME: usize = 96;
/// The smallest MTU that IPv4 knows (RFC 791).
const MIN_MTU: u32 = 68;

/// Keys that speak to the runtime only, or are its own notes.
const FOR_THE_RUNTIME: [&str; 6] =
    ["type", "cniVersions", "disableCheck", "disableGC", "loadOnlyInlinedPlugins", "capabilities"];

/// A label that the runtime gives a container (`args.cni.labels`, CNI's CONVENTIONS.md).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerLabel {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
}

/// Name resolution, handed on to the runtime as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// Servers, by priority.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains to search.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// An attachment that GC must keep.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ValidAttachment {
    /// Its container.
    #[serde(rename = "containerID")]
    pub container: String,
    /// Its interface.
    #[serde(rename = "ifname")]
    pub interface: String,
}

/// A configuration that has been checked.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// The version of the protocol.
    pub version: Version,
    /// The network.
    pub name: String,
    /// The MTU of the pod's interface, bytes; without one the agent's.
    pub mtu: Option<u32>,
    /// The agent's socket; without one that of `CILIUM_SOCK` or the default.
    pub socket: Option<PathBuf>,
    /// `args.cni.labels`.
    pub labels: Vec<ContainerLabel>,
    /// Name resolution.
    pub dns: Dns,
    /// The result of ADD, as it was sent.
    pub previous: Option<Value>,
    /// What GC must keep.
    pub valid: Option<Vec<ValidAttachment>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    #[serde(default)]
    cni: CniArgs,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CniArgs {
    #[serde(default)]
    labels: Vec<ContainerLabel>,
}

fn config(field: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Config { field: field.into(), reason: reason.into() }
}

fn unsupported(field: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Unsupported { field: field.into(), reason: reason.into() }
}

/// Reads standard input, not more than [`MAX_BYTES`] of it.
///
/// # Errors
/// [`Error::Io`], [`Error::Decode`] when there is more.
pub fn read(input: &mut dyn Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let io = |source| Error::Io { what: "read standard input", source };
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::Decode(format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

/// The JSON object that a configuration is.
///
/// # Errors
/// [`Error::Decode`].
pub fn decode(bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::Decode("it is not a JSON object".into())),
        Err(e) if bytes.trim_ascii().is_empty() => {
            Err(Error::Decode(format!("standard input is empty: {e}")))
        }
        Err(e) => Err(Error::Decode(e.to_string())),
    }
}

/// The version that a configuration asks for; without one 0.1.0 (specification 0.2.0).
///
/// # Errors
/// [`Error::Decode`], [`Error::Version`].
pub fn version(map: &Map<String, Value>) -> Result<Version, Error> {
    match map.get("cniVersion") {
        None => Ok(Version::V0_1_0),
        Some(Value::String(text)) if text.is_empty() => Ok(Version::V0_1_0),
        Some(Value::String(text)) => {
            Version::parse(text).ok_or_else(|| Error::Version { found: text.clone() })
        }
        Some(other) => Err(Error::Decode(format!("cniVersion: {other} is not a string"))),
    }
}

/// One field as its type; the error names the place inside.
fn field<T: DeserializeOwned>(name: &str, value: Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let path = e.path().to_string();
        let field = if path == "." { name.to_owned() } else { format!("{name}.{path}") };
        let reason = e.inner().to_string();
        if reason.starts_with("unknown field") { unsupported(field, reason) } else { config(field, reason) }
    })
}

/// Whether a value says nothing, as Go writes fields that are not set.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

impl NetworkConfig {
    /// Checks every field. A field that is not known, or that asks for what is not there, is refused.
    ///
    /// # Errors
    /// [`Error::Version`], [`Error::Config`], [`Error::Unsupported`].
    pub fn parse(map: Map<String, Value>) -> Result<Self, Error> {
        let mut found = Self {
            version: version(&map)?,
            name: String::new(),
            mtu: None,
            socket: None,
            labels: Vec::new(),
            dns: Dns::default(),
            previous: None,
            valid: None,
        };
        for (key, value) in map {
            found.take(&key, value)?;
        }
        network_name(&found.name)?;
        Ok(found)
    }

    fn take(&mut self, key: &str, value: Value) -> Result<(), Error> {
        match key {
            "cniVersion" => {}
            "name" => self.name = field(key, value)?,
            "mtu" => self.mtu = mtu(field(key, value)?)?,
            "socket-path" => self.socket = Some(socket(field(key, value)?)?),
            "prevResult" => self.previous = Some(value).filter(|value| !value.is_null()),
            "cni.dev/valid-attachments" | "cni.dev/attachments" => self.valid = Some(valid(key, value)?),
            _ if FOR_THE_RUNTIME.contains(&key) => {}
            _ if is_nothing(&value) => {}
            "args" => self.labels = labels(field::<Args>(key, value)?.cni.labels)?,
            "dns" => self.dns = field(key, value)?,
            "ipam" => return Err(unsupported(key, "the agent gives addresses: remove it")),
            "ipMasq" => return Err(unsupported(key, "the agent masquerades (--masquerade): remove it")),
            "runtimeConfig" => return Err(runtime_config(&value)),
            _ => return Err(unsupported(key, "unknown field")),
        }
        Ok(())
    }
}

fn runtime_config(value: &Value) -> Error {
    let first = value.as_object().and_then(|map| map.keys().next());
    match first {
        Some(key) => unsupported(
            format!("runtimeConfig.{key}"),
            "this capability is not supported: remove it from \"capabilities\"",
        ),
        None => config("runtimeConfig", "is not an object"),
    }
}

/// What the specification asks of a network's name.
fn network_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(config("name", "is missing"));
    }
    if name.len() > MAX_NAME {
        return Err(config(
            "name",
            format!("is {} bytes long, at most {MAX_NAME} are supported", name.len()),
        ));
    }
    container_id(name).map_err(|reason| config("name", reason))
}

fn mtu(mtu: u32) -> Result<Option<u32>, Error> {
    match mtu {
        // As Go writes a number that is not set.
        0 => Ok(None),
        _ if (MIN_MTU..=65535).contains(&mtu) => Ok(Some(mtu)),
        _ => Err(config("mtu", format!("{mtu} is not between {MIN_MTU} and 65535"))),
    }
}

fn socket(path: PathBuf) -> Result<PathBuf, Error> {
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(config("socket-path", format!("{} is not an absolute path", path.display())))
    }
}

fn labels(labels: Vec<ContainerLabel>) -> Result<Vec<ContainerLabel>, Error> {
    for (n, label) in labels.iter().enumerate() {
        if label.key.is_empty() || label.key.contains(['=', ';']) {
            let reason = format!("{:?} is not the key of a label", label.key);
            return Err(config(format!("args.cni.labels[{n}].key"), reason));
        }
    }
    Ok(labels)
}

fn valid(key: &str, value: Value) -> Result<Vec<ValidAttachment>, Error> {
    // Go writes a list without elements as null.
    let list: Option<Vec<ValidAttachment>> = field(key, value)?;
    let list = list.unwrap_or_default();
    for (n, attachment) in list.iter().enumerate() {
        let place = |name| format!("{key}[{n}].{name}");
        container_id(&attachment.container).map_err(|reason| config(place("containerID"), reason))?;
        interface_name(&attachment.interface).map_err(|reason| config(place("ifname"), reason))?;
    }
    Ok(list)
}

#[cfg(test)]
mod tests;
