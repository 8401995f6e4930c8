// SPDX-License-Identifier: Apache-2.0
//! `/debuginfo`.

use std::collections::BTreeMap;
use std::fs;

use api::DebugInfo;
use controlplane::EndpointRef;
use identity::LabelArray;
use nix::sys::utsname::uname;

use super::service::services;
use super::{Api, Refused, Reply, endpoint_model as model};
use crate::realize::Target;

impl<T: Target> Api<T> {
    /// `GET /debuginfo`. Of the environment only what the agent reads itself.
    pub(super) async fn debuginfo(&self) -> Result<Reply, Refused> {
        let (views, (revision, rules), services) = self
            .plane(|plane| {
                let log = |id| plane.endpoint_log(&EndpointRef::Local(id)).unwrap_or_default();
                let views: Vec<_> = plane.endpoints().into_iter().map(|view| (log(view.id), view)).collect();
                (views, plane.policy(&LabelArray::default()), services(plane))
            })
            .await?;
        let node = self.addressing();
        let rules: Vec<_> = rules.into_iter().map(|(_, rule)| rule).collect();
        let policy = serde_json::to_string_pretty(&rules).unwrap_or_default();
        Reply::json(&DebugInfo {
            cilium_version: env!("CARGO_PKG_VERSION").into(),
            kernel_version: uname().map(|name| name.release().to_string_lossy().into()).unwrap_or_default(),
            cilium_status: self.status().await,
            endpoint_list: views.iter().map(|(log, view)| model::endpoint(view, log, &node)).collect(),
            service_list: services,
            policy: Some(api::Policy { revision, policy }),
            cilium_memory_map: fs::read_to_string("/proc/self/maps").unwrap_or_default(),
            environment_variables: std::env::vars()
                .filter(|(name, _)| name.starts_with("CILIUM_"))
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            subsystem: BTreeMap::from([
                ("control".into(), format!("{:?}", self.control.statistics())),
                ("realize".into(), format!("{:?}", self.realizer.statistics())),
                ("monitor".into(), format!("{:?}", self.hub)),
                ("node".into(), format!("{:?}", self.node)),
            ]),
        })
    }
}
