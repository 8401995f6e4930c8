// SPDX-License-Identifier: Apache-2.0
//! What the rules say of a packet, and why: `policy trace`.

use std::fmt;
use std::sync::Arc;

use addr::{Port, Protocol};
use identity::{EndpointSelector, Labels, Source, reserved};

use crate::enforcement::EnforcementMode;
use crate::grant::{Grant, Peers, PortKey, Section};
use crate::map_state::Direction;
use crate::named_port::NamedPorts;
use crate::repository::StoredRule;
use crate::resolver::enforces;
use crate::rule::ServiceRule;
use crate::services::Services;

/// A question: may `from` talk to `to` on these ports? Each direction is a question of its own, and a packet must pass
/// both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Who sends.
    pub from: Labels,
    /// Who receives.
    pub to: Labels,
    /// Ports of the receiver, all of which must be allowed. Without any, all ports of all protocols must be.
    pub dports: Vec<DPort>,
    /// Whose rules are asked: those of the receiver (ingress) or those of the sender (egress).
    pub direction: Direction,
    /// When policy is enforced.
    pub enforcement: EnforcementMode,
    /// Whether the node may always talk to its endpoints.
    pub host_always_allowed: bool,
    /// Named ports of the receiver.
    pub named_ports: NamedPorts,
    /// Whether to tell of rules that do not select the endpoint as well.
    pub verbose: bool,
}

/// A port that is asked about. [`Protocol::Any`] asks whether any protocol that has ports is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DPort {
    /// Its number.
    pub port: Port,
    /// Its protocol.
    pub protocol: Protocol,
}

/// `80/TCP`.
impl fmt::Display for DPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

/// Whether a packet passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It does.
    Allowed,
    /// It does not.
    Denied,
}

impl Verdict {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Whether the packet passes.
    pub verdict: Verdict,
    /// Whether policy is enforced on the endpoint in this direction. If not, everything passes.
    pub enforcing: bool,
    /// Numbers of the rules that select the endpoint and have a section for this direction.
    pub selecting: Vec<u32>,
    /// Numbers of the rules that allow what was asked, or part of it.
    pub allowing: Vec<u32>,
    /// How it came about, for people.
    pub text: String,
}

/// The answer of these rules.
pub(crate) fn traced(rules: &[Arc<StoredRule>], services: &Services, context: &Context) -> Trace {
    let mut tracer = Tracer::new(services, context);
    tracer.head();
    let selecting: Vec<&Arc<StoredRule>> = rules.iter().filter(|rule| tracer.selects(rule)).collect();
    let required: Vec<&EndpointSelector> = selecting
        .iter()
        .filter_map(|rule| rule.section(context.direction))
        .flat_map(|section| &section.requires)
        .collect();
    for rule in &selecting {
        tracer.rule(rule, &required);
    }
    tracer.answer(rules.len(), &selecting)
}

struct Tracer<'a> {
    services: &'a Services,
    context: &'a Context,
    /// Whose rules are asked.
    subject: &'a Labels,
    /// Whom they are asked about.
    peer: &'a Labels,
    /// `from` or `to`, as rules call peers.
    preposition: &'static str,
    /// Which of the ports asked about some rule allows; without ports, whether all are.
    allowed: Vec<bool>,
    allowing: Vec<u32>,
    text: String,
}

