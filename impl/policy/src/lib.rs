// SPDX-License-Identifier: Apache-2.0
//! Rules in, [`MapState`] out: which peers and ports each endpoint may talk to.
//!
//! A [`Rule`] is read from the JSON of `policy import` ([`parse_rules_json`]) or from Kubernetes objects
//! ([`kubernetes`]), and checked when it is read. The [`Repository`] keeps rules in order and answers
//! [traces](trace). The [`Resolver`] follows the repository, the identities, the endpoints and the services, and says which entries of
//! which endpoint's policy map change. Everything here is a value: nothing reads a file, a clock or the kernel.

mod enforcement;
mod error;
mod grant;
pub mod kubernetes;
mod map_state;
mod named_port;
mod object;
mod path;
mod repository;
mod resolver;
mod rule;
mod selector_cache;
mod selector_index;
mod services;
pub mod trace;

pub use enforcement::{Enforcement, EnforcementMode, UnknownEnforcementMode};
pub use error::{Feature, ParseError};
pub use map_state::{Direction, MapState, NOT_A_RULE, PolicyDelta, PolicyEntry, PolicyKey};
pub use named_port::{NamedPorts, PortName};
pub use repository::{Repository, Revision, StoredRule};
pub use resolver::{
    Endpoint, MAX_ENTRIES, Options, PrefixDelta, Resolver, UnresolvedPort, UnresolvedService,
};
pub use rule::{
    CidrRule, L4Ports, MAX_EXCEPT, MAX_IMPORT_BYTES, MAX_IMPORT_RULES, MAX_PEERS, MAX_PORTS, PeerRule,
    PortProtocol, PortRule, Rule, ServiceRule, ServiceSelector, parse_rules_json,
};
pub use services::{ExternalService, MAX_SERVICE_ADDRESSES, ServiceName, Services};
