// SPDX-License-Identifier: Apache-2.0
//! The rules that flannel keeps on a node with `--ip-masq` and `--iptables-forward-rules`, in our own wording.
//! Facts: flannel's `pkg/trafficmngr/iptables` (v0.20 and later).

use ipnet::Ipv4Net;

/// nat: pods reach each other unchanged, everybody else sees the node; filter: pods' traffic is accepted.
pub fn rules(network: Ipv4Net, node: Ipv4Net) -> String {
    let masquerade = "-m comment --comment \"flanneld masq\"";
    let forward = "-m comment --comment \"flanneld forward\"";
    format!(
        "*nat\n\
         :FLANNEL-POSTRTG - [0:0]\n\
         -A POSTROUTING {masquerade} -j FLANNEL-POSTRTG\n\
         -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 {masquerade} -j RETURN\n\
         -A FLANNEL-POSTRTG -s {node} -d {network} {masquerade} -j RETURN\n\
         -A FLANNEL-POSTRTG -s {network} -d {node} {masquerade} -j RETURN\n\
         -A FLANNEL-POSTRTG ! -s {network} -d {node} {masquerade} -j RETURN\n\
         -A FLANNEL-POSTRTG -s {network} ! -d 224.0.0.0/4 {masquerade} -j MASQUERADE --random-fully\n\
         -A FLANNEL-POSTRTG ! -s {network} -d {network} {masquerade} -j MASQUERADE --random-fully\n\
         COMMIT\n\
         *filter\n\
         :FLANNEL-FWD - [0:0]\n\
         -A FORWARD {forward} -j FLANNEL-FWD\n\
         -A FLANNEL-FWD -s {network} {forward} -j ACCEPT\n\
         -A FLANNEL-FWD -d {network} {forward} -j ACCEPT\n\
         COMMIT\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_masqueraded_to_the_outside_only() {
        let rules = rules("10.244.0.0/16".parse().unwrap(), "10.244.0.0/24".parse().unwrap());
        crate::rules::tests::assert_chains_are_declared(&rules);
        let inside = rules.find("-s 10.244.0.0/24 -d 10.244.0.0/16").unwrap();
        let outside = rules.find("-s 10.244.0.0/16 ! -d 224.0.0.0/4").unwrap();
        assert!(inside < outside, "{rules}");
    }
}
