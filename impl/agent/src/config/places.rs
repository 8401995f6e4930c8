// SPDX-License-Identifier: Apache-2.0
//! Files, directories and sockets.

use std::path::{Path, PathBuf};

use super::{ConfigError, Settings};

/// The longest path that a unix socket can have: `sun_path` of unix(7), without its final zero.
const SOCKET_PATH_LIMIT: usize = 107;

/// Files, directories and sockets of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// What the agent must find again.
    pub state_dir: PathBuf,
    /// The REST API.
    pub socket_path: PathBuf,
    /// The event stream.
    pub monitor_socket: PathBuf,
    /// The BPF file system.
    pub bpf_root: PathBuf,
    /// Policies, pods, namespaces and services as files.
    pub policy_dir: Option<PathBuf>,
    /// Whether endpoints of the agent before are taken up.
    pub restore: bool,
}

impl Places {
    pub(super) fn parse(settings: &Settings) -> Result<Self, ConfigError> {
        for name in ["config", "config-dir"] {
            settings.path(name)?;
        }
        let socket_path = settings.required_path("socket-path")?;
        let beside = || socket_path.parent().unwrap_or(Path::new("/")).join("monitor.sock");
        let monitor_socket = settings.path("monitor-socket")?.unwrap_or_else(beside);
        for (name, path) in [("socket-path", &socket_path), ("monitor-socket", &monitor_socket)] {
            if path.as_os_str().len() > SOCKET_PATH_LIMIT {
                let problem = format!("a socket's path can have {SOCKET_PATH_LIMIT} bytes at most");
                return Err(settings.invalid(name, problem));
            }
        }
        if socket_path == monitor_socket {
            return Err(ConfigError::Contradiction(format!(
                "{} and {} name the same socket",
                settings.origin("socket-path"),
                settings.origin("monitor-socket")
            )));
        }
        let policy_dir = settings.path("policy-dir")?;
        if policy_dir.as_deref().is_some_and(|dir| !dir.is_dir()) {
            return Err(settings.invalid("policy-dir", "is no directory"));
        }
        Ok(Self {
            state_dir: settings.required_path("state-dir")?,
            bpf_root: settings.path("bpf-root")?.unwrap_or_else(|| "/sys/fs/bpf".into()),
            restore: settings.switch("restore")?,
            socket_path,
            monitor_socket,
            policy_dir,
        })
    }
}
