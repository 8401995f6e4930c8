// SPDX-License-Identifier: Apache-2.0
//! The arrows between crates, read from their manifests. Dependencies for tests count too: an arrow that only tests
//! have is still one that a reader has to know.

use std::path::Path;

use super::layers::{EMBEDDED, IMPURE, LAYERS, OUTSIDE, OWNERS, PURE_LAYERS, XTASK};
use crate::workspace::{Dependency, Package};

/// All violations.
pub fn check(packages: &[Package]) -> Vec<String> {
    let mut violations = Vec::new();
    for package in packages {
        let found = name_violation(package).into_iter().chain(layer_violation(package)).chain(
            package.dependencies.iter().flat_map(|dependency| {
                let inside = packages.iter().find(|p| p.name == dependency.name);
                match inside {
                    Some(other) => inner_arrow(package, other),
                    None => outer_arrow(package, dependency),
                }
            }),
        );
        let place = package.directory.join("Cargo.toml");
        violations.extend(found.map(|violation| format!("{}: {violation}", place.display())));
    }
    violations
}

/// The directory tells the name: `impl/policy` is `policy`, `bench-suites/lab` is `bench-lab`, `bpf/tests` is `bpf-tests`.
fn name_violation(package: &Package) -> Option<String> {
    let parts: Vec<_> = package.directory.iter().map(|part| part.to_string_lossy()).collect();
    let expected = match parts.as_slice() {
        [suites, suite] if suites == "bench-suites" => format!("bench-{suite}"),
        [bpf, part] if bpf == "bpf" => format!("bpf-{part}"),
        [.., last] => last.to_string(),
        [] => return None,
    };
    (package.name != expected)
        .then(|| format!("crate `{}` is named `{expected}` after its directory", package.name))
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn in_impl(package: &Package) -> bool {
    package.directory.starts_with(Path::new("impl"))
}

fn layer_violation(package: &Package) -> Option<String> {
    (in_impl(package) && layer(&package.name).is_none())
        .then(|| format!("crate `{}` has no layer: give it one in ci/xtask/src/tidy/layers.rs", package.name))
}

fn inner_arrow(package: &Package, other: &Package) -> Option<String> {
    let (name, used) = (&package.name, &other.name);
    if in_impl(package) {
        if !in_impl(other) {
            let users = EMBEDDED.iter().find(|(embedded, _)| embedded == used).map(|(_, users)| *users);
            if users.is_some_and(|users| users.contains(&name.as_str())) {
                return None;
            }
            return Some(format!("`{name}` is the product and must not depend on `{used}` outside of impl/"));
        }
        let (from, to) = (layer(name)?, layer(used)?);
        return (to >= from).then(|| {
            format!("`{name}` (layer {from}) must not depend on `{used}` (layer {to}): only on lower layers")
        });
    }
    let (_, allowed) = OUTSIDE.iter().find(|(crate_name, _)| crate_name == name)?;
    (!allowed.contains(&used.as_str())).then(|| format!("`{name}` must not depend on `{used}`"))
}

fn outer_arrow(package: &Package, dependency: &Dependency) -> Option<String> {
    let (name, used) = (package.name.as_str(), dependency.name.as_str());
    if layer(name).is_some_and(|layer| layer < PURE_LAYERS) && IMPURE.contains(&used) {
        return Some(format!("`{name}` is in a pure layer and must not depend on `{used}`"));
    }
    if let Some((_, owners)) = OWNERS.iter().find(|(outside, _)| *outside == used)
        && !owners.contains(&name)
    {
        return Some(format!("only {} may depend on `{used}`, not `{name}`", owners.join(", ")));
    }
    (name == "xtask" && !dependency.dev && !XTASK.contains(&used))
        .then(|| format!("`xtask` must stay quick to build and must not depend on `{used}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(directory: &str, name: &str, dependencies: &[&str]) -> Package {
        Package {
            name: name.into(),
            directory: directory.into(),
            dependencies: dependencies.iter().map(|d| Dependency { name: (*d).into(), dev: false }).collect(),
        }
    }

    fn only(packages: &[Package]) -> String {
        let violations = check(packages);
        assert_eq!(violations.len(), 1, "{violations:?}");
        violations.concat()
    }

    #[test]
    fn arrows_downwards_are_allowed() {
        let packages = [
            package("impl/addr", "addr", &["serde"]),
            package("impl/policy", "policy", &["addr"]),
            package("impl/netlink", "netlink", &["addr", "rtnetlink", "tokio"]),
            package("netns-lab", "netns-lab", &["netlink", "nix"]),
            package("reports", "reports", &["netns-lab"]),
            package("bench-suites/lab", "bench-lab", &["netns-lab", "reports"]),
        ];
        assert_eq!(check(&packages), Vec::<String>::new());
    }

    #[test]
    fn arrows_upwards_and_sideways_are_refused() {
        let addr = package("impl/addr", "addr", &["policy"]);
        let policy = package("impl/policy", "policy", &[]);
        assert!(only(&[addr, policy.clone()]).contains("(layer 0) must not depend on `policy` (layer 1)"));
        let fqdn = package("impl/fqdn", "fqdn", &["policy"]);
        assert!(only(&[fqdn, policy]).contains("only on lower layers"));
    }

    #[test]
    fn a_pure_layer_that_wants_an_executor_is_refused() {
        assert!(only(&[package("impl/controlplane", "controlplane", &["tokio"])]).contains("pure layer"));
    }

    #[test]
    fn the_product_does_not_know_the_lab() {
        let lab = package("netns-lab", "netns-lab", &[]);
        assert!(only(&[package("impl/cni", "cni", &["netns-lab"]), lab]).contains("outside of impl/"));
    }

    #[test]
    fn only_the_loader_and_the_twins_know_the_embedded_programs() {
        let bpf = package("bpf", "bpf", &[]);
        assert!(check(&[package("impl/datapath", "datapath", &["bpf"]), bpf.clone()]).is_empty());
        assert!(only(&[package("impl/agent", "agent", &["bpf"]), bpf]).contains("outside of impl/"));
    }

    #[test]
    fn the_lab_does_not_know_the_report_nor_a_driver_that_is_not_its_own() {
        let lab = package("netns-lab", "netns-lab", &["reports"]);
        let reports = package("reports", "reports", &[]);
        assert!(only(&[lab, reports]).contains("`netns-lab` must not depend on `reports`"));
        assert!(
            only(&[package("netns-lab", "netns-lab", &["rtnetlink"])]).contains("only netlink may depend on")
        );
    }

    #[test]
    fn xtask_stays_small_but_its_tests_may_use_more() {
        assert!(only(&[package("ci/xtask", "xtask", &["tokio"])]).contains("quick to build"));
        let mut xtask = package("ci/xtask", "xtask", &["tempfile"]);
        xtask.dependencies[0].dev = true;
        assert!(check(&[xtask]).is_empty());
    }

    #[test]
    fn the_name_follows_the_directory() {
        assert!(only(&[package("bench-suites/lab", "lab", &[])]).contains("`bench-lab`"));
        assert!(only(&[package("reports", "report", &[])]).contains("`reports`"));
    }

    #[test]
    fn a_crate_without_a_layer_is_refused() {
        assert!(only(&[package("impl/misc", "misc", &[])]).contains("has no layer"));
    }
}
