// SPDX-License-Identifier: Apache-2.0
//! One line for each event, in the style of 1.4's `cilium monitor`.

use std::fmt;

use maps::reason_name;
use serde_json::Value;

use crate::AgentEvent;
use crate::event::{DebugMessage, DropNotice, Event, Lost, LostWhere, PolicyVerdict, TraceNotice};
use crate::words::Direction;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop(event) => event.fmt(f),
            Self::Trace(event) => event.fmt(f),
            Self::PolicyVerdict(event) => event.fmt(f),
            Self::Debug(event) => event.fmt(f),
            Self::Agent(event) => event.fmt(f),
            Self::Lost(event) => event.fmt(f),
        }
    }
}

impl fmt::Display for DropNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "xx drop ({}) flow {} to endpoint {}, identity {}->{}",
            self.reason, self.mark, self.destination_id, self.source_identity, self.destination_identity
        )?;
        if self.rule != 0 {
            write!(f, ", rule {}", self.rule)?;
        }
        write!(f, ": {}", self.summary)
    }
}

impl fmt::Display for TraceNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} flow {} identity {}->{} state {} ifindex {}: {}",
            self.trace_summary,
            self.mark,
            self.source_identity,
            self.destination_identity,
            self.state,
            self.ifindex,
            self.summary
        )
    }
}

impl fmt::Display for PolicyVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remote = match self.direction {
            Direction::Ingress => self.source_identity,
            Direction::Egress | Direction::Unknown => self.destination_identity,
        };
        write!(
            f,
            "Policy verdict log: flow {} local EP ID {}, remote ID {remote}, {}, action {}, match {}",
            self.mark, self.source, self.direction, self.action, self.matched
        )?;
        if self.rule != 0 {
            write!(f, ", rule {}", self.rule)?;
        }
        write!(f, ", {}", self.summary)
    }
}

/// What programs say in debug messages: `DEBUG_*` of `bpf/lib/trace.h`.
const POLICY_LOOKED_UP: u8 = 3;

impl fmt::Display for DebugMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.arguments;
        write!(f, "DEBUG: flow {} ", self.mark)?;
        match (self.code, u8::try_from(c)) {
            (POLICY_LOOKED_UP, Ok(0)) => write!(f, "policy of endpoint {a} allows identity {b}"),
            (POLICY_LOOKED_UP, Ok(reason)) => {
                write!(f, "policy of endpoint {a} denies identity {b}: {}", reason_name(reason))
            }
            (code, _) => write!(f, "endpoint {} code {code}: {a} {b} {c}", self.source),
        }
    }
}

impl fmt::Display for AgentEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its JSON has the words: one place for them.
        let json = serde_json::to_value(self).map_err(|_| fmt::Error)?;
        let subtype = json.get("subtype").and_then(Value::as_str).unwrap_or_default();
        write!(f, ">> {subtype}: {}", json.get("message").unwrap_or(&Value::Null))
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, at } = self;
        match at {
            LostWhere::Ring => write!(f, "!! lost {count} events: the agent reads too slowly"),
            LostWhere::Queue => write!(f, "!! lost {count} events: this monitor reads too slowly"),
        }
    }
}
