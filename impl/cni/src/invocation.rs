// SPDX-License-Identifier: Apache-2.0
//! What the runtime says by the environment.

use std::path::PathBuf;

use crate::error::Error;

/// The longest container id: the alias on the node's interface holds it with the names of network and interface.
pub const MAX_CONTAINER_ID: usize = 128;
/// The longest name of an interface (`IFNAMSIZ` less the zero at its end).
const MAX_INTERFACE: usize = 15;
/// The longest `CNI_ARGS` that is looked at.
const MAX_ARGS: usize = 16 * 1024;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Attach a container.
    Add,
    /// Detach it.
    Del,
    /// Is it attached as ADD left it?
    Check,
    /// Which versions of the protocol?
    Version,
    /// Remove what is not in a list.
    Gc,
    /// Can ADD be served?
    Status,
}

/// The environment, asked by name. Tests give their own.
pub trait Environment {
    /// The value of a variable; `None` when it is not set.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The environment of this process. A value that is not UTF-8 has replacement characters, which no check lets pass.
#[derive(Debug)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

/// `K8S_*` of `CNI_ARGS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesArgs {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub pod: String,
}

/// Which interface of which container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// `CNI_CONTAINERID`.
    pub id: String,
    /// `CNI_NETNS`; `None` when DEL does not know it any more.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// What Kubernetes says of it.
    pub kubernetes: KubernetesArgs,
}

fn wrong(name: &'static str, reason: impl Into<String>) -> Error {
    Error::Environment { name, reason: reason.into() }
}

fn set(environment: &dyn Environment, name: &str) -> Option<String> {
    environment.variable(name).filter(|value| !value.is_empty())
}

fn required(environment: &dyn Environment, name: &'static str) -> Result<String, Error> {
    set(environment, name).ok_or_else(|| wrong(name, "is not set"))
}

impl Command {
    /// Of `CNI_COMMAND`.
    ///
    /// # Errors
    /// [`Error::Environment`].
    pub fn read(environment: &dyn Environment) -> Result<Self, Error> {
        let name = "CNI_COMMAND";
        let text = set(environment, name).ok_or_else(|| {
            wrong(name, "is not set: this is a CNI plugin, a container runtime runs it (https://www.cni.dev)")
        })?;
        match text.as_str() {
            "ADD" => Ok(Self::Add),
            "DEL" => Ok(Self::Del),
            "CHECK" => Ok(Self::Check),
            "VERSION" => Ok(Self::Version),
            "GC" => Ok(Self::Gc),
            "STATUS" => Ok(Self::Status),
            _ => Err(wrong(name, format!("{text:?} is not one of ADD, DEL, CHECK, VERSION, GC, STATUS"))),
        }
    }
}

impl Container {
    /// Of the variables that `command` needs.
    ///
    /// # Errors
    /// [`Error::Environment`].
    pub fn read(environment: &dyn Environment, command: Command) -> Result<Self, Error> {
        let id = required(environment, "CNI_CONTAINERID")?;
        container_id(&id).map_err(|reason| wrong("CNI_CONTAINERID", reason))?;
        let netns = match set(environment, "CNI_NETNS") {
            // The specification lets DEL come without one.
            None if command == Command::Del => None,
            None => return Err(wrong("CNI_NETNS", "is not set")),
            Some(path) => Some(PathBuf::from(path)),
        };
        let interface = required(environment, "CNI_IFNAME")?;
        interface_name(&interface).map_err(|reason| wrong("CNI_IFNAME", reason))?;
        let args = set(environment, "CNI_ARGS").unwrap_or_default();
        let kubernetes = KubernetesArgs::parse(&args).map_err(|reason| wrong("CNI_ARGS", reason))?;
        Ok(Self { id, netns, interface, kubernetes })
    }
}

/// What the specification asks of a container id, and that it is not too long.
pub fn container_id(id: &str) -> Result<(), String> {
    let begins = id.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    let word = id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if !begins || !word {
        return Err(format!(
            "{id:?} must begin with a letter or digit and hold only letters, digits, '_', '.' and '-'"
        ));
    }
    if id.len() > MAX_CONTAINER_ID {
        return Err(format!("is {} bytes long, at most {MAX_CONTAINER_ID} are supported", id.len()));
    }
    Ok(())
}

/// What Linux and the specification ask of an interface's name.
pub fn interface_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name == "." || name == ".." {
        return Err(format!("{name:?} is not a name"));
    }
    if name.len() > MAX_INTERFACE {
        return Err(format!("{name:?} is longer than {MAX_INTERFACE} bytes"));
    }
    if !name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%')) {
        return Err(format!("{name:?} must hold only visible ASCII characters other than '/', ':' and '%'"));
    }
    Ok(())
}

