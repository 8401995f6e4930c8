// SPDX-License-Identifier: Apache-2.0
//! Every subject that this kernel can build is built, reached, taken down, and leaves nothing. Needs root.

use std::collections::BTreeSet;
use std::process::Command;

use netlink::{NetNs, Netlink};
use netns_lab::lab::{Lab, list};
use netns_lab::plan::{BASELINE, WorkloadKind};
use netns_lab::subject::{BuildError, Built, HandicapError, build, catalogue, handicap};
use netns_lab::tool;

fn lab() -> Lab {
    Lab::create().expect("the tests of the lab need root")
}

fn namespaces(lab: &str) -> Vec<String> {
    let mut names = NetNs::names().unwrap();
    names.retain(|name| name.starts_with(&format!("{lab}-")));
    names
}

fn host_links() -> BTreeSet<String> {
    let netlink = Netlink::open(&NetNs::current().unwrap()).unwrap();
    netlink.links().unwrap().into_iter().map(|link| link.name).collect()
}

fn built(lab: &Lab, name: &str) -> Built {
    build(lab, name).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn every_subject_of_the_catalogue_comes_and_goes() {
    let links = host_links();
    for spec in catalogue() {
        let (name, lab) = (spec.name, lab());
        let (lab_name, dir) = (lab.name().to_owned(), lab.dir().to_owned());
        let lacking = lab.probe().check(&spec.needs).err();
        match build(&lab, &name) {
            Ok(built) => {
                assert_eq!(lacking, None, "{name}");
                assert_eq!((built.info().name, built.workloads()), (name.clone(), spec.workloads));
                assert!(built.info().mtu >= 1450, "{name}");
                assert!(!namespaces(&lab_name).is_empty());
            }
            Err(BuildError::NotRun(reason)) => assert_eq!(Some(reason), lacking, "{name}"),
            Err(e) => panic!("{name}: {e}"),
        }
        assert_eq!(namespaces(&lab_name), [""; 0], "{name} left namespaces");
        let addresses = dir.join("ipam").join(&name).read_dir().map_or(0, |networks| {
            networks.flatten().flat_map(|n| n.path().read_dir()).flatten().flatten().filter(leased).count()
        });
        assert_eq!(addresses, 0, "{name}: DEL left addresses");
        drop(lab);
        assert!(!dir.exists(), "{name} left {}", dir.display());
    }
    assert_eq!(host_links(), links, "links in the namespace of the test");
}

/// host-local keeps a file per address, and two of its own.
fn leased(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().parse::<std::net::IpAddr>().is_ok()
}

#[test]
fn no_neighbour_is_left_to_be_asked_for() {
    let lab = lab();
    for name in ["veth", BASELINE, "bridge", "ptp", "vxlan"] {
        let built = match build(&lab, name) {
            Ok(built) => built,
            // The other test holds the reason against the probe.
            Err(BuildError::NotRun(_)) => continue,
            Err(e) => panic!("{name}: {e}"),
        };
        let pods = built.pods().map(|pod| pod.netlink());
        for netlink in pods.chain(built.nodes().map(|node| node.netlink())) {
            for neighbour in netlink.neighbours().unwrap() {
                assert!(
                    neighbour.permanent || neighbour.noarp || neighbour.mac.is_none(),
                    "{name}: {neighbour:?}"
                );
            }
        }
    }
}

#[test]
fn a_service_is_dialled_at_its_cluster_address_and_answered_by_the_server() {
    let lab = lab();
    let built = built(&lab, "kube-proxy-like-100");
    let pair = built.pair();
    assert_eq!(built.workloads(), [WorkloadKind::TcpCrr]);
    assert_eq!(pair.dial_address(WorkloadKind::TcpCrr).to_string(), "10.96.0.51:80");
    assert_eq!(pair.listen_address(WorkloadKind::TcpCrr).to_string(), "10.244.0.3:9002");
}

#[test]
fn the_same_subject_stands_twice_in_one_lab_and_in_two() {
    let (one, other) = (lab(), lab());
    let names: BTreeSet<String> = [&one, &one, &other]
        .map(|lab| built(lab, BASELINE).pair().client.name().to_owned())
        .into_iter()
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let standing = [built(&one, BASELINE), built(&one, BASELINE), built(&other, BASELINE)];
    assert_ne!(standing[0].pair().client.path(), standing[1].pair().client.path());
    let listed = list().unwrap();
    let state = |lab: &Lab| listed.iter().find(|l| l.name == lab.name()).unwrap().state.clone().unwrap();
    assert_eq!((state(&one).subjects.len(), state(&other).subjects.len()), (2, 1));
}

#[test]
fn an_unknown_subject_is_refused_with_the_nearest_name() {
    let lab = lab();
    let error = build(&lab, "routd").unwrap_err();
    assert_eq!(error.to_string(), "there is no subject \"routd\"; did you mean routed?");
}

/// Rules of the filter table's FORWARD chain.
fn forward_rules(netns: &NetNs) -> usize {
    let save = ["iptables-legacy-save", "iptables-save"].into_iter().find_map(tool::find).unwrap();
    let output = netns.run(|| Command::new(save).args(["-t", "filter"]).output()).unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| line.starts_with("-A FORWARD ")).count()
}

#[test]
fn a_handicap_lengthens_the_forward_chain_and_nothing_else() {
    let lab = lab();
    let routed = built(&lab, BASELINE);
    let node = routed.node_netns().unwrap();
    let _few = handicap(&routed, 40).unwrap();
    assert_eq!(forward_rules(node), 40);
    let _more = handicap(&routed, 2).unwrap();
    assert_eq!(forward_rules(node), 42);
}

#[test]
fn a_subject_without_a_forward_chain_cannot_be_handicapped() {
    let lab = lab();
    for name in ["loopback", "veth", "bridge"] {
        match build(&lab, name) {
            Ok(built) => {
                let error = handicap(&built, 1).unwrap_err();
                assert!(matches!(error, HandicapError::NoPlace { .. }), "{name}: {error}");
            }
            Err(BuildError::NotRun(_)) => assert_eq!(name, "bridge"),
            Err(e) => panic!("{name}: {e}"),
        }
    }
}
