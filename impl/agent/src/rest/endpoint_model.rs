// SPDX-License-Identifier: Apache-2.0
//! Endpoints as the control plane sees them, in the models of the API.

use api::{
    AddressPair, ConfigurationMap, Endpoint, EndpointConfigurationSpec, EndpointHealth, EndpointHealthStatus,
    EndpointIdentifiers, EndpointNetworking, EndpointPolicy, EndpointPolicyEnabled, EndpointPolicyStatus,
    EndpointState, EndpointStatus, EndpointStatusChange, Identity, LabelConfiguration,
    LabelConfigurationSpec, LabelConfigurationStatus, NodeAddressing, StatusChangeCode,
};
use controlplane::{EndpointOptions, EndpointView, LogCode, LogEntry, Row, State};
use identity::{Labels, NumericIdentity};
use netlink::MacAddr;

use super::rfc3339;

/// How many changes an endpoint's model has; its log has all that are kept.
const LOG_SHOWN: usize = 1;

/// An endpoint.
pub fn endpoint(view: &EndpointView, log: &[LogEntry], node: &NodeAddressing) -> Endpoint {
    let address = |address: Option<String>| address.unwrap_or_default();
    Endpoint {
        id: view.id,
        spec: configuration(view),
        status: EndpointStatus {
            state: state(view.state),
            external_identifiers: identifiers(view),
            identity: view.identity.map(|identity| self::identity(identity, &view.identity_labels)),
            labels: labels(view).status,
            realized: configuration(view),
            networking: EndpointNetworking {
                addressing: vec![AddressPair {
                    ipv4: address(view.ipv4.map(|address| address.to_string())),
                    ipv6: address(view.ipv6.map(|address| address.to_string())),
                }],
                host_addressing: Some(node.clone()),
                host_mac: MacAddr(view.node_mac).to_string(),
                mac: MacAddr(view.mac).to_string(),
                interface_name: view.interface.clone(),
                interface_index: view.ifindex,
            },
            policy: policy(view),
            log: log.iter().rev().take(LOG_SHOWN).map(change).collect(),
            controllers: Vec::new(),
            health: health(view),
        },
    }
}

/// Its options.
pub fn configuration(view: &EndpointView) -> EndpointConfigurationSpec {
    EndpointConfigurationSpec {
        options: options(&view.effective_options),
        label_configuration: Some(LabelConfigurationSpec { user: view.labels.user.printable() }),
    }
}

/// Options with the words of the API.
pub fn options(options: &EndpointOptions) -> ConfigurationMap {
    let word = |on: bool| if on { "Enabled" } else { "Disabled" };
    options.iter().map(|(option, on)| (option.as_str().to_owned(), word(on).to_owned())).collect()
}

/// Its labels.
pub fn labels(view: &EndpointView) -> LabelConfiguration {
    let user = LabelConfigurationSpec { user: view.labels.user.printable() };
    LabelConfiguration {
        spec: user.clone(),
        status: LabelConfigurationStatus {
            realized: user,
            security_relevant: view.labels.security_relevant.printable(),
            derived: view.labels.information.printable(),
            disabled: view.labels.disabled.printable(),
        },
    }
}

/// An identity.
pub fn identity(identity: NumericIdentity, labels: &Labels) -> Identity {
    Identity { id: identity.as_u32(), labels: labels.printable(), labels_sha256: labels.sha256() }
}

/// One of the changes of its log.
pub fn change(entry: &LogEntry) -> EndpointStatusChange {
    EndpointStatusChange {
        timestamp: rfc3339(entry.at.0),
        code: match entry.code {
            LogCode::Ok => StatusChangeCode::Ok,
            LogCode::Failed => StatusChangeCode::Failed,
        },
        message: entry.message.to_string(),
        state: Some(state(entry.state)),
    }
}

/// Whether its parts work.
pub fn health(view: &EndpointView) -> EndpointHealth {
    use EndpointHealthStatus as Health;
    let failed = |row: fn(&Row) -> bool| view.failures.iter().any(|failure| row(&failure.row));
    let programs = failed(|row| matches!(row, Row::Endpoint(_)));
    let tables = failed(|row| matches!(row, Row::Policy(_) | Row::Ipcache(_)));
    let settling = match view.state {
        State::Ready | State::NotReady => None,
        State::Regenerating | State::WaitingToRegenerate | State::Disconnecting => Some(Health::Pending),
        State::Creating | State::WaitingForIdentity | State::Restoring => Some(Health::Bootstrap),
    };
    let part = |failed: bool| if failed { Health::Failure } else { settling.unwrap_or(Health::Ok) };
    let policy = match (tables, view.policy.realized_revision > 0) {
        // An older policy is enforced.
        (true, true) => Health::Warning,
        (failed, _) => part(failed),
    };
    let overall_health = if programs {
        Health::Failure
    } else if policy != Health::Ok {
        policy
    } else {
        part(!view.failures.is_empty())
    };
    EndpointHealth { overall_health, bpf: part(programs), policy, connected: !programs && settling.is_none() }
}

fn state(state: State) -> EndpointState {
    match state {
        State::Creating => EndpointState::Creating,
        State::WaitingForIdentity => EndpointState::WaitingForIdentity,
        State::NotReady => EndpointState::NotReady,
        State::WaitingToRegenerate => EndpointState::WaitingToRegenerate,
        State::Regenerating => EndpointState::Regenerating,
        State::Restoring => EndpointState::Restoring,
        State::Ready => EndpointState::Ready,
        State::Disconnecting => EndpointState::Disconnecting,
    }
}

fn identifiers(view: &EndpointView) -> EndpointIdentifiers {
    let pod = (view.k8s_namespace.as_str(), view.k8s_pod_name.as_str());
    EndpointIdentifiers {
        container_id: view.container_id.clone(),
        container_name: view.container_name.clone(),
        pod_name: if pod.1.is_empty() { String::new() } else { format!("{}/{}", pod.0, pod.1) },
        ..EndpointIdentifiers::default()
    }
}

/// In which directions policy is enforced.
pub fn enforcement(view: &EndpointView) -> EndpointPolicyEnabled {
    EndpointPolicyEnabled::of(view.policy.enforcing_ingress, view.policy.enforcing_egress)
}

fn policy(view: &EndpointView) -> EndpointPolicyStatus {
    let of = |revision| EndpointPolicy {
        policy_revision: revision,
        id: view.identity.map_or(0, NumericIdentity::as_u32),
        policy_enabled: enforcement(view),
        allowed_ingress_identities: view.policy.allowed_ingress.clone(),
        allowed_egress_identities: view.policy.allowed_egress.clone(),
        ..EndpointPolicy::default()
    };
    EndpointPolicyStatus {
        spec: of(view.policy.revision),
        realized: of(view.policy.realized_revision),
        proxy_policy_revision: 0,
    }
}
