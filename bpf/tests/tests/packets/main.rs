// SPDX-License-Identifier: Apache-2.0
//! What programs do with packets: their verdict, the packet's bytes, the maps' rows, the events. Needs root.

mod connection;
mod delivery;
mod denial;
mod dsr;
mod events;
mod fragments;
mod heard;
mod icmp;
mod lifetimes;
mod masquerade;
mod masquerade_errors;
mod neighbours;
mod node_ports;
mod policy;
mod server_first;
mod service_details;
mod services;
mod source_ranges;
mod too_big;
mod verifier;
