// SPDX-License-Identifier: Apache-2.0
//! Running a CNI plugin by the protocol: environment and JSON in, a result or an error in JSON out.
//! Specification: <https://www.cni.dev/docs/spec/>, version 1.0.0.

mod result;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use netlink::{NetNs, NetNsError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use result::{AddResult, Dns, Interface, Ip, PluginFailure, Route, VersionResult};

use crate::tool::{self, Finished, ToolError, one_line};

/// The version of the protocol that configurations ask for.
pub const CNI_VERSION: &str = "1.0.0";

/// How long a plugin may take for one command.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where plugins are looked for when `CNI_PATH` does not say.
const DIRECTORIES: [&str; 2] = ["/opt/cni/bin", "/usr/lib/cni"];

/// What went wrong with a plugin.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// There is no such plugin.
    #[error(
        "CNI plugin {plugin} is not in {searched} (apt install containernetworking-plugins, or set CNI_PATH)"
    )]
    NotInstalled {
        /// Its name.
        plugin: String,
        /// Where it was looked for.
        searched: String,
    },
    /// The plugin said that it failed.
    #[error("CNI {command} by {plugin}: {failure}")]
    Plugin {
        /// Its name.
        plugin: String,
        /// The command.
        command: &'static str,
        /// What it said.
        failure: PluginFailure,
    },
    /// It said something that is neither a result nor an error of the protocol.
    #[error("CNI {command} by {plugin}: {reason}; it ended with {status} and said {said:?}")]
    Malformed {
        /// Its name.
        plugin: String,
        /// The command.
        command: &'static str,
        /// What is wrong.
        reason: String,
        /// How it ended.
        status: String,
        /// Its output, shortened.
        said: String,
    },
    /// It could not be run, or hung.
    #[error("CNI {command} by {plugin}: {source}")]
    Run {
        /// Its name.
        plugin: String,
        /// The command.
        command: &'static str,
        /// Why.
        source: ToolError,
    },
    /// The node's namespace.
    #[error(transparent)]
    NetNs(#[from] NetNsError),
}

/// Directories in which plugins are.
#[derive(Clone, Debug)]
pub struct PluginPath(Vec<PathBuf>);

impl PluginPath {
    /// `CNI_PATH` of the environment, then where distributions put them.
    pub fn from_environment() -> Self {
        let named = std::env::var_os("CNI_PATH").unwrap_or_default();
        let named = std::env::split_paths(&named).filter(|dir| !dir.as_os_str().is_empty());
        Self(named.chain(DIRECTORIES.map(PathBuf::from)).collect())
    }

    /// These directories.
    pub fn new(directories: Vec<PathBuf>) -> Self {
        Self(directories)
    }

    /// The plugin of this name.
    ///
    /// # Errors
    /// [`CniError::NotInstalled`].
    pub fn find(&self, plugin: &str) -> Result<PathBuf, CniError> {
        let is_name = !plugin.is_empty() && !plugin.contains('/') && plugin != "." && plugin != "..";
        self.0
            .iter()
            .map(|dir| dir.join(plugin))
            .find(|path| is_name && path.is_file())
            .ok_or_else(|| CniError::NotInstalled { plugin: plugin.into(), searched: self.join(" ") })
    }

    fn join(&self, separator: &str) -> String {
        self.0.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(separator)
    }
}

/// A network configuration: what a plugin gets on its standard input.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    plugin: String,
    json: Map<String, Value>,
}

impl NetworkConfig {
    /// A configuration of network `name` for `plugin`, with the plugin's own `settings` (an object).
    pub fn new(name: &str, plugin: &str, settings: Value) -> Self {
        let mut json = match settings {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        for (key, value) in [("cniVersion", CNI_VERSION), ("name", name), ("type", plugin)] {
            json.insert(key.into(), value.into());
        }
        Self { plugin: plugin.into(), json }
    }

    fn text(&self, previous: Option<&Value>) -> Vec<u8> {
        let mut json = self.json.clone();
        if let Some(previous) = previous {
            json.insert("prevResult".into(), previous.clone());
        }
        Value::Object(json).to_string().into_bytes()
    }
}

/// Which container a command is about.
#[derive(Clone, Debug)]
pub struct Container {
    /// `CNI_CONTAINERID`.
    pub id: String,
    /// `CNI_NETNS`: path of its namespace.
    pub netns: PathBuf,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// `CNI_ARGS`: keys and values.
    pub args: Vec<(String, String)>,
}

/// Runs plugins on one node.
#[derive(Debug)]
pub struct Runtime {
    path: PluginPath,
    node: NetNs,
}

/// An interface that a plugin has made.
#[derive(Debug)]
pub struct Attachment {
    runtime: Runtime,
    config: NetworkConfig,
    container: Container,
    raw: Value,
    /// The plugin's result.
    pub result: AddResult,
}

impl Runtime {
    /// Runs the plugins of `path` in the node's namespace.
    pub fn new(path: PluginPath, node: NetNs) -> Self {
        Self { path, node }
    }

