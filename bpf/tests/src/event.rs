// SPDX-License-Identifier: Apache-2.0
//! What programs tell through the ring buffer.

use maps::{DebugEvent, DropEvent, TraceEvent, VerdictEvent, event_type};
use zerocopy::FromBytes;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A packet was dropped.
    Drop(DropEvent),
    /// A packet passed.
    Trace(TraceEvent),
    /// A policy was asked.
    Verdict(VerdictEvent),
    /// What an endpoint's debugging shows.
    Debug(DebugEvent),
}

impl Event {
    /// From the bytes of a sample.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        fn whole<T: FromBytes>(bytes: &[u8]) -> T {
            T::read_from_prefix(bytes).expect("an event is as long as its struct").0
        }
        match bytes[0] {
            event_type::DROP => Self::Drop(whole(bytes)),
            event_type::TRACE => Self::Trace(whole(bytes)),
            event_type::POLICY_VERDICT => Self::Verdict(whole(bytes)),
            event_type::DEBUG => Self::Debug(whole(bytes)),
            other => panic!("no event has type {other}"),
        }
    }
}
