// SPDX-License-Identifier: Apache-2.0
//! Kubernetes objects as files hold them.

use std::collections::{BTreeMap, BTreeSet};

use loadbalancer::{EndpointSlice, ObjectKey, Service};

use crate::event::{Namespace, Pod};
use crate::reply::Notice;

/// Namespace and name of a pod.
pub(crate) type PodKey = (String, String);

/// Objects of one kind in all files. Of an object in two files, that of the first file by name counts, whichever came
/// first.
#[derive(Debug, Clone)]
struct Kind<K, V> {
    objects: BTreeMap<K, BTreeMap<String, V>>,
    by_file: BTreeMap<String, BTreeSet<K>>,
}

/// What the new objects of a file changed.
struct Replaced<K, V> {
    /// The keys of which another object counts now, or none, with the one that counted before.
    before: BTreeMap<K, Option<V>>,
    /// Those that are there twice, with the file that counts and the one that does not.
    twice: Vec<(K, String, String)>,
}

impl<K, V> Default for Kind<K, V> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), by_file: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, V: PartialEq + Clone> Kind<K, V> {
    /// The object that counts.
    fn find(&self, key: &K) -> Option<&V> {
        self.objects.get(key)?.values().next()
    }

    /// The file holds these now.
    fn replace(&mut self, file: &str, now: Vec<(K, V)>) -> Replaced<K, V> {
        let mut twice = Vec::new();
        let mut keys = BTreeSet::new();
        let mut before = BTreeMap::new();
        for key in self.by_file.remove(file).unwrap_or_default() {
            before.insert(key.clone(), self.find(&key).cloned());
            if let Some(files) = self.objects.get_mut(&key) {
                files.remove(file);
                if files.is_empty() {
                    self.objects.remove(&key);
                }
            }
        }
        for (key, object) in now {
            before.entry(key.clone()).or_insert_with(|| self.find(&key).cloned());
            if !keys.insert(key.clone()) {
                twice.push((key, file.to_owned(), file.to_owned()));
                continue;
            }
            let files = self.objects.entry(key.clone()).or_default();
            files.insert(file.to_owned(), object);
            let names: Vec<&String> = files.keys().collect();
            twice.extend(names.get(1).map(|_| (key, names[0].clone(), file.to_owned())));
        }
        if !keys.is_empty() {
            self.by_file.insert(file.to_owned(), keys);
        }
        before.retain(|key, was| self.find(key) != was.as_ref());
        Replaced { before, twice }
    }
}

/// Objects of all files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    pods: Kind<PodKey, Pod>,
    namespaces: Kind<String, Namespace>,
    services: Kind<ObjectKey, Service>,
    /// By the objects that they are of: the subsets of an Endpoints object are one.
    slices: Kind<ObjectKey, Vec<EndpointSlice>>,
}

/// What a file's new content changed.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub(crate) pods: BTreeSet<PodKey>,
    pub(crate) namespaces: BTreeSet<String>,
}

impl Files {
    /// The file holds these now. What changed.
    pub(crate) fn replace(
        &mut self,
        file: &str,
        pods: Vec<Pod>,
        namespaces: Vec<Namespace>,
        notices: &mut Vec<Notice>,
    ) -> Changed {
        let pods = pods.into_iter().map(|pod| ((pod.namespace.clone(), pod.name.clone()), pod));
        let namespaces = namespaces.into_iter().map(|one| (one.name.clone(), one));
        let pods = self.pods.replace(file, pods.collect());
        let namespaces = self.namespaces.replace(file, namespaces.collect());
        notices.extend(
            pods.twice
                .into_iter()
                .map(|((namespace, name), counts, of)| twice(format!("pod {namespace}/{name}"), counts, of)),
        );
        notices.extend(
            namespaces
                .twice
                .into_iter()
                .map(|(name, counts, of)| twice(format!("namespace {name}"), counts, of)),
        );
        Changed {
            pods: pods.before.into_keys().collect(),
            namespaces: namespaces.before.into_keys().collect(),
        }
    }

    /// The file holds these services and slices now. Those of which another object counts now, or none.
    pub(crate) fn replace_services(
        &mut self,
        file: &str,
        services: Vec<Service>,
        slices: Vec<EndpointSlice>,
        notices: &mut Vec<Notice>,
    ) -> (BTreeSet<ObjectKey>, BTreeSet<ObjectKey>) {
        let services = services.into_iter().map(|one| (one.key.clone(), one)).collect();
        let services = self.services.replace(file, services);
        let objects = self.slices.replace(file, by_object(slices));
        let mut slices = BTreeSet::new();
        for (object, before) in &objects.before {
            let now = self.slices.find(object).into_iter().flatten();
            slices.extend(before.iter().flatten().chain(now).map(|slice| slice.key.clone()));
        }
        let twice_of = |kind: &'static str, found: Vec<(ObjectKey, String, String)>| {
            found.into_iter().map(move |(key, counts, of)| twice(format!("{kind} {key}"), counts, of))
        };
        notices.extend(twice_of("service", services.twice));
        notices.extend(twice_of("endpoint slice", objects.twice));
        (services.before.into_keys().collect(), slices)
    }

    pub(crate) fn service(&self, key: &ObjectKey) -> Option<&Service> {
        self.services.find(key)
    }

    pub(crate) fn slice(&self, key: &ObjectKey) -> Option<&EndpointSlice> {
        self.slices.find(&key.object_of_slice())?.iter().find(|slice| slice.key == *key)
    }

    pub(crate) fn pod(&self, key: &PodKey) -> Option<&Pod> {
        self.pods.find(key)
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.find(&name.to_owned())
    }
}

/// Slices in the order of a file, by the objects that they are of.
fn by_object(slices: Vec<EndpointSlice>) -> Vec<(ObjectKey, Vec<EndpointSlice>)> {
    let mut objects: Vec<(ObjectKey, Vec<EndpointSlice>)> = Vec::new();
    for slice in slices {
        let object = slice.key.object_of_slice();
        match objects.last_mut() {
            // The same one once more, were its key there already.
            Some((last, of)) if *last == object && of.iter().all(|other| other.key != slice.key) => {
                of.push(slice)
            }
            _ => objects.push((object, vec![slice])),
        }
    }
    objects
}

fn twice(object: String, counts: String, file: String) -> Notice {
    Notice::Twice { object, counts, file }
}
