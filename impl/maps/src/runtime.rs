// SPDX-License-Identifier: Apache-2.0
//! `cilium_runtime`: what changes while programs run.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct runtime_config`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RuntimeConfig {
    /// Verdicts of other epochs are found again before they are used.
    pub epoch: u32,
    /// 0 when nobody listens to traces, otherwise 1 and the level of aggregation.
    pub monitor: u32,
    /// Counts removals of services' backends and frontends: whoever remembers one asks whether it is still there.
    pub lb_epoch: u32,
    /// Frontends that the network may reach.
    pub lb_external: u32,
}
