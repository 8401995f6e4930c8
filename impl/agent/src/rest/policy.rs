// SPDX-License-Identifier: Apache-2.0
//! `/policy`.

use addr::Protocol;
use api::{PolicyTraceResult, PortProtocol, TraceSelector};
use controlplane::{Answer, ControlPlane, Event};
use hyper::StatusCode;
use identity::{LabelArray, Labels};
use monitor::AgentEvent;
use policy::trace::{Context, DPort, Verdict};
use policy::{Direction, NamedPorts, PortName};

use super::message::{parse, parse_optional};
use super::{Api, Refused, Reply};
use crate::config::AllowLocalhost;
use crate::realize::Target;

/// 1.4's status for a rule that is understood and cannot be.
const INVALID_RULE: u16 = 460;

fn selecting(body: &[u8]) -> Result<LabelArray, Refused> {
    let texts: Vec<String> = parse_optional(body)?.unwrap_or_default();
    LabelArray::parse_selecting(&texts).map_err(|e| Refused::field("labels", e.to_string()))
}

/// The rules of a body: as 1.4's clients send them, a JSON string that holds JSON; or the JSON itself.
fn rules_text(body: &[u8]) -> Result<String, Refused> {
    if body.trim_ascii_start().starts_with(b"\"") {
        return parse(body);
    }
    let text = std::str::from_utf8(body);
    text.map(str::to_owned).map_err(|_| Refused::new(StatusCode::BAD_REQUEST, "the body is not UTF-8"))
}

impl<T: Target> Api<T> {
    /// `GET /policy`: rules that have all labels of the body, if there is one.
    pub(super) async fn policy(&self, body: &[u8]) -> Result<Reply, Refused> {
        let labels = selecting(body)?;
        let all = labels.is_empty();
        let (revision, rules) = self.plane(move |plane| plane.policy(&labels)).await?;
        if rules.is_empty() && !all {
            return Err(Refused::not_found("no rule has these labels"));
        }
        let rules: Vec<_> = rules.into_iter().map(|(_, rule)| rule).collect();
        Reply::json(&model(revision, &rules)?)
    }

    /// `PUT /policy`: answered when all endpoints have the new rules.
    pub(super) async fn add_policy(&self, body: &[u8]) -> Result<Reply, Refused> {
        let rules = policy::parse_rules_json(&rules_text(body)?).map_err(|error| {
            self.counters.policy_import_errors.inc();
            refused(&error)
        })?;
        let added = rules.clone();
        let answer = self.request(move |ticket| Event::PolicyAdd { ticket, rules, replace: false }).await?;
        let Answer::PolicyAdded { revision } = answer else {
            return Err(Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the control plane answered otherwise",
            ));
        };
        let labels = added.iter().flat_map(|rule| rule.labels().iter()).map(ToString::to_string).collect();
        self.publish(AgentEvent::PolicyUpdated { labels, revision, rule_count: added.len() });
        Reply::json(&model(revision, &added)?)
    }

    /// `DELETE /policy`: rules of the API that have all labels of the body, or all of the API.
    pub(super) async fn delete_policy(&self, body: &[u8]) -> Result<Reply, Refused> {
        let labels = selecting(body)?;
        let texts = labels.iter().map(ToString::to_string).collect();
        let answer = self.request(move |ticket| Event::PolicyDelete { ticket, labels }).await?;
        let Answer::PolicyDeleted { revision, deleted } = answer else {
            return Err(Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the control plane answered otherwise",
            ));
        };
        self.publish(AgentEvent::PolicyDeleted { labels: texts, revision, rule_count: deleted });
        let (revision, rules) = self.plane(|plane| plane.policy(&LabelArray::default())).await?;
        let rules: Vec<_> = rules.into_iter().map(|(_, rule)| rule).collect();
        Reply::json(&model(revision, &rules)?)
    }

    /// `GET /policy/resolve`: may this one talk to that one? Both sides must say yes.
    pub(super) async fn resolve_policy(&self, body: &[u8]) -> Result<Reply, Refused> {
        let selector: TraceSelector = parse(body)?;
        let host_always_allowed = self.config.workloads.allow_localhost == AllowLocalhost::Always;
        let question = Question {
            from: labels("from", &selector.from.labels)?,
            to: labels("to", &selector.to.labels)?,
            dports: dports(&selector)?,
            host_always_allowed,
            verbose: selector.verbose,
        };
        let traces = self.plane(move |plane| question.ask(plane)).await?;
        let allowed = traces.iter().all(|trace| trace.verdict == Verdict::Allowed);
        let log = traces.iter().map(|trace| trace.text.as_str()).collect::<Vec<_>>().join("\n");
        let verdict = if allowed { api::Verdict::Allowed } else { api::Verdict::Denied };
        Reply::json(&PolicyTraceResult { verdict, log })
    }

    fn publish(&self, event: AgentEvent) {
        self.hub.publish(monitor::Event::Agent(event));
    }
}

