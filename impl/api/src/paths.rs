// SPDX-License-Identifier: Apache-2.0
//! Where things are: sockets and paths of requests.
//!
//! The templates are written for a router that takes `{name}`; the client fills them with [`fill`].

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The agent's socket where no flag says another.
pub const SOCKET: &str = "/var/run/cilium/cilium.sock";
/// The socket on which the agent tells events, beside its own.
pub const MONITOR_SOCKET: &str = "/var/run/cilium/monitor.sock";
/// Names the agent's socket for clients.
pub const SOCKET_VARIABLE: &str = "CILIUM_SOCK";

/// How the agent is: `GET`.
pub const HEALTHZ: &str = "/v1/healthz";
/// Its configuration: `GET`, `PATCH`.
pub const CONFIG: &str = "/v1/config";
/// All endpoints: `GET`, with labels as a body if only those.
pub const ENDPOINTS: &str = "/v1/endpoint";
/// One endpoint: `GET`, `PUT`, `PATCH`, `DELETE`.
pub const ENDPOINT: &str = "/v1/endpoint/{id}";
/// Its configuration: `GET`, `PATCH`.
pub const ENDPOINT_CONFIG: &str = "/v1/endpoint/{id}/config";
/// Its labels: `GET`, `PATCH`.
pub const ENDPOINT_LABELS: &str = "/v1/endpoint/{id}/labels";
/// Its history: `GET`.
pub const ENDPOINT_LOG: &str = "/v1/endpoint/{id}/log";
/// Whether it works: `GET`.
pub const ENDPOINT_HEALTHZ: &str = "/v1/endpoint/{id}/healthz";
/// All identities: `GET`, with labels as a body if only those.
pub const IDENTITIES: &str = "/v1/identity";
/// One identity: `GET`.
pub const IDENTITY: &str = "/v1/identity/{id}";
/// Allocates an address: `POST`, with `?family=ipv4` or `ipv6` if not both, and `?owner=`.
pub const IPAM: &str = "/v1/ipam";
/// Allocates this address, `POST`, or releases it, `DELETE`.
pub const IPAM_IP: &str = "/v1/ipam/{ip}";
/// The rules: `GET`, `PUT`, `DELETE`, with labels as a body if only those.
pub const POLICY: &str = "/v1/policy";
/// May this one talk to that one: `GET` with a body.
pub const POLICY_RESOLVE: &str = "/v1/policy/resolve";
/// All services: `GET`.
pub const SERVICES: &str = "/v1/service";
/// One service: `GET`, `PUT`, `DELETE`.
pub const SERVICE: &str = "/v1/service/{id}";
/// All open maps: `GET`.
pub const MAPS: &str = "/v1/map";
/// One map with its entries: `GET`.
pub const MAP: &str = "/v1/map/{name}";
/// The metrics: `GET`.
pub const METRICS: &str = "/v1/metrics/";
/// What a bug report needs: `GET`.
pub const DEBUGINFO: &str = "/v1/debuginfo";

/// The header in which a reply to [`MAP`] says how many entries it left out.
pub const ENTRIES_LEFT_OUT: &str = "x-entries-left-out";

/// Paths of 1.4 that are not there, and which feature is missing: the agent answers 501 on them.
pub const NOT_SUPPORTED: &[(&str, &str)] = &[
    ("/v1/prefilter", "prefilter"),
    ("/v1/fqdn/cache", "DNS-aware policy"),
    ("/v1/fqdn/cache/{id}", "DNS-aware policy"),
];

/// What is not written as it is in a segment of a path. `:` is, for it separates the parts of endpoints' names.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// A template with its one `{name}` filled; one without is returned as it is.
pub fn fill(template: &str, value: &str) -> String {
    match template.split_once('{') {
        Some((before, rest)) => {
            let after = rest.split_once('}').map_or("", |(_, after)| after);
            format!("{before}{}{after}", encode(value))
        }
        None => template.to_owned(),
    }
}

/// A value as a path segment or as the value of a query.
pub(crate) fn encode(value: &str) -> String {
    utf8_percent_encode(value, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_segment() {
        assert_eq!(fill(ENDPOINT_LOG, "pod-name:default:web"), "/v1/endpoint/pod-name:default:web/log");
        assert_eq!(fill(ENDPOINT, "../policy?x=1 #é"), "/v1/endpoint/..%2Fpolicy%3Fx%3D1%20%23%C3%A9");
        assert_eq!(fill(HEALTHZ, "ignored"), HEALTHZ);
    }
}
