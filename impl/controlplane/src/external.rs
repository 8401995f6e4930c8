// SPDX-License-Identifier: Apache-2.0
//! Services without a selector, as rules of `toServices` see them. What load balancing does with a service, or does not,
//! makes no difference here.

use std::collections::{BTreeMap, BTreeSet};

use identity::{Label, Source};
use loadbalancer::{EndpointSlice, ObjectKey, Service};
use policy::{ExternalService, ServiceName};

use crate::files::Files;

/// Which slices each service has.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    service_of: BTreeMap<ObjectKey, ObjectKey>,
    slices_of: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
}

impl Slices {
    /// A slice is so now, or is gone. The services whose endpoints that may change: two, if it was another's.
    pub(crate) fn set(&mut self, key: &ObjectKey, slice: Option<&EndpointSlice>) -> BTreeSet<ObjectKey> {
        let mut concerned = BTreeSet::new();
        if let Some(service) = self.service_of.remove(key) {
            if let Some(keys) = self.slices_of.get_mut(&service) {
                keys.remove(key);
                if keys.is_empty() {
                    self.slices_of.remove(&service);
                }
            }
            concerned.insert(service);
        }
        if let Some(slice) = slice {
            let namespace = slice.key.namespace.clone();
            let service = ObjectKey { namespace, name: slice.service.clone() };
            self.slices_of.entry(service.clone()).or_default().insert(key.clone());
            self.service_of.insert(key.clone(), service.clone());
            concerned.insert(service);
        }
        concerned
    }

    /// The service, if it is one that rules may name.
    pub(crate) fn external(&self, files: &Files, key: &ObjectKey) -> Option<ExternalService> {
        let service = files.service(key)?;
        let slices = self.slices_of.get(key).into_iter().flatten().filter_map(|slice| files.slice(slice));
        let addresses = service.external_addresses(slices)?;
        Some(ExternalService { labels: labels(service), addresses })
    }
}

/// As policy calls it.
pub(crate) fn name(key: &ObjectKey) -> ServiceName {
    ServiceName { namespace: key.namespace.clone(), name: key.name.clone() }
}

/// Without those that no API server would take, which no selector can ask for either.
fn labels(service: &Service) -> identity::Labels {
    let labels = service.labels.iter().filter_map(|(key, value)| Label::new(Source::K8s, key, value).ok());
    labels.collect()
}
