// SPDX-License-Identifier: Apache-2.0
//! What the datapath's C and our Rust both read and write: twins of the C structs, and the maps that hold them, typed.
//!
//! Every struct of `bpf/lib` that Rust uses has one twin here, and a test compares the two by the object's BTF.

mod batch;
mod bpf_map;
mod config;
mod conntrack;
mod endpoint;
mod ep_config;
mod error;
mod event;
mod fragment;
mod ipcache;
mod lb;
mod metrics;
mod metrics_map;
pub mod names;
mod outer;
mod policy;
mod raw;
mod reason;
mod runtime;
mod snat;

pub use batch::{Cursor, copy_rows};
pub use bpf_map::{BpfMap, Bytes, WriteMode};
pub use config::{HostConfig, LxcConfig};
pub use conntrack::{ConntrackEntry, ConntrackKey4, ConntrackKey6, ConntrackService, conntrack_flags};
pub use endpoint::{EndpointInfo, EndpointKey, Family, LxcRow, endpoint_flags, lxc_options};
pub use ep_config::EndpointConfigs;
pub use error::MapError;
pub use event::{
    DebugEvent, DropEvent, EVENT_DATA_BYTES, EventHeader, TraceEvent, TraceReason, VerdictEvent, event_type,
};
pub use fragment::{FragmentKey4, FragmentKey6, FragmentPorts};
pub use ipcache::{IpcacheEntry, IpcacheKey, NotAPrefix};
pub use lb::{
    LbAffinity, LbAffinityKey, LbBackend4, LbBackend6, LbConfig, LbFrontend, LbKey4, LbKey6, LbReverse4,
    LbReverse6, LbSlotKey, LbSocket4, LbSocket6, LbSocketKey4, LbSocketKey6, LbSourceKey4, LbSourceKey6,
    lb_flags, lb_scope,
};
pub use metrics::{Direction, METRICS_ROWS, MetricsValue, metrics_index};
pub use metrics_map::MetricsMap;
pub use outer::PolicyMaps;
pub use policy::{PolicyEntry, PolicyKey};
pub use reason::{EVENT_LOST, FORWARDED, FRAGMENT_PASSED, NOT_IN_SOURCE_RANGE, is_drop, reason_name};
pub use runtime::RuntimeConfig;
pub use snat::{SnatEntry, SnatKey4, SnatKey6, snat_direction};