struct Question {
    from: Labels,
    to: Labels,
    dports: Vec<DPort>,
    host_always_allowed: bool,
    verbose: bool,
}

impl Question {
    /// Of the receiver's rules, and of the sender's.
    fn ask(self, plane: &ControlPlane) -> [policy::trace::Trace; 2] {
        let named_ports: NamedPorts = plane
            .endpoints()
            .into_iter()
            .filter(|endpoint| endpoint.identity_labels == self.to)
            .flat_map(|endpoint| endpoint.named_ports)
            .map(|port| (PortName { name: port.name, protocol: port.protocol }, port.port))
            .collect();
        let context = Context {
            from: self.from,
            to: self.to,
            dports: self.dports,
            direction: Direction::Ingress,
            enforcement: plane.enforcement(),
            host_always_allowed: self.host_always_allowed,
            named_ports,
            verbose: self.verbose,
        };
        let egress = Context { direction: Direction::Egress, ..context.clone() };
        [plane.trace(&context), plane.trace(&egress)]
    }
}

fn labels(side: &str, texts: &[String]) -> Result<Labels, Refused> {
    if texts.is_empty() {
        return Err(Refused::field(format!("{side}.labels"), "must not be empty"));
    }
    Labels::parse(texts).map_err(|e| Refused::field(format!("{side}.labels"), e.to_string()))
}

fn dports(selector: &TraceSelector) -> Result<Vec<DPort>, Refused> {
    let parse = |(at, port): (usize, &api::Port)| {
        let number = addr::Port::new(port.port)
            .ok_or_else(|| Refused::field(format!("to.dports[{at}].port"), "must not be 0"))?;
        let protocol = match port.protocol {
            PortProtocol::Tcp => Protocol::Tcp,
            PortProtocol::Udp => Protocol::Udp,
            PortProtocol::Icmp => Protocol::Icmp,
            PortProtocol::IcmpV6 => Protocol::Icmpv6,
            PortProtocol::Any => Protocol::Any,
        };
        Ok(DPort { port: number, protocol })
    };
    selector.to.dports.iter().enumerate().map(parse).collect()
}

fn model(revision: u64, rules: &[policy::Rule]) -> Result<api::Policy, Refused> {
    let policy = serde_json::to_string_pretty(rules)
        .map_err(|e| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the rules: {e}")))?;
    Ok(api::Policy { revision, policy })
}

/// What is not JSON, or has unknown fields, is 400; a rule that cannot be is 1.4's own status.
fn refused(error: &policy::ParseError) -> Refused {
    use policy::ParseError as E;
    let invalid = StatusCode::from_u16(INVALID_RULE).unwrap_or(StatusCode::BAD_REQUEST);
    let message = error.to_string();
    let (status, path) = match error {
        E::Syntax { .. } => (StatusCode::BAD_REQUEST, None),
        E::Schema { path, .. } | E::TooMany { path, .. } => (StatusCode::BAD_REQUEST, Some(path)),
        E::Unsupported { path, .. } => (StatusCode::NOT_IMPLEMENTED, Some(path)),
        E::Value { path, .. } | E::Selector { path, .. } => (invalid, Some(path)),
    };
    let refused = Refused::new(status, message);
    match path {
        Some(path) => {
            Refused { body: api::ErrorBody::of_field(path.clone(), refused.body.message), ..refused }
        }
        None => refused,
    }
}
