// SPDX-License-Identifier: Apache-2.0
//! Rules and objects, by who owns them.

use identity::LabelArray;

use super::ControlPlane;
use super::realize::About;
use crate::event::{ConfigPatch, Objects, Ticket, Timestamp};
use crate::reply::Answer;

impl ControlPlane {
    pub(super) fn policy_add(&mut self, ticket: Ticket, rules: Vec<policy::Rule>, replace: bool) {
        let revision = self.rules.add_of_api(rules, replace);
        self.node_changed = true;
        self.wait(ticket, About::Policy(Answer::PolicyAdded { revision }));
    }

    pub(super) fn policy_delete(&mut self, ticket: Ticket, labels: &LabelArray) {
        match self.rules.delete_of_api(labels) {
            Ok((revision, deleted)) => {
                self.node_changed = true;
                self.wait(ticket, About::Policy(Answer::PolicyDeleted { revision, deleted }));
            }
            Err(refusal) => self.replies.push((ticket, Err(refusal))),
        }
    }

    pub(super) fn patch_config(&mut self, ticket: Ticket, patch: &ConfigPatch) {
        if let Some(mode) = patch.enforcement {
            self.config.enforcement = mode;
            self.rules.set_enforcement(mode);
        }
        let options = self.config.options.overlaid(&patch.options);
        if options != self.config.options {
            self.config.options = options;
            self.dirty.extend(self.endpoints.ids());
        }
        self.wait(ticket, About::Config);
    }

    /// A file holds this now.
    pub(super) fn source(&mut self, file: &str, objects: Objects, now: Timestamp) {
        self.source_failures.remove(file);
        let Objects { rules, pods, namespaces, services, slices } = objects;
        let changed = self.files.replace(file, pods, namespaces, &mut self.notices);
        self.replace_services(file, services, slices);
        self.changed_pods.extend(changed.pods.iter().cloned());
        if !self.started {
            // Endpoints are labelled when all files are known, and rules are taken in the order of the files' names.
            self.collected_rules.insert(file.to_owned(), rules);
            return;
        }
        self.rules.replace_of_file(file, rules);
        let of_pods = changed.pods.iter().flat_map(|pod| self.endpoints.of_pod(pod)).copied();
        let of_namespaces = changed.namespaces.iter().flat_map(|name| self.endpoints.of_namespace(name));
        let affected: std::collections::BTreeSet<u16> = of_pods.chain(of_namespaces).collect();
        for id in affected {
            self.update_pod(id);
            self.relabel(id, now);
        }
    }
}
