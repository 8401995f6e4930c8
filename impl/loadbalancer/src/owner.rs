// SPDX-License-Identifier: Apache-2.0
//! Who wants frontends, and which.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;

use crate::health;
use crate::object::ObjectKey;
use crate::row::{BackendAddress, BackendState, Frontend, FrontendKind, Scope};

/// Who wants frontends. Of two that want the same one for the same [`FrontendKind`] the lesser has it, whichever came first:
/// Kubernetes' services by namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Api(u16),
    Service(Arc<ObjectKey>),
    Pod(Arc<ObjectKey>),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(id) => write!(f, "service {id} of the API"),
            Self::Service(key) => write!(f, "service {key}"),
            Self::Pod(key) => write!(f, "pod {key}"),
        }
    }
}

/// Somebody wants a frontend. The least has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    /// [`FrontendKind::precedence`].
    pub(crate) precedence: u8,
    pub(crate) owner: Owner,
}

/// What an owner wants of one frontend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) kind: FrontendKind,
    pub(crate) affinity_timeout_s: Option<u32>,
    /// [`crate::ServiceRow::owner`].
    pub(crate) name: Arc<str>,
    /// The backends, sorted.
    pub(crate) external: Arc<[BackendAddress]>,
    /// Those for connections from pods and the node, if they are others.
    pub(crate) internal: Option<Arc<[BackendAddress]>>,
    /// [`crate::ServiceRow::source_ranges`].
    pub(crate) source_ranges: Option<Arc<[IpNet]>>,
}

/// What an owner wants.
#[derive(Debug, Clone, Default)]
pub(crate) struct Translated {
    /// Sorted. Each stands for both scopes, and is of [`Scope::External`].
    pub(crate) frontends: Vec<(Frontend, Wanted)>,
    /// All that endpoints name, chosen or not; sorted.
    pub(crate) backends: Vec<(BackendAddress, BackendState)>,
    /// What is to be answered to a load balancer that asks.
    pub(crate) health: Option<health::Wanted>,
    /// Parts that cannot be followed, and why.
    pub(crate) refused: Vec<(String, String)>,
}

impl Translated {
    pub(crate) fn find(&self, frontend: &Frontend) -> Option<&Wanted> {
        let found = self.frontends.binary_search_by_key(frontend, |(frontend, _)| *frontend);
        found.ok().map(|index| &self.frontends[index].1)
    }

    /// Sorts. Of two frontends that are the same the first that was added stays: an address may be that of a load balancer
    /// and an external one. If the other would lead elsewhere, it is refused.
    pub(crate) fn sorted(mut self) -> Self {
        self.frontends.sort_by_key(|(frontend, _)| *frontend);
        let refused = &mut self.refused;
        self.frontends.dedup_by(|(other, wanted), (frontend, first)| {
            if frontend == other && wanted.external != first.external {
                let by = if wanted.name == first.name { "another of its ports" } else { &*first.name };
                refused.push((frontend.to_string(), format!("{by} has it already")));
            }
            frontend == other
        });
        // Active before Terminating: of a backend that two ports have alike, the better word counts.
        self.backends.sort_unstable();
        self.backends.dedup_by_key(|(address, _)| *address);
        self
    }
}

/// The row of the same frontend for connections from pods and the node.
pub(crate) fn internal(frontend: Frontend) -> Frontend {
    Frontend { scope: Scope::Internal, ..frontend }
}