impl<'a> Tracer<'a> {
    fn new(services: &'a Services, context: &'a Context) -> Self {
        let (subject, peer, preposition) = match context.direction {
            Direction::Ingress => (&context.to, &context.from, "from"),
            Direction::Egress => (&context.from, &context.to, "to"),
        };
        let allowed = vec![false; context.dports.len().max(1)];
        let (allowing, text) = (Vec::new(), String::new());
        Self { services, context, subject, peer, preposition, allowed, allowing, text }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn head(&mut self) {
        let Context { from, to, dports, direction, .. } = self.context;
        let ports: Vec<String> = dports.iter().map(DPort::to_string).collect();
        let ports = if ports.is_empty() { "any port".to_owned() } else { ports.join(", ") };
        self.line(&format!("Tracing {direction} from [{from}] to [{to}] on {ports}"));
    }

    fn selects(&mut self, rule: &StoredRule) -> bool {
        let selects = rule.rule().endpoint_selector().matches(self.subject);
        if !selects && self.context.verbose {
            self.line(&format!("  Rule {} does not select [{}]", titled(rule), self.subject));
        }
        selects
    }

    fn rule(&mut self, rule: &StoredRule, required: &[&EndpointSelector]) {
        self.line(&format!("* Rule {} selects [{}]", titled(rule), self.subject));
        let direction = self.context.direction;
        let Some(Section { requires, grants }) = rule.section(direction) else {
            self.line(&format!("    It says nothing about {direction}"));
            return;
        };
        for selector in requires {
            let met = if selector.matches(self.peer) { "met" } else { "not met" };
            self.line(&format!("    Requires {} {selector}: {met}", self.preposition));
        }
        if grants.is_empty() {
            self.line(&format!("    Allows nothing at {direction}"));
        }
        for grant in grants {
            if self.grant(grant, required) && self.allowing.last() != Some(&rule.id()) {
                self.allowing.push(rule.id());
            }
        }
    }

    /// Whether it allows any of what is asked.
    fn grant(&mut self, grant: &Grant, required: &[&EndpointSelector]) -> bool {
        let found = match &grant.peers {
            Peers::Any => {
                self.line(&format!("    Allows {} anybody", self.preposition));
                true
            }
            Peers::Selected(peers) => {
                let mut found = false;
                for peer in peers {
                    let selector = peer.under(required);
                    let matches = selector.as_ref().is_none_or(|selector| selector.matches(self.peer));
                    let how = if matches { "the labels match" } else { "no match" };
                    let selector = selector.map_or("anybody".to_owned(), |selector| selector.to_string());
                    self.line(&format!("    Allows {} {selector}: {how}", self.preposition));
                    found |= matches;
                }
                found
            }
            Peers::Service(entry) => self.service(entry),
        };
        found && self.ports(grant)
    }

    fn service(&mut self, entry: &ServiceRule) -> bool {
        let found = self.services.selects(entry, self.peer);
        let how = match (found, self.services.addresses(entry).len()) {
            (true, _) => "it has this address".to_owned(),
            (false, 0) => "no address, since only services without a selector have any".to_owned(),
            (false, count) => {
                format!("no match, {count} other address{}", if count == 1 { "" } else { "es" })
            }
        };
        self.line(&format!("    Allows {} {entry}: {how}", self.preposition));
        found
    }

    fn ports(&mut self, grant: &Grant) -> bool {
        let mut keys = grant.ports.fixed.clone();
        for name in &grant.ports.named {
            match self.context.named_ports.get(name) {
                Some(port) => {
                    keys.push(PortKey { protocol: name.protocol.number(), port: port.get(), prefix: 16 });
                }
                None => {
                    let (name, protocol) = (&name.name, name.protocol);
                    self.line(&format!("      Port {name}/{protocol} has no number at this receiver"));
                }
            }
        }
        if grant.ports.is_any() {
            self.line("      + on any port");
            self.allowed.fill(true);
            return true;
        }
        let mut any = false;
        for (at, dport) in self.context.dports.iter().enumerate() {
            if keys.iter().any(|key| covers(key, *dport)) {
                self.line(&format!("      + on {dport}"));
                self.allowed[at] = true;
                any = true;
            }
        }
        if !any {
            self.line("      - on other ports only");
        }
        any
    }

    fn answer(mut self, rules: usize, selecting: &[&Arc<StoredRule>]) -> Trace {
        let direction = self.context.direction;
        let with_section = selecting.iter().filter(|rule| rule.section(direction).is_some());
        let with_section: Vec<u32> = with_section.map(|rule| rule.id()).collect();
        self.line(&format!("{} of {rules} rules select [{}]", selecting.len(), self.subject));
        let enforcing = enforces(self.context.enforcement, self.subject, !with_section.is_empty());
        let host = direction == Direction::Ingress
            && self.context.host_always_allowed
            && self.peer.find(&Source::Reserved, reserved::HOST).is_some();
        let verdict = if !enforcing {
            let mode = self.context.enforcement;
            self.line(&format!("Policy is not enforced at {direction} (mode {mode}): everything passes"));
            Verdict::Allowed
        } else if host {
            self.line("The host may always talk to its endpoints");
            Verdict::Allowed
        } else if self.allowed.iter().all(|allowed| *allowed) {
            Verdict::Allowed
        } else {
            Verdict::Denied
        };
        self.line(&format!("Final verdict: {}", verdict.as_str().to_uppercase()));
        Trace { verdict, enforcing, selecting: with_section, allowing: self.allowing, text: self.text }
    }
}

/// The rule's number, its labels, and what it selects.
fn titled(rule: &StoredRule) -> String {
    let (id, labels, selector) = (rule.id(), rule.rule().labels(), rule.rule().endpoint_selector());
    let labels = if labels.is_empty() { String::new() } else { format!(" {labels}") };
    format!("{id}{labels} (endpoints {selector})")
}

fn covers(key: &PortKey, dport: DPort) -> bool {
    let protocol = dport.protocol == Protocol::Any || key.protocol == dport.protocol.number();
    let mask = u16::MAX.checked_shl(16 - u32::from(key.prefix)).unwrap_or_default();
    protocol && dport.port.get() & mask == key.port
}