impl KubernetesArgs {
    /// Of `KEY=VALUE;KEY=VALUE`. As in the reference implementation, a key that is not known is refused unless
    /// `IgnoreUnknown` is true.
    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_ARGS {
            return Err(format!("is longer than {MAX_ARGS} bytes"));
        }
        let mut found = Self::default();
        let mut unknown = None;
        let mut ignore_unknown = false;
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not KEY=VALUE"))?;
            match key {
                "K8S_POD_NAMESPACE" => found.namespace = kubernetes_name(key, value)?,
                "K8S_POD_NAME" => found.pod = kubernetes_name(key, value)?,
                // Which container holds the pod's namespaces, and which life of the pod this is: the container id
                // says both.
                "K8S_POD_INFRA_CONTAINER_ID" | "K8S_POD_UID" => {}
                "IgnoreUnknown" => ignore_unknown = boolean(key, value)?,
                _ => unknown = unknown.or(Some(key)),
            }
        }
        match unknown {
            Some(key) if !ignore_unknown => {
                Err(format!("unknown key {key:?} (IgnoreUnknown=1 lets it pass)"))
            }
            _ if found.namespace.is_empty() != found.pod.is_empty() => {
                Err("K8S_POD_NAMESPACE and K8S_POD_NAME go together".into())
            }
            _ => Ok(found),
        }
    }
}

/// Names of Kubernetes are DNS names of at most 253 bytes; podman puts its own names there, which have more letters.
fn kubernetes_name(key: &str, value: &str) -> Result<String, String> {
    let word = value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if value.is_empty() || value.len() > 253 || !word {
        return Err(format!("{key}={value:?} is not a name"));
    }
    Ok(value.to_owned())
}

fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("{key}={value:?} is not 1, true, 0 or false")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    impl Environment for BTreeMap<&str, &str> {
        fn variable(&self, name: &str) -> Option<String> {
            self.get(name).map(|value| (*value).to_owned())
        }
    }

    fn complete() -> BTreeMap<&'static str, &'static str> {
        BTreeMap::from([
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/run/netns/c1"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;X=1"),
        ])
    }

    #[test]
    fn a_complete_environment_is_read() {
        let container = Container::read(&complete(), Command::Add).unwrap();
        assert_eq!((container.id.as_str(), container.interface.as_str()), ("c1", "eth0"));
        assert_eq!(container.kubernetes, KubernetesArgs { namespace: "default".into(), pod: "web".into() });
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (name, value, says) in [
            ("CNI_CONTAINERID", "", "CNI_CONTAINERID: is not set"),
            ("CNI_CONTAINERID", "../x", "must begin with"),
            ("CNI_CONTAINERID", "a/b", "must begin with"),
            ("CNI_NETNS", "", "CNI_NETNS: is not set"),
            ("CNI_IFNAME", "", "CNI_IFNAME: is not set"),
            ("CNI_IFNAME", "..", "is not a name"),
            ("CNI_IFNAME", "sixteen-bytes-xx", "longer than 15"),
            ("CNI_IFNAME", "a b", "visible ASCII"),
            ("CNI_IFNAME", "a/b", "visible ASCII"),
            ("CNI_IFNAME", "eth%d", "visible ASCII"),
            ("CNI_IFNAME", "été", "visible ASCII"),
            ("CNI_ARGS", "K8S_POD_NAME", "CNI_ARGS: \"K8S_POD_NAME\" is not KEY=VALUE"),
            ("CNI_ARGS", "X=1", "unknown key \"X\""),
            ("CNI_ARGS", "IgnoreUnknown=maybe", "IgnoreUnknown"),
            ("CNI_ARGS", "K8S_POD_NAME=web", "go together"),
            ("CNI_ARGS", "K8S_POD_NAME=we/b;K8S_POD_NAMESPACE=x", "K8S_POD_NAME="),
        ] {
            let mut environment = complete();
            environment.insert(name, value);
            let error = Container::read(&environment, Command::Add).unwrap_err();
            assert_eq!(error.code(), 4, "{name}={value}");
            assert!(error.to_string().contains(says), "{name}={value}: {error}");
        }
    }

    #[test]
    fn a_container_id_that_fits_into_no_alias_is_refused() {
        assert!(container_id(&"a".repeat(MAX_CONTAINER_ID)).is_ok());
        assert!(container_id(&"a".repeat(MAX_CONTAINER_ID + 1)).is_err());
    }

    #[test]
    fn only_del_may_come_without_a_namespace() {
        let mut environment = complete();
        environment.remove("CNI_NETNS");
        assert_eq!(Container::read(&environment, Command::Del).unwrap().netns, None);
        for command in [Command::Add, Command::Check] {
            assert_eq!(Container::read(&environment, command).unwrap_err().code(), 4);
        }
    }

    #[test]
    fn commands_that_do_not_exist_are_refused() {
        for (text, says) in [("", "is not set"), ("add", "\"add\" is not one of")] {
            let error = Command::read(&BTreeMap::from([("CNI_COMMAND", text)])).unwrap_err();
            assert!(error.code() == 4 && error.to_string().contains(says), "{error}");
        }
    }
}
