// SPDX-License-Identifier: Apache-2.0
//! Links, addresses, routes, rules, neighbours, sysctls and network namespaces, typed.

mod netns;

pub use netns::{NetNs, NetNsError};