    /// ADD: attaches a container. When it fails, DEL is called, as the specification asks of a runtime.
    ///
    /// # Errors
    /// [`CniError`].
    pub fn add(self, config: NetworkConfig, container: Container) -> Result<Attachment, CniError> {
        let raw: Value = match self.call("ADD", &config, Some(&container), None) {
            Ok(raw) => raw,
            Err(error) => {
                // The first error is the one to report; a container that was never attached may be refused here.
                let _ = self.delete(&config, &container, None);
                return Err(error);
            }
        };
        match AddResult::deserialize(&raw) {
            Ok(result) => Ok(Attachment { runtime: self, config, container, raw, result }),
            Err(e) => {
                let _ = self.delete(&config, &container, None);
                Err(CniError::Malformed {
                    plugin: config.plugin,
                    command: "ADD",
                    reason: format!("its result is not one of version {CNI_VERSION}: {e}"),
                    status: "success".into(),
                    said: one_line(raw.to_string().as_bytes()),
                })
            }
        }
    }

    /// DEL: detaches a container. Calling it again, or without a result of ADD, is no error.
    ///
    /// # Errors
    /// [`CniError`].
    pub fn delete(
        &self,
        config: &NetworkConfig,
        container: &Container,
        previous: Option<&Value>,
    ) -> Result<(), CniError> {
        self.silent("DEL", config, container, previous)
    }

    /// VERSION: which versions of the protocol a plugin speaks.
    ///
    /// # Errors
    /// [`CniError`].
    pub fn version(&self, plugin: &str) -> Result<VersionResult, CniError> {
        let config = NetworkConfig::new("version", plugin, Value::Null);
        self.call("VERSION", &config, None, None)
    }

    fn silent(
        &self,
        command: &'static str,
        config: &NetworkConfig,
        container: &Container,
        previous: Option<&Value>,
    ) -> Result<(), CniError> {
        let ran = self.run(command, config, Some(container), previous)?;
        if ran.status.success() { Ok(()) } else { Err(failure(&config.plugin, command, &ran)) }
    }

    fn call<T: DeserializeOwned>(
        &self,
        command: &'static str,
        config: &NetworkConfig,
        container: Option<&Container>,
        previous: Option<&Value>,
    ) -> Result<T, CniError> {
        let ran = self.run(command, config, container, previous)?;
        parse(&config.plugin, command, &ran)
    }

    fn run(
        &self,
        command: &'static str,
        config: &NetworkConfig,
        container: Option<&Container>,
        previous: Option<&Value>,
    ) -> Result<Finished, CniError> {
        let mut program = Command::new(self.path.find(&config.plugin)?);
        program.env("CNI_COMMAND", command).env("CNI_PATH", self.path.join(":")).current_dir("/");
        if let Some(container) = container {
            let args = container.args.iter().map(|(key, value)| format!("{key}={value}"));
            program
                .env("CNI_CONTAINERID", &container.id)
                .env("CNI_NETNS", &container.netns)
                .env("CNI_IFNAME", &container.interface)
                .env("CNI_ARGS", args.collect::<Vec<_>>().join(";"));
        }
        let input = config.text(previous);
        // A child is born into the namespace of the thread that spawns it.
        self.node.run(|| tool::run(&mut program, &input, DEADLINE))?.map_err(|source| CniError::Run {
            plugin: config.plugin.clone(),
            command,
            source,
        })
    }
}

impl Attachment {
    /// CHECK: asks the plugin whether everything is as ADD left it.
    ///
    /// # Errors
    /// [`CniError::Plugin`] when it is not.
    pub fn check(&self) -> Result<(), CniError> {
        self.runtime.silent("CHECK", &self.config, &self.container, Some(&self.raw))
    }

    /// DEL with the result of ADD. Calling it twice is no error.
    ///
    /// # Errors
    /// [`CniError`].
    pub fn delete(&self) -> Result<(), CniError> {
        self.runtime.delete(&self.config, &self.container, Some(&self.raw))
    }
}

fn parse<T: DeserializeOwned>(plugin: &str, command: &'static str, ran: &Finished) -> Result<T, CniError> {
    if !ran.status.success() {
        return Err(failure(plugin, command, ran));
    }
    serde_json::from_slice(&ran.stdout)
        .map_err(|e| malformed(plugin, command, ran, format!("its result does not parse: {e}")))
}

fn failure(plugin: &str, command: &'static str, ran: &Finished) -> CniError {
    match serde_json::from_slice::<PluginFailure>(&ran.stdout) {
        Ok(failure) => CniError::Plugin { plugin: plugin.into(), command, failure },
        Err(e) => malformed(plugin, command, ran, format!("it failed without an error of the protocol: {e}")),
    }
}

fn malformed(plugin: &str, command: &'static str, ran: &Finished, reason: String) -> CniError {
    let said = if ran.stdout.is_empty() { &ran.stderr } else { &ran.stdout };
    CniError::Malformed {
        plugin: plugin.into(),
        command,
        reason,
        status: ran.status.to_string(),
        said: one_line(said),
    }
}

/// Path of the state that the `host-local` plugin keeps, inside a directory of ours.
pub fn host_local(directory: &Path, subnet: ipnet::Ipv4Net, routes: &[&str]) -> Value {
    let routes: Vec<Value> = routes.iter().map(|dst| serde_json::json!({ "dst": dst })).collect();
    serde_json::json!({
        "type": "host-local",
        "dataDir": directory,
        "ranges": [[{ "subnet": subnet.to_string() }]],
        "routes": routes,
    })
}

#[cfg(test)]
mod tests;
