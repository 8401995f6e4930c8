// SPDX-License-Identifier: Apache-2.0
//! The control plane as its agent sees it: events in, tables, replies and answers out.

mod addresses;
mod changes;
mod endpoints;
mod labels;
mod order;
mod policies;
mod random;
mod restore;
mod scripts;
mod services;
mod to_services;
mod world;
