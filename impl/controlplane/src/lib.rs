// SPDX-License-Identifier: Apache-2.0
//! Events in, table changes out: endpoints, addresses, identities, ipcache, policy, services, restore.
//!
//! Pure and synchronous: no file, no socket, no clock. The agent's control thread owns one [`ControlPlane`], gives it every
//! [`Event`] and carries out the [`Effects`]: [`Deltas`] for the targets, replies for who asked, notices for the log.
//!
//! # Start
//! Until every source of [`Config::sources`] told all that it knows, facts gather, requests wait, and nothing is told to the
//! targets: what an earlier run left in the kernel goes on working. Then everything is decided at once, in an order that
//! does not depend on the order of arrival: prefixes and endpoints get the numbers that they had, rules come in the order
//! of their files' names, waiting requests are handled. [`Notice::Synced`] says that what [`ControlPlane::desired`] does not
//! name may be pruned.
//!
//! # Revisions
//! After the start an event that changes rows makes one [`Deltas`] with the next revision. The agent may merge those that
//! its targets did not take yet ([`Deltas::merge`]). [`Event::Realized`] says up to which revision the targets are as
//! desired, and names every row that is not. A reply that says "done" is sent then and not before. A row that fails makes
//! its endpoint not-ready, and status shows it, until a later `Realized` does not name it any more. A new endpoint that
//! fails is refused and goes.
//!
//! # Who decides what
//! - Numbers and addresses are given in turn, so that one given back is given again as late as possible. Those of an
//!   endpoint that goes are free when its end is realized.
//! - Of rules the API and each file own their own: a file's new content replaces that file's rules. Rules of the API are
//!   kept in [`NodeState`], since nothing else has them.
//! - An address is an endpoint's before it is the node's, before it is of a prefix that a rule names, before it is the
//!   world's.
//! - An endpoint's labels are its maker's, its pod's object's, those of its namespace and cluster, and its user's. Without
//!   any it is `reserved:init`. A pod's object that goes leaves its labels. New labels are a new identity at once: the 25
//!   seconds for which Cilium 1.4 keeps the old one are for other nodes to learn the new one, and here no other node does.
//! - Services, slices and pods' `hostPort`s are those of files; what becomes of them is told in [`loadbalancer`]. A pod has
//!   its `hostPort`s as long as it has both an object and an endpoint here. Services of the API are kept in [`NodeState`];
//!   at the start they come before those of files. The id of a frontend is given again when its end is realized.
//!
//! - A rule's `toServices` means the endpoints of services of files that have no selector, whether load balancing is done
//!   for them or not ([`policy::ServiceRule`]). Their addresses are prefixes that a rule names, so that one that an endpoint
//!   or the node has stays that one's: such a rule lets nobody reach a pod.
//!
//! # Limits
//! Requests that wait: 4096, more are refused as busy. Log of an endpoint: 256 entries, the oldest goes. Addresses given
//! from one range: its first 1,048,576. Endpoints: 65,535. Those of services are in [`loadbalancer`]; [`Status::services_refused`] lists what is
//! beyond. Addresses that an entry of `toServices` means: 16,384; [`Status::unresolved_services`] lists what has more.

mod config;
mod deltas;
mod endpoint;
mod event;
mod external;
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
pub use view::{
    EndpointLabels, EndpointPolicy, EndpointView, IdentityView, IpamView, PoolView, ServiceView, Status,
};
