// SPDX-License-Identifier: Apache-2.0
//! One method per request of the contract. All fail as [`ClientError`] says.

use serde::de::IgnoredAny;

use super::{Client, ClientError};
use crate::paths::{self, encode, fill};
use crate::{
    BpfMap, BpfMapList, DaemonConfiguration, DaemonConfigurationSpec, DebugInfo, Endpoint,
    EndpointChangeRequest, EndpointConfigurationSpec, EndpointConfigurationStatus, EndpointHealth,
    EndpointStatusChange, Identity, IpamResponse, LabelConfiguration, LabelConfigurationSpec, Metric, Policy,
    PolicyTraceResult, Service, ServiceSpec, StatusResponse, TraceSelector,
};

/// The HTTP status of what was not there before.
const CREATED: u16 = 201;
/// A request without a body.
const NOTHING: Option<&()> = None;

type Reply<T> = Result<T, ClientError>;

#[allow(clippy::missing_errors_doc, reason = "the module says it once for all")]
impl Client {
    /// `GET /healthz`.
    pub fn status(&self) -> Reply<StatusResponse> {
        self.request("GET", paths::HEALTHZ, NOTHING)
    }

    /// `GET /config`.
    pub fn config(&self) -> Reply<DaemonConfiguration> {
        self.request("GET", paths::CONFIG, NOTHING)
    }

    /// `PATCH /config`.
    pub fn patch_config(&self, change: &DaemonConfigurationSpec) -> Reply<()> {
        self.done("PATCH", paths::CONFIG, Some(change))
    }

    /// `GET /endpoint`: those that have all these labels. 1.4 says 404 when there is none; here that is an empty list.
    pub fn endpoints(&self, labels: &[String]) -> Reply<Vec<Endpoint>> {
        none_if_missing(self.request("GET", paths::ENDPOINTS, some(labels)))
    }

    /// `GET /endpoint/{id}`.
    pub fn endpoint(&self, id: &str) -> Reply<Endpoint> {
        self.request("GET", &fill(paths::ENDPOINT, id), NOTHING)
    }

    /// `PUT /endpoint/{id}`: creates it. The agent replies with the endpoint; 1.4 with nothing.
    pub fn create_endpoint(&self, id: &str, request: &EndpointChangeRequest) -> Reply<Option<Endpoint>> {
        self.request("PUT", &fill(paths::ENDPOINT, id), Some(request))
    }

    /// `PATCH /endpoint/{id}`.
    pub fn patch_endpoint(&self, id: &str, request: &EndpointChangeRequest) -> Reply<()> {
        self.done("PATCH", &fill(paths::ENDPOINT, id), Some(request))
    }

    /// `DELETE /endpoint/{id}`: how many errors there were; the endpoint is removed all the same.
    pub fn delete_endpoint(&self, id: &str) -> Reply<u64> {
        let errors: Option<u64> = self.request("DELETE", &fill(paths::ENDPOINT, id), NOTHING)?;
        Ok(errors.unwrap_or(0))
    }

    /// `GET /endpoint/{id}/config`.
    pub fn endpoint_config(&self, id: &str) -> Reply<EndpointConfigurationStatus> {
        self.request("GET", &fill(paths::ENDPOINT_CONFIG, id), NOTHING)
    }

    /// `PATCH /endpoint/{id}/config`; without a change it regenerates the endpoint.
    pub fn patch_endpoint_config(&self, id: &str, change: &EndpointConfigurationSpec) -> Reply<()> {
        self.done("PATCH", &fill(paths::ENDPOINT_CONFIG, id), Some(change))
    }

    /// `GET /endpoint/{id}/labels`.
    pub fn endpoint_labels(&self, id: &str) -> Reply<LabelConfiguration> {
        self.request("GET", &fill(paths::ENDPOINT_LABELS, id), NOTHING)
    }

    /// `PATCH /endpoint/{id}/labels`.
    pub fn patch_endpoint_labels(&self, id: &str, change: &LabelConfigurationSpec) -> Reply<()> {
        self.done("PATCH", &fill(paths::ENDPOINT_LABELS, id), Some(change))
    }

    /// `GET /endpoint/{id}/log`.
    pub fn endpoint_log(&self, id: &str) -> Reply<Vec<EndpointStatusChange>> {
        self.request("GET", &fill(paths::ENDPOINT_LOG, id), NOTHING)
    }

    /// `GET /endpoint/{id}/healthz`.
    pub fn endpoint_health(&self, id: &str) -> Reply<EndpointHealth> {
        self.request("GET", &fill(paths::ENDPOINT_HEALTHZ, id), NOTHING)
    }

