// SPDX-License-Identifier: Apache-2.0
//! `/config`.

use api::{
    ConfigurationMap, DaemonConfiguration, DaemonConfigurationSpec, DaemonConfigurationStatus, DatapathMode,
    NodeAddressing, NodeAddressingElement,
};
use controlplane::{ConfigPatch, Event};
use policy::EnforcementMode;

use super::message::parse;
use super::{Api, Refused, Reply, endpoint, endpoint_model as model};
use crate::config::Aggregation;
use crate::realize::Target;

/// The option that is the node's own, not of its endpoints.
const AGGREGATION: &str = "MonitorAggregationLevel";

impl<T: Target> Api<T> {
    /// The node's addresses as endpoints see them: their gateways.
    pub(super) fn addressing(&self) -> NodeAddressing {
        let element = |ip: String, alloc_range: String| NodeAddressingElement {
            enabled: true,
            ip,
            alloc_range,
            ..NodeAddressingElement::default()
        };
        NodeAddressing {
            ipv4: self.node.ipv4.map(|ipv4| element(ipv4.router.to_string(), ipv4.range.to_string())),
            ipv6: self.node.ipv6.map(|ipv6| element(ipv6.router.to_string(), ipv6.range.to_string())),
        }
    }

    /// `GET /config`.
    pub(super) async fn config(&self) -> Result<Reply, Refused> {
        let (options, enforcement) =
            self.plane(|plane| (plane.options().clone(), plane.enforcement())).await?;
        let mut options = model::options(&options);
        options.insert(AGGREGATION.into(), self.monitoring.aggregation().as_str().into());
        let realized =
            DaemonConfigurationSpec { options, policy_enforcement: Some(enforcement.as_str().into()) };
        Reply::json(&DaemonConfiguration {
            spec: realized.clone(),
            status: DaemonConfigurationStatus {
                realized,
                immutable: self.immutable(),
                addressing: Some(self.addressing()),
                node_monitor: Some(self.monitor_status().await),
                device_mtu: Some(self.node.mtu),
                route_mtu: Some(self.node.mtu),
                datapath_mode: Some(DatapathMode::Veth),
                ..DaemonConfigurationStatus::default()
            },
        })
    }

    /// What needs a restart to change.
    fn immutable(&self) -> ConfigurationMap {
        let network = &self.config.network;
        let on = |on: bool| if on { "Enabled" } else { "Disabled" };
        [
            ("EnableIPv4", on(network.ipv4.is_some()).to_owned()),
            ("EnableIPv6", on(network.ipv6.is_some()).to_owned()),
            ("Masquerade", on(network.masquerade && self.node.device.is_some()).to_owned()),
            ("Device", self.node.device.clone().unwrap_or_default()),
            ("Tunnel", "disabled".to_owned()),
            ("ClusterName", self.config.workloads.cluster_name.clone()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// `PATCH /config`.
    pub(super) async fn patch_config(&self, body: &[u8]) -> Result<Reply, Refused> {
        let DaemonConfigurationSpec { mut options, policy_enforcement } = parse(body)?;
        let aggregation = options.iter().find(|(name, _)| name.eq_ignore_ascii_case(AGGREGATION));
        let aggregation = aggregation.map(|(name, value)| (name.clone(), value.clone()));
        let level = match &aggregation {
            None => None,
            Some((name, value)) => {
                options.remove(name);
                let field = || Refused::field(format!("options.{AGGREGATION}"), Aggregation::EXPECTED);
                Some(Aggregation::parse(value).ok_or_else(field)?)
            }
        };
        let enforcement = policy_enforcement.as_deref().map(str::parse::<EnforcementMode>).transpose();
        let enforcement = enforcement.map_err(|e| Refused::field("policy-enforcement", e.to_string()))?;
        let patch = ConfigPatch { options: endpoint::options(&options)?, enforcement };
        self.request(move |ticket| Event::Config { ticket, patch }).await?;
        if let Some(level) = level {
            self.monitoring.set_aggregation(level);
        }
        Ok(Reply::done())
    }
}
