// SPDX-License-Identifier: Apache-2.0
//! What comes of an event: changes for the targets, replies to who asked, notices for the log.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use loadbalancer::ApiError;

use crate::deltas::Deltas;
use crate::event::{Failure, SourceName, Ticket};
use crate::options::OptionError;

/// What comes of an event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    /// For the targets, where anything changed.
    pub deltas: Option<Deltas>,
    /// For who asked. Each ticket is answered exactly once, perhaps much later than its event.
    pub replies: Vec<(Ticket, Reply)>,
    /// For the log and the agent.
    pub notices: Vec<Notice>,
}

/// What who asked is told.
pub type Reply = Result<Answer, Refusal>;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The endpoint is there.
    EndpointCreated {
        /// Its number.
        id: u16,
    },
    /// It is done and realized.
    Done,
    /// Addresses were given.
    Addresses {
        /// IPv4.
        ipv4: Option<Ipv4Addr>,
        /// IPv6.
        ipv6: Option<Ipv6Addr>,
    },
    /// Rules were added.
    PolicyAdded {
        /// Of the rules, now.
        revision: u64,
    },
    /// The service of the API is there.
    ServicePut {
        /// Whether it is new.
        created: bool,
    },
    /// Rules were removed.
    PolicyDeleted {
        /// Of the rules, now.
        revision: u64,
        /// How many.
        deleted: usize,
    },
}

/// How a refusal is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// What was asked makes no sense, or is not supported: 400.
    Invalid,
    /// What was asked for is not there: 404.
    NotFound,
    /// It is there already, or is used: 409.
    Conflict,
    /// Nothing is left to give: 502 in 1.4's IPAM, 500 elsewhere.
    Exhausted,
    /// It was accepted and could not be realized: 500.
    Failed,
    /// Too much waits already: 503.
    Busy,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such endpoint.
    #[error("endpoint {0} not found")]
    NoEndpoint(String),
    /// A field makes no sense.
    #[error("{field}: {reason}")]
    Field {
        /// The field of the request, as the API names it.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// Another endpoint has it.
    #[error("{field}: {value} belongs to endpoint {id} already")]
    Duplicate {
        /// The field of the request.
        field: &'static str,
        /// What is there twice.
        value: String,
        /// Who has it.
        id: u16,
    },
    /// The endpoint goes away.
    #[error("endpoint {0} is disconnecting")]
    Disconnecting(u16),
    /// The endpoint was deleted while its maker waited.
    #[error("endpoint {0} was deleted before it was ready")]
    Deleted(u16),
    /// All endpoint numbers are in use.
    #[error("no endpoint id is free: all of 1 to 65535 are in use")]
    NoEndpointId,
    /// No number is left for its labels.
    #[error("no identity for {labels}: {reason}")]
    NoIdentity {
        /// The labels.
        labels: String,
        /// Why.
        reason: String,
    },
    /// An address cannot be had or given back.
    #[error(transparent)]
    Ipam(#[from] crate::ipam::IpamError),
    /// An option cannot be set.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// No rule has the labels.
    #[error("no rule of the API has the labels {0}")]
    NoRule(String),
    /// Only rules of files have the labels.
    #[error("the rules with the labels {labels} come from {file}: change that file")]
    RuleOfFile {
        /// The labels.
        labels: String,
        /// One of the files.
        file: String,
    },
    /// Rules were refused as a whole.
    #[error("policy: {0}")]
    Policy(String),
    /// A service of the API cannot be so.
    #[error(transparent)]
    Service(#[from] ApiError),
    /// No such service of the API.
    #[error("no service of the API has the id {0}")]
    NoService(u16),
    /// What was asked is desired now, and the targets could not do it yet. They go on trying, except for a new endpoint,
    /// which is gone.
    #[error("not realized: {}", list(.0))]
    NotRealized(Vec<Failure>),
    /// Too many requests wait already: for the sources when the agent starts, otherwise for the targets.
    #[error("{0} requests wait already: try again")]
    Busy(usize),
}

fn list(failures: &[Failure]) -> String {
    let texts: Vec<String> = failures.iter().map(|one| format!("{}: {}", one.row, one.reason)).collect();
    texts.join("; ")
}

impl Refusal {
    /// How it is to be understood.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::NoEndpoint(_) | Self::NoRule(_) | Self::NoService(_) => RefusalKind::NotFound,
            Self::Field { .. }
            | Self::Option(_)
            | Self::Policy(_)
            | Self::Service(ApiError::Field { .. }) => RefusalKind::Invalid,
            Self::Service(ApiError::Taken { .. } | ApiError::IdTaken { .. } | ApiError::IdEnds(_)) => {
                RefusalKind::Conflict
            }
            Self::Service(ApiError::Full(_)) => RefusalKind::Exhausted,
            Self::Duplicate { .. } | Self::Disconnecting(_) | Self::RuleOfFile { .. } => {
                RefusalKind::Conflict
            }
            Self::NoEndpointId | Self::NoIdentity { .. } => RefusalKind::Exhausted,
            Self::Ipam(error) => error.kind(),
            Self::NotRealized(_) | Self::Deleted(_) => RefusalKind::Failed,
            Self::Busy(_) => RefusalKind::Busy,
        }
    }
}

/// What the agent should log or do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Every source told all that it knows: what is outside and not in [`crate::ControlPlane::desired`] may be pruned.
    Synced,
    /// A source told all that it knows; others did not yet.
    Waiting(Vec<SourceName>),
    /// An endpoint of an earlier run is not had again.
    RestoreFailed {
        /// The endpoint; 0: the node's file.
        id: u16,
        /// Why.
        reason: String,
    },
    /// An endpoint is created, is not ready, is ready (when it is new, when it was not ready, and when somebody asked for
    /// its regeneration) or is gone. Other changes of state are in its log.
    EndpointState {
        /// The endpoint.
        id: u16,
        /// Its new state; none: it is gone.
        state: Option<crate::State>,
        /// Why, readable.
        reason: String,
    },
    /// No number is left for labels, or for a prefix. What needs it goes without until one is free.
    NoIdentity {
        /// The labels.
        labels: String,
        /// Why.
        reason: String,
    },
    /// An object is there twice: in two files, or twice in one. That of the first file by name counts, and of one file
    /// the first.
    Twice {
        /// What is there twice.
        object: String,
        /// The file whose object counts.
        counts: String,
        /// The file that was just read.
        file: String,
    },
    /// A part of a service is not done, or not for this reason before. It is tried again when that changes.
    ServiceRefused {
        /// Which part of which.
        what: String,
        /// Why.
        reason: String,
    },
    /// The ids of services of an earlier run came after the start: others were given already.
    ServicesRestoredLate,
    /// An address of the node belongs to an endpoint too.
    AddressOfNode {
        /// The address.
        address: IpAddr,
        /// The endpoint.
        id: u16,
    },
}