    /// `GET /identity`: those that have all these labels, or all.
    pub fn identities(&self, labels: &[String]) -> Reply<Vec<Identity>> {
        none_if_missing(self.request("GET", paths::IDENTITIES, some(labels)))
    }

    /// `GET /identity/{id}`.
    pub fn identity(&self, id: &str) -> Reply<Identity> {
        self.request("GET", &fill(paths::IDENTITY, id), NOTHING)
    }

    /// `POST /ipam`: an address of `ipv4`, of `ipv6`, or of each that is enabled.
    pub fn allocate(&self, family: Option<&str>, owner: &str) -> Reply<IpamResponse> {
        let family = family.map_or(String::new(), |family| format!("family={}&", encode(family)));
        let target = format!("{}?{family}owner={}", paths::IPAM, encode(owner));
        self.request("POST", &target, NOTHING)
    }

    /// `POST /ipam/{ip}`: this address.
    pub fn allocate_ip(&self, ip: &str, owner: &str) -> Reply<()> {
        let target = format!("{}?owner={}", fill(paths::IPAM_IP, ip), encode(owner));
        self.done("POST", &target, NOTHING)
    }

    /// `DELETE /ipam/{ip}`.
    pub fn release_ip(&self, ip: &str) -> Reply<()> {
        self.done("DELETE", &fill(paths::IPAM_IP, ip), NOTHING)
    }

    /// `GET /policy`: the rules that have all these labels, or all.
    pub fn policy(&self, labels: &[String]) -> Reply<Policy> {
        self.request("GET", paths::POLICY, some(labels))
    }

    /// `PUT /policy`: adds rules, given as JSON.
    pub fn put_policy(&self, rules: &str) -> Reply<Policy> {
        self.request("PUT", paths::POLICY, Some(rules))
    }

    /// `DELETE /policy`: the rules that have all these labels, or all.
    pub fn delete_policy(&self, labels: &[String]) -> Reply<Policy> {
        self.request("DELETE", paths::POLICY, some(labels))
    }

    /// `GET /policy/resolve`.
    pub fn resolve_policy(&self, selector: &TraceSelector) -> Reply<PolicyTraceResult> {
        self.request("GET", paths::POLICY_RESOLVE, Some(selector))
    }

    /// `GET /service`.
    pub fn services(&self) -> Reply<Vec<Service>> {
        self.request("GET", paths::SERVICES, NOTHING)
    }

    /// `GET /service/{id}`.
    pub fn service(&self, id: u64) -> Reply<Service> {
        self.request("GET", &fill(paths::SERVICE, &id.to_string()), NOTHING)
    }

    /// `PUT /service/{id}`: whether it is new.
    pub fn put_service(&self, id: u64, spec: &ServiceSpec) -> Reply<bool> {
        let target = fill(paths::SERVICE, &id.to_string());
        let (IgnoredAny, head) = self.request_with_head("PUT", &target, Some(spec))?;
        Ok(head.status == CREATED)
    }

    /// `DELETE /service/{id}`.
    pub fn delete_service(&self, id: u64) -> Reply<()> {
        self.done("DELETE", &fill(paths::SERVICE, &id.to_string()), NOTHING)
    }

    /// `GET /map`.
    pub fn maps(&self) -> Reply<BpfMapList> {
        self.request("GET", paths::MAPS, NOTHING)
    }

    /// `GET /map/{name}`, with how many entries of it were left out: a reply has a limit.
    pub fn map(&self, name: &str) -> Reply<(BpfMap, u64)> {
        let (map, head) = self.request_with_head("GET", &fill(paths::MAP, name), NOTHING)?;
        Ok((map, head.left_out))
    }

    /// `GET /metrics/`.
    pub fn metrics(&self) -> Reply<Vec<Metric>> {
        self.request("GET", paths::METRICS, NOTHING)
    }

    /// `GET /debuginfo`.
    pub fn debuginfo(&self) -> Reply<DebugInfo> {
        self.request("GET", paths::DEBUGINFO, NOTHING)
    }

    /// A request of which only the success matters.
    fn done<B: serde::Serialize + ?Sized>(
        &self,
        method: &'static str,
        target: &str,
        body: Option<&B>,
    ) -> Reply<()> {
        self.request::<B, IgnoredAny>(method, target, body).map(|_| ())
    }
}

fn some(labels: &[String]) -> Option<&[String]> {
    (!labels.is_empty()).then_some(labels)
}

fn none_if_missing<T>(reply: Reply<Vec<T>>) -> Reply<Vec<T>> {
    match reply {
        Err(error) if error.status() == Some(404) => Ok(Vec::new()),
        other => other,
    }
}
