// SPDX-License-Identifier: Apache-2.0
//! Packets through the datapath's programs: what the tests beside this crate are written with.
//!
//! A [`Node`] has two pods, the production loader's programs and maps, and devices in a network namespace of its own.
//! A [`Packet`] goes through one program by `BPF_PROG_TEST_RUN`; the [`Outcome`] says where to, and how it looks then.

mod event;
mod keys;
mod node;
mod outcome;
mod packet;
mod run;
mod service;
mod setting;
mod sum;
mod world;

pub use event::Event;
pub use keys::{any_key, now_s};
pub use node::{Hook, Node, on_node, on_node_configured, on_node_of_one_mac, on_node_with};
pub use outcome::{Outcome, Seen, Verdict};
pub use packet::{Packet, Quoted, arp_request, neighbour_solicitation, tcp_flags};
pub use service::Service;
pub use setting::{Pod, ipv4};
pub use sum::{internet_checksum, transport_checksum};
pub use world::{BOTH, CIDR_IDENTITY, Family, MASK, WORLD_IDENTITY};
