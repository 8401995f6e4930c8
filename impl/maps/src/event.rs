// SPDX-License-Identifier: Apache-2.0
//! `cilium_events`: what programs tell.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How many bytes of a packet an event carries at most.
pub const EVENT_DATA_BYTES: usize = 128;

/// Values of [`EventHeader::kind`].
pub mod event_type {
    /// A [`crate::DropEvent`].
    pub const DROP: u8 = 1;
    /// A [`crate::DebugEvent`].
    pub const DEBUG: u8 = 2;
    /// A [`crate::TraceEvent`].
    pub const TRACE: u8 = 4;
    /// A [`crate::VerdictEvent`].
    pub const POLICY_VERDICT: u8 = 5;
}

/// `struct event_header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventHeader {
    /// [`event_type`].
    pub kind: u8,
    /// Of a drop its reason, of a trace its observation point, of a verdict whether it was allowed.
    pub subtype: u8,
    /// The endpoint that saw it.
    pub source: u16,
    /// Hash of the flow.
    pub hash: u32,
}

/// `struct drop_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DropEvent {
    /// Header; the subtype is the reason.
    pub header: EventHeader,
    /// Length of the packet.
    pub len_orig: u32,
    /// How many bytes of [`DropEvent::data`] are the packet's.
    pub len_cap: u32,
    /// Identity of the source.
    pub src_label: u32,
    /// Identity of the destination.
    pub dst_label: u32,
    /// The endpoint that it was for.
    pub dst_id: u32,
    /// The device.
    pub ifindex: u32,
    /// 1 ingress, 2 egress.
    pub direction: u8,
    /// Zero.
    pub pad: [u8; 3],
    /// The rule that decided; 0 for none.
    pub rule: u32,
    /// The packet's first bytes.
    pub data: [u8; EVENT_DATA_BYTES],
}

/// `struct debug_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DebugEvent {
    /// Header; the subtype is what happened.
    pub header: EventHeader,
    /// First number.
    pub arg1: u32,
    /// Second number.
    pub arg2: u32,
    /// Third number.
    pub arg3: u32,
    /// Zero.
    pub pad: u32,
}

/// `struct trace_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TraceEvent {
    /// Header; the subtype is the observation point.
    pub header: EventHeader,
    /// Length of the packet.
    pub len_orig: u32,
    /// How many bytes of [`TraceEvent::data`] are the packet's.
    pub len_cap: u32,
    /// Identity of the source.
    pub src_label: u32,
    /// Identity of the destination.
    pub dst_label: u32,
    /// The endpoint that it is for.
    pub dst_id: u16,
    /// [`TraceReason`].
    pub reason: u8,
    /// 1 ingress, 2 egress.
    pub direction: u8,
    /// The device.
    pub ifindex: u32,
    /// The packet's first bytes.
    pub data: [u8; EVENT_DATA_BYTES],
}

/// What conntrack said of a packet that passed: values of [`TraceEvent::reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TraceReason {
    /// The first of a connection.
    New = 0,
    /// From the initiator.
    Established = 1,
    /// From the responder.
    Reply = 2,
    /// An error about a connection.
    Related = 3,
}

/// `struct verdict_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VerdictEvent {
    /// Header; the subtype is 1 if it was allowed.
    pub header: EventHeader,
    /// Length of the packet.
    pub len_orig: u32,
    /// How many bytes of [`VerdictEvent::data`] are the packet's.
    pub len_cap: u32,
    /// Identity of the source.
    pub src_label: u32,
    /// Identity of the destination.
    pub dst_label: u32,
    /// The endpoint that it was for.
    pub dst_id: u32,
    /// 1 ingress, 2 egress.
    pub direction: u8,
    /// What of the key was matched: 0 nothing, 1 all of it, 2 the identity, 3 the port, 4 neither.
    pub matched: u8,
    /// Zero.
    pub pad: [u8; 2],
    /// The rule that decided; 0 for none.
    pub rule: u32,
    /// Zero.
    pub pad2: u32,
    /// The packet's first bytes.
    pub data: [u8; EVENT_DATA_BYTES],
}
