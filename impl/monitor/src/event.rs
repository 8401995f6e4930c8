// SPDX-License-Identifier: Apache-2.0
//! What can be told. The names of JSON fields are those of 1.4's `cilium monitor -j` where it had them.

use serde::{Deserialize, Serialize};

use crate::words::{Direction, Mark, ObservationPoint, PolicyAction, PolicyMatch, TraceState};
use crate::{AgentEvent, Filter, Kind, Summary};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// A packet was dropped.
    Drop(DropNotice),
    /// A packet passed a point.
    Trace(TraceNotice),
    /// Policy was asked about a packet.
    PolicyVerdict(PolicyVerdict),
    /// A program says what it does.
    Debug(DebugMessage),
    /// The agent did something.
    Agent(AgentEvent),
    /// Some events are missing here.
    Lost(Lost),
}

impl Event {
    /// By which it is filtered; `None` for what everybody is told.
    pub const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Drop(_) => Some(Kind::Drop),
            Self::Trace(_) => Some(Kind::Trace),
            Self::PolicyVerdict(_) => Some(Kind::PolicyVerdict),
            Self::Debug(_) => Some(Kind::Debug),
            Self::Agent(_) => Some(Kind::Agent),
            Self::Lost(_) => None,
        }
    }

    /// Whether a subscriber wants it.
    pub fn matches(&self, filter: &Filter) -> bool {
        let Some(kind) = self.kind() else { return true };
        match self {
            Self::Drop(drop) => filter.matches(kind, Some(drop.source.into()), Some(drop.destination_id)),
            Self::Trace(trace) => {
                filter.matches(kind, Some(trace.source.into()), Some(trace.destination_id.into()))
            }
            Self::PolicyVerdict(verdict) => {
                filter.matches(kind, Some(verdict.source.into()), Some(verdict.destination_id))
            }
            Self::Debug(debug) => filter.matches(kind, Some(debug.source.into()), None),
            Self::Agent(agent) => filter.matches_about(kind, agent.endpoint()),
            Self::Lost(_) => true,
        }
    }

    /// The bytes of the packet, in hexadecimal, if they are told.
    pub fn payload(&self) -> Option<&str> {
        match self {
            Self::Drop(DropNotice { payload, .. })
            | Self::Trace(TraceNotice { payload, .. })
            | Self::PolicyVerdict(PolicyVerdict { payload, .. }) => payload.as_deref(),
            _ => None,
        }
    }

    /// Takes the bytes of the packet away.
    pub fn without_payload(mut self) -> Self {
        match &mut self {
            Self::Drop(DropNotice { payload, .. })
            | Self::Trace(TraceNotice { payload, .. })
            | Self::PolicyVerdict(PolicyVerdict { payload, .. }) => *payload = None,
            _ => {}
        }
        self
    }
}

/// A packet was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DropNotice {
    /// The hash of its flow.
    pub mark: Mark,
    /// The device, by name if it has one.
    pub ifindex: String,
    /// Why, in words.
    pub reason: String,
    /// Why, as a number.
    pub reason_code: u8,
    /// The endpoint whose program dropped it; 0 is the node.
    pub source: u16,
    /// The length of the packet.
    pub bytes: u32,
    /// Who sent it.
    #[serde(rename = "srcLabel")]
    pub source_identity: u32,
    /// Whom it was for.
    #[serde(rename = "dstLabel")]
    pub destination_identity: u32,
    /// The endpoint that it was for; 0 if none of this node.
    #[serde(rename = "dstID")]
    pub destination_id: u32,
    /// Into or out of the endpoint.
    pub direction: Direction,
    /// The rule that decided; 0 for none.
    pub rule: u32,
    /// What is in the packet.
    pub summary: Summary,
    /// Its first bytes in hexadecimal, for those who ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// A packet passed a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceNotice {
    /// The hash of its flow.
    pub mark: Mark,
    /// The device, by name if it has one.
    pub ifindex: String,
    /// What conntrack says.
    pub state: TraceState,
    /// Where.
    pub observation_point: ObservationPoint,
    /// Where, in words.
    pub trace_summary: String,
    /// The endpoint whose program saw it; 0 is the node.
    pub source: u16,
    /// The length of the packet.
    pub bytes: u32,
    /// Who sent it.
    #[serde(rename = "srcLabel")]
    pub source_identity: u32,
    /// Whom it is for.
    #[serde(rename = "dstLabel")]
    pub destination_identity: u32,
    /// The endpoint that it is for; 0 if none of this node.
    #[serde(rename = "dstID")]
    pub destination_id: u16,
    /// Into or out of the endpoint.
    pub direction: Direction,
    /// What is in the packet.
    pub summary: Summary,
    /// Its first bytes in hexadecimal, for those who ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// Policy was asked about a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyVerdict {
    /// The hash of its flow.
    pub mark: Mark,
    /// The endpoint whose policy was asked.
    pub source: u16,
    /// The length of the packet.
    pub bytes: u32,
    /// Who sent it.
    #[serde(rename = "srcLabel")]
    pub source_identity: u32,
    /// Whom it is for.
    #[serde(rename = "dstLabel")]
    pub destination_identity: u32,
    /// The endpoint that it is for; 0 if none of this node.
    #[serde(rename = "dstID")]
    pub destination_id: u32,
    /// Into or out of the endpoint.
    pub direction: Direction,
    /// What policy says.
    pub action: PolicyAction,
    /// What of the packet the entry named.
    #[serde(rename = "match")]
    pub matched: PolicyMatch,
    /// The rule that decided; 0 for none.
    pub rule: u32,
    /// What is in the packet.
    pub summary: Summary,
    /// Its first bytes in hexadecimal, for those who ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// A program says what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugMessage {
    /// The hash of the flow.
    pub mark: Mark,
    /// The endpoint whose program it is; 0 is the node.
    pub source: u16,
    /// What it does, as a number.
    pub code: u8,
    /// With what.
    pub arguments: [u32; 3],
}

/// Some events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// Where they were lost.
    pub at: LostWhere,
}

/// Where events are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LostWhere {
    /// In the kernel's ring: the agent reads too slowly.
    Ring,
    /// In the subscriber's queue: the subscriber reads too slowly.
    Queue,
}
