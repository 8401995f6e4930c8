// SPDX-License-Identifier: Apache-2.0
//! A directory of Kubernetes objects as a source: policies, pods, namespaces, services and their endpoints in
//! YAML or JSON (`--policy-dir`).
//!
//! A file counts as a whole: when it cannot be read, what it held before stays, also over a restart of the agent, and
//! status says why. Names that begin
//! with a dot and names with other endings than `.yaml`, `.yml` and `.json` are editors' and are not looked at.

mod copies;
mod directory;
mod objects;
#[cfg(test)]
mod tests;
mod watch;

pub use objects::{Found, ObjectError, objects};
pub use watch::{FilesError, Watcher};
