// SPDX-License-Identifier: Apache-2.0
//! Events in, table changes out: endpoints, addresses, identities, ipcache, policy, restore.
//!
//! Pure and synchronous: no file, no socket, no clock. The agent's control thread owns one [`ControlPlane`], gives it every
//! [`Event`] and carries out the [`Effects`].

mod config;
mod deltas;
mod endpoint;
mod event;
mod files;
mod identities;
mod ipam;
mod ipcache;
mod options;
mod plane;
mod reply;
mod rules;
mod table;
mod view;

pub use config::{Config, ConfigError, PodRange};
pub use deltas::{Deltas, Desired, EndpointRow, EndpointState, IpcacheRow, NodeState};
pub use endpoint::{EndpointRef, EndpointRefError, LogCode, LogEntry, State};
pub use event::{
    ConfigPatch, EndpointPatch, EndpointRequest, Event, Failure, Family, IpamRequest, LabelChange, NamedPort,
    Namespace, Objects, Pod, Row, SourceName, Ticket, Timestamp,
};
pub use ipam::IpamError;
pub use options::{EndpointOption, EndpointOptions, OptionError};
pub use plane::ControlPlane;
pub use reply::{Answer, Effects, Notice, Refusal, RefusalKind, Reply};
pub use table::{Delta, Table};
pub use view::{EndpointLabels, EndpointPolicy, EndpointView, IdentityView, IpamView, PoolView, Status};
