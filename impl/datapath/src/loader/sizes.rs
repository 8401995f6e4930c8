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
}

/// The flags' defaults in Cilium 1.4, and the size of its policy maps.
impl Default for MapSizes {
    fn default() -> Self {
        Self { ct_tcp_max: 1_000_000, ct_any_max: 262_144, policy_map_max: 16_384, preallocate: true }
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
            _ => None,
        }
    }

    /// Sets the size of a map that is not loaded yet.
    pub(super) fn apply(&self, map: &mut OpenMapMut<'_>) -> libbpf_rs::Result<()> {
        if let Some(size) = self.max_entries(&map.name().to_string_lossy()) {
            map.set_max_entries(size)?;
        }
        if map.map_type() == MapType::Hash {
            let flags = map.map_flags();
            let flags = if self.preallocate { flags & !BPF_F_NO_PREALLOC } else { flags | BPF_F_NO_PREALLOC };
            map.set_map_flags(flags)?;
        }
        Ok(())
    }
}
