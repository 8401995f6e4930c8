// SPDX-License-Identifier: Apache-2.0
//! How large the maps are.

use libbpf_rs::libbpf_sys::BPF_F_NO_PREALLOC;
use libbpf_rs::{MapType, OpenMapMut};
use maps::names;

/// Sizes that the agent's flags set; the C files say those of the other maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSizes {
    /// TCP connections of one family: `--bpf-ct-global-tcp-max`.
    pub ct_tcp_max: u32,
    /// Other connections of one family: `--bpf-ct-global-any-max`.
    pub ct_any_max: u32,
    /// Rows of one endpoint's policy.
    pub policy_map_max: u32,
    /// Whether the table of endpoints takes its memory when it is made: `--preallocate-bpf-maps`. Tries and policy maps
    /// never do, least recently used ones always.
    pub preallocate: bool,
    /// Tables of services. None: there are no services, and what the C files say is enough; those of sockets are not made.
    pub services: Option<ServiceSizes>,
}

/// Sizes of the tables of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSizes {
    /// Frontends of one family, and clients that keep their backend: `--bpf-lb-map-max`.
    pub frontends_max: u32,
    /// Slots of all frontends: `--bpf-lb-slot-map-max`.
    pub slots_max: u32,
    /// Backends of one family: `--bpf-lb-backend-map-max`.
    pub backends_max: u32,
    /// Source ranges of all frontends of one family: `--bpf-lb-source-range-map-max`.
    pub source_ranges_max: u32,
}

impl Default for ServiceSizes {
    fn default() -> Self {
        Self { frontends_max: 65_535, slots_max: 1_048_576, backends_max: 262_144, source_ranges_max: 65_536 }
    }
}

/// Sockets that are remembered for each frontend that there may be. The least recently used are forgotten, which matters
/// to a socket that receives datagrams or asks for its peer's name.
const SOCKETS_PER_FRONTEND: u32 = 4;

impl ServiceSizes {
    fn max_entries(&self, name: &str) -> Option<u32> {
        match name {
            names::LB4_SERVICES | names::LB6_SERVICES | names::LB_AFFINITY => Some(self.frontends_max),
            names::LB_SLOTS => Some(self.slots_max),
            names::LB4_BACKENDS | names::LB6_BACKENDS => Some(self.backends_max),
            names::LB4_SOURCE_RANGE | names::LB6_SOURCE_RANGE => Some(self.source_ranges_max),
            names::LB4_REVERSE_SK | names::LB6_REVERSE_SK => {
                Some(self.frontends_max.saturating_mul(SOCKETS_PER_FRONTEND))
            }
            _ => None,
        }
    }
}

/// The option that says how large a table of services is.
pub fn size_option(name: &str) -> Option<&'static str> {
    match name {
        names::LB4_SERVICES | names::LB6_SERVICES | names::LB_AFFINITY => Some("--bpf-lb-map-max"),
        names::LB_SLOTS => Some("--bpf-lb-slot-map-max"),
        names::LB4_BACKENDS | names::LB6_BACKENDS => Some("--bpf-lb-backend-map-max"),
        names::LB4_SOURCE_RANGE | names::LB6_SOURCE_RANGE => Some("--bpf-lb-source-range-map-max"),
        _ => None,
    }
}

/// Tables that grow with the services that there are, whatever `--preallocate-bpf-maps` says: they could hold a hundred
/// times what most nodes have.
fn grows(name: &str) -> bool {
    matches!(
        name,
        names::LB4_SERVICES
            | names::LB6_SERVICES
            | names::LB_SLOTS
            | names::LB4_BACKENDS
            | names::LB6_BACKENDS
    )
}

/// The flags' defaults in Cilium 1.4, and the size of its policy maps.
impl Default for MapSizes {
    fn default() -> Self {
        Self {
            ct_tcp_max: 1_000_000,
            ct_any_max: 262_144,
            policy_map_max: 16_384,
            preallocate: true,
            services: None,
        }
    }
}

impl MapSizes {
    /// For a map of this name; `None` where the C file decides.
    fn max_entries(&self, name: &str) -> Option<u32> {
        match name {
            names::CT4_GLOBAL | names::CT6_GLOBAL => Some(self.ct_tcp_max),
            names::CT_ANY4_GLOBAL | names::CT_ANY6_GLOBAL => Some(self.ct_any_max),
            // As many as connections that may be masqueraded, each with a row for either direction.
            names::SNAT_V4 | names::SNAT_V6 => Some(self.ct_tcp_max.saturating_add(self.ct_any_max)),
            _ => self.services.and_then(|services| services.max_entries(name)),
        }
    }

    /// Sets the size of a map that is not loaded yet.
    pub(super) fn apply(&self, map: &mut OpenMapMut<'_>) -> libbpf_rs::Result<()> {
        let name = map.name().to_string_lossy().into_owned();
        if let Some(size) = self.max_entries(&name) {
            map.set_max_entries(size)?;
        }
        if map.map_type() == MapType::Hash {
            let flags = map.map_flags();
            let flags = if self.preallocate && !grows(&name) {
                flags & !BPF_F_NO_PREALLOC
            } else {
                flags | BPF_F_NO_PREALLOC
            };
            map.set_map_flags(flags)?;
        }
        Ok(())
    }
}
