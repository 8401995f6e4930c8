// SPDX-License-Identifier: Apache-2.0
//! From the bytes of the ring buffer.

use std::fmt::Write;

use maps::{DebugEvent, DropEvent, EventHeader, TraceEvent, VerdictEvent, event_type, reason_name};
use zerocopy::FromBytes;

use crate::event::{DebugMessage, DropNotice, Event, PolicyVerdict, TraceNotice};
use crate::words::{Direction, Mark, ObservationPoint, PolicyAction, PolicyMatch, TraceState};
use crate::{InterfaceNames, Summary};

/// Why bytes are no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends too early.
    #[error("an event of type {kind} has {length} bytes, fewer than its struct")]
    Truncated {
        /// The first byte; 0 if there is none.
        kind: u8,
        /// How many there are.
        length: usize,
    },
    /// Another version's.
    #[error("events of type {kind} are not known")]
    Unknown {
        /// The first byte.
        kind: u8,
    },
}

/// Turns bytes into events.
#[derive(Debug, Default)]
pub struct Decoder {
    interfaces: InterfaceNames,
}

impl Decoder {
    /// For devices of the network namespace in which it is used.
    pub fn new() -> Self {
        Self::default()
    }

    /// One event. Bytes after its struct are not looked at.
    ///
    /// # Errors
    /// [`DecodeError`] when it is none.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Event, DecodeError> {
        let header: EventHeader = read(bytes)?;
        match header.kind {
            event_type::DROP => Ok(Event::Drop(self.drop(&read(bytes)?))),
            event_type::TRACE => Ok(Event::Trace(self.trace(&read(bytes)?))),
            event_type::POLICY_VERDICT => Ok(Event::PolicyVerdict(verdict(&read(bytes)?))),
            event_type::DEBUG => Ok(Event::Debug(debug(&read(bytes)?))),
            kind => Err(DecodeError::Unknown { kind }),
        }
    }

    fn drop(&mut self, event: &DropEvent) -> DropNotice {
        let packet = captured(&event.data, event.len_cap);
        DropNotice {
            mark: Mark(event.header.hash),
            ifindex: self.interfaces.name(event.ifindex),
            reason: reason_name(event.header.subtype),
            reason_code: event.header.subtype,
            source: event.header.source,
            bytes: event.len_orig,
            source_identity: event.src_label,
            destination_identity: event.dst_label,
            destination_id: event.dst_id,
            direction: Direction::of(event.direction),
            rule: event.rule,
            summary: Summary::of(packet),
            payload: Some(hexadecimal(packet)),
        }
    }

    fn trace(&mut self, event: &TraceEvent) -> TraceNotice {
        let packet = captured(&event.data, event.len_cap);
        let point = ObservationPoint::of(event.header.subtype);
        TraceNotice {
            mark: Mark(event.header.hash),
            ifindex: self.interfaces.name(event.ifindex),
            state: TraceState::of(event.reason),
            observation_point: point,
            trace_summary: trace_summary(point, event.header.source, event.dst_id),
            source: event.header.source,
            bytes: event.len_orig,
            source_identity: event.src_label,
            destination_identity: event.dst_label,
            destination_id: event.dst_id,
            direction: Direction::of(event.direction),
            summary: Summary::of(packet),
            payload: Some(hexadecimal(packet)),
        }
    }
}

fn verdict(event: &VerdictEvent) -> PolicyVerdict {
    let packet = captured(&event.data, event.len_cap);
    PolicyVerdict {
        mark: Mark(event.header.hash),
        source: event.header.source,
        bytes: event.len_orig,
        source_identity: event.src_label,
        destination_identity: event.dst_label,
        destination_id: event.dst_id,
        direction: Direction::of(event.direction),
        action: PolicyAction::of(event.header.subtype),
        matched: PolicyMatch::of(event.matched),
        rule: event.rule,
        summary: Summary::of(packet),
        payload: Some(hexadecimal(packet)),
    }
}

fn debug(event: &DebugEvent) -> DebugMessage {
    DebugMessage {
        mark: Mark(event.header.hash),
        source: event.header.source,
        code: event.header.subtype,
        arguments: [event.arg1, event.arg2, event.arg3],
    }
}

/// A struct from the beginning of the bytes, wherever they lie in memory.
fn read<T: FromBytes>(bytes: &[u8]) -> Result<T, DecodeError> {
    T::read_from_prefix(bytes).map(|(value, _)| value).map_err(|_| truncated(bytes))
}

fn truncated(bytes: &[u8]) -> DecodeError {
    DecodeError::Truncated { kind: bytes.first().copied().unwrap_or(0), length: bytes.len() }
}

/// The bytes that are the packet's; the kernel's count is not trusted.
fn captured(data: &[u8], length: u32) -> &[u8] {
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(data.len());
    &data[..length]
}

/// As 1.4 words it.
fn trace_summary(point: ObservationPoint, source: u16, destination: u16) -> String {
    use ObservationPoint as P;
    match point {
        P::ToEndpoint => format!("-> endpoint {destination}"),
        P::ToProxy => "-> proxy".to_owned(),
        P::ToHost => format!("-> host from {source}"),
        P::ToStack => format!("-> stack from {source}"),
        P::ToOverlay => format!("-> overlay from {source}"),
        P::ToNetwork => format!("-> network from {source}"),
        P::FromEndpoint => format!("<- endpoint {source}"),
        P::FromProxy => "<- proxy".to_owned(),
        P::FromHost => "<- host".to_owned(),
        P::FromStack => "<- stack".to_owned(),
        P::FromOverlay => "<- overlay".to_owned(),
        P::FromNetwork => "<- network".to_owned(),
        P::Unknown => format!("unknown trace point of endpoint {source}"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
