// SPDX-License-Identifier: Apache-2.0
//! Loads the programs, keeps the kernel's tables as they are desired, and cleans up after itself.
//!
//! A [`Datapath`] belongs to one thread, in the node's network namespace. What it has brought about stays when the agent
//! ends, however it ends: programs are pinned links (or filters), maps are pinned, and the next agent takes them over.

mod bpffs;
pub mod cgroup;
mod cleanup;
mod config;
mod conntrack;
mod datapath;
mod error;
mod events;
pub mod loader;
mod node;
mod order;
mod owed;
mod parallel;
mod policy_table;
mod realize;
mod resync;
mod round;
mod rows;
mod services;
mod status;

pub use cleanup::cleanup;
pub use config::{DatapathConfig, Pins, ServicesConfig};
pub use conntrack::CollectorTotals;
pub use datapath::{Datapath, Totals};
pub use error::DatapathError;
pub use events::EventReader;
pub use node::{HOST_DEVICE, NET_DEVICE};
pub use order::{Present, PresentServices, Write, plan};
pub use services::SocketTotals;
pub use status::{MapStatus, PacketCount};
