// SPDX-License-Identifier: Apache-2.0
//! The chains and sets that Felix, Calico's agent, keeps on a node in iptables mode, in our own wording.
//! Facts: `felix/rules` of Calico 3.20 to 3.26 (before policies were put into groups). Mark bits: 0x10000 accepted,
//! 0x20000 passed on to the profiles, 0x40000 came from a workload.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::scramble;

/// A pod, as Felix sees it.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// The node's end of its veth: `cali` and eleven digits.
    pub interface: &'a str,
    /// Policies that select it for what comes in.
    pub policies: u32,
}

/// Which packets have been accepted by a policy or profile.
const ACCEPTED: &str = "-m mark --mark 0x10000/0x10000";
const ACCEPT: &str = "-j MARK --set-xmark 0x10000/0x10000";

/// Every rule of Felix carries a hash of itself as a comment, and the kernel looks at each comment.
#[derive(Default)]
struct Chains {
    declarations: String,
    rules: String,
    serial: u64,
}

impl Chains {
    fn declare(&mut self, chain: &str) {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(self.declarations, ":{chain} - [0:0]");
    }

    fn rule(&mut self, chain: &str, rule: &str) {
        self.serial += 1;
        let _ = writeln!(
            self.rules,
            "-A {chain} -m comment --comment \"cali:{:016x}\" {rule}",
            scramble(self.serial)
        );
    }

    fn commented(&mut self, chain: &str, comment: &str, rule: &str) {
        self.rule(chain, &format!("-m comment --comment \"{comment}\" {rule}"));
    }

    /// A chain with these rules.
    fn chain(&mut self, chain: &str, rules: &[&str]) {
        self.declare(chain);
        for rule in rules {
            self.rule(chain, rule);
        }
    }

    /// The table's text; leaves the builder empty, but never gives a comment twice.
    fn table(&mut self, name: &str) -> String {
        let (declarations, rules) = (std::mem::take(&mut self.declarations), std::mem::take(&mut self.rules));
        format!("*{name}\n{declarations}{rules}COMMIT\n")
    }
}

/// Name of the set of addresses that policy `number` admits.
fn set_name(number: u32) -> String {
    format!("cali40s:{:016x}", scramble(u64::from(number)))
}

fn policy_chain(number: u32) -> String {
    format!("cali-pi-_{:016x}", scramble(u64::from(number)))
}

/// Input of `ipset restore`: the pools, and one set per policy. Only the last policy's set holds `client`; the others hold
/// three addresses each of pods that are elsewhere.
pub fn ipsets(policies: u32, pool: Ipv4Net, client: Ipv4Addr) -> String {
    let mut text = String::new();
    for name in ["cali40masq-ipam-pools", "cali40all-ipam-pools"] {
        let _ = write!(text, "create {name} hash:net family inet maxelem 1048576\nadd {name} {pool}\n");
    }
    for policy in 0..policies {
        let name = set_name(policy);
        let _ = writeln!(text, "create {name} hash:ip family inet maxelem 1048576");
        if policy + 1 == policies {
            let _ = writeln!(text, "add {name} {client}");
            continue;
        }
        for member in 0..3 {
            let [_, high, middle, low] = (policy * 3 + member).to_be_bytes();
            // 10.128.0.0/9 is not part of any pool of the lab.
            let _ = writeln!(text, "add {name} {}", Ipv4Addr::new(10, 128 | high, middle, low));
        }
    }
    text
}

/// Input of `iptables-restore`: the four tables for a node with these pods.
pub fn rules(endpoints: &[Endpoint<'_>]) -> String {
    let mut chains = Chains::default();
    let mut text = raw(&mut chains);
    text.push_str(&mangle(&mut chains));
    text.push_str(&nat(&mut chains));
    text.push_str(&filter(&mut chains, endpoints));
    text
}

fn raw(chains: &mut Chains) -> String {
    chains.rule("PREROUTING", "-j cali-PREROUTING");
    chains.rule("OUTPUT", "-j cali-OUTPUT");
    let from_workload = "-m mark --mark 0x40000/0x40000";
    chains.chain(
        "cali-PREROUTING",
        &[
            "-j MARK --set-xmark 0x0/0xf0000",
            "-i cali+ -j MARK --set-xmark 0x40000/0x40000",
            &format!("{from_workload} -j cali-rpf-skip"),
            &format!("{from_workload} -m rpfilter --validmark --invert -j DROP"),
            "-m mark --mark 0x0/0x40000 -j cali-from-host-endpoint",
            &format!("{ACCEPTED} -j ACCEPT"),
        ],
    );
    let accepted = format!("{ACCEPTED} -j ACCEPT");
    chains.chain("cali-OUTPUT", &["-j MARK --set-xmark 0x0/0xf0000", "-j cali-to-host-endpoint", &accepted]);
    for empty in ["cali-rpf-skip", "cali-from-host-endpoint", "cali-to-host-endpoint"] {
        chains.declare(empty);
    }
    chains.table("raw")
}

fn mangle(chains: &mut Chains) -> String {
    chains.rule("PREROUTING", "-j cali-PREROUTING");
    chains.rule("POSTROUTING", "-j cali-POSTROUTING");
    chains.chain(
        "cali-PREROUTING",
        &[
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            &format!("{ACCEPTED} -j ACCEPT"),
            "-j cali-from-host-endpoint",
        ],
    );
    let accepted = "Host endpoint policy accepted packet.";
    chains.commented("cali-PREROUTING", accepted, &format!("{ACCEPTED} -j ACCEPT"));
    chains.chain(
        "cali-POSTROUTING",
        &[
            &format!("{ACCEPTED} -j RETURN"),
            "-j MARK --set-xmark 0x0/0xf0000",
            "-m conntrack --ctstate DNAT -j cali-to-host-endpoint",
        ],
    );
    chains.commented("cali-POSTROUTING", accepted, &format!("{ACCEPTED} -j RETURN"));
    for empty in ["cali-from-host-endpoint", "cali-to-host-endpoint"] {
        chains.declare(empty);
    }
    chains.table("mangle")
}

fn nat(chains: &mut Chains) -> String {
    for hook in ["PREROUTING", "OUTPUT", "POSTROUTING"] {
        chains.rule(hook, &format!("-j cali-{hook}"));
    }
    chains.chain("cali-PREROUTING", &["-j cali-fip-dnat"]);
    chains.chain("cali-OUTPUT", &["-j cali-fip-dnat"]);
    chains.chain("cali-POSTROUTING", &["-j cali-fip-snat", "-j cali-nat-outgoing"]);
    chains.chain(
        "cali-nat-outgoing",
        &["-m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst \
           -j MASQUERADE --random-fully"],
    );
    for empty in ["cali-fip-dnat", "cali-fip-snat"] {
        chains.declare(empty);
    }
    chains.table("nat")
}

fn filter(chains: &mut Chains, endpoints: &[Endpoint<'_>]) -> String {
    for hook in ["INPUT", "FORWARD", "OUTPUT"] {
        chains.rule(hook, &format!("-j cali-{hook}"));
    }
    chains.commented("FORWARD", "Policy explicitly accepted packet.", &format!("{ACCEPTED} -j ACCEPT"));
    chains.rule("FORWARD", ACCEPT);
    host(chains);
    chains.chain(
        "cali-FORWARD",
        &[
            "-j MARK --set-xmark 0x0/0xe0000",
            "-m mark --mark 0x0/0x10000 -j cali-from-hep-forward",
            "-i cali+ -j cali-from-wl-dispatch",
            "-o cali+ -j cali-to-wl-dispatch",
            "-j cali-to-hep-forward",
            "-j cali-cidr-block",
        ],
    );
    for empty in ["cali-from-hep-forward", "cali-to-hep-forward", "cali-cidr-block"] {
        chains.declare(empty);
    }
    dispatch(chains, endpoints);
    profiles(chains);
    for policy in 0..endpoints.iter().map(|endpoint| endpoint.policies).max().unwrap_or(0) {
        let chain = policy_chain(policy);
        chains.declare(&chain);
        let admitted = format!("-m set --match-set {} src {ACCEPT}", set_name(policy));
        chains.commented(&chain, &format!("Policy default/allow-{policy} ingress"), &admitted);
        chains.rule(&chain, &format!("{ACCEPTED} -j RETURN"));
    }
    chains.table("filter")
}

/// What the node itself sends and gets; packets between pods do not come here.
fn host(chains: &mut Chains) {
    let accepted = format!("{ACCEPTED} -j ACCEPT");
    let tail = ["-j MARK --set-xmark 0x0/0xf0000", "-j cali-from-host-endpoint"];
    chains.chain("cali-INPUT", &["-i cali+ -g cali-wl-to-host", &accepted, tail[0], tail[1], &accepted]);
    chains.chain("cali-wl-to-host", &["-j cali-from-wl-dispatch"]);
    chains.commented("cali-wl-to-host", "Configured DefaultEndpointToHostAction", "-j RETURN");
    chains.chain(
        "cali-OUTPUT",
        &[
            &accepted,
            "-o cali+ -j RETURN",
            tail[0],
            "-m conntrack ! --ctstate DNAT -j cali-to-host-endpoint",
            &accepted,
        ],
    );
    for empty in ["cali-from-host-endpoint", "cali-to-host-endpoint"] {
        chains.declare(empty);
    }
}

fn dispatch(chains: &mut Chains, endpoints: &[Endpoint<'_>]) {
    for (chain, flag, direction) in
        [("cali-from-wl-dispatch", "-i", "fw"), ("cali-to-wl-dispatch", "-o", "tw")]
    {
        chains.declare(chain);
        for endpoint in endpoints {
            let name = endpoint.interface;
            chains.rule(chain, &format!("{flag} {name} -g cali-{direction}-{name}"));
        }
        chains.commented(chain, "Unknown interface", "-j DROP");
    }
    for endpoint in endpoints {
        from_workload(chains, endpoint);
        to_workload(chains, endpoint);
    }
}

/// Established connections leave here at once: only the first packet of a connection meets the policies.
fn conntrack(chains: &mut Chains, chain: &str) {
    chains.chain(
        chain,
        &[
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-m conntrack --ctstate INVALID -j DROP",
            "-j MARK --set-xmark 0x0/0x10000",
        ],
    );
}

fn from_workload(chains: &mut Chains, endpoint: &Endpoint<'_>) {
    let chain = format!("cali-fw-{}", endpoint.interface);
    conntrack(chains, &chain);
    let vxlan = "-p udp -m udp --dport 4789 -j DROP";
    chains.commented(&chain, "Drop VXLAN encapped packets originating in workloads", vxlan);
    chains.commented(&chain, "Drop IPinIP encapped packets originating in workloads", "-p 4 -j DROP");
    to_profiles(chains, &chain, "cali-pro");
}

fn to_workload(chains: &mut Chains, endpoint: &Endpoint<'_>) {
    let chain = format!("cali-tw-{}", endpoint.interface);
    conntrack(chains, &chain);
    if endpoint.policies > 0 {
        chains.commented(&chain, "Start of policies", "-j MARK --set-xmark 0x0/0x20000");
        for policy in 0..endpoint.policies {
            chains.rule(&chain, &format!("-m mark --mark 0x0/0x20000 -j {}", policy_chain(policy)));
            chains.commented(&chain, "Return if policy accepted", &format!("{ACCEPTED} -j RETURN"));
        }
        let dropped = "-m mark --mark 0x0/0x20000 -j DROP";
        chains.commented(&chain, "Drop if no policies passed packet", dropped);
    }
    to_profiles(chains, &chain, "cali-pri");
}

fn to_profiles(chains: &mut Chains, chain: &str, direction: &str) {
    for profile in ["kns.default", "ksa.default"] {
        chains.rule(chain, &format!("-j {direction}-{profile}"));
        chains.commented(chain, "Return if profile accepted", &format!("{ACCEPTED} -j RETURN"));
    }
    chains.commented(chain, "Drop if no profiles matched", "-j DROP");
}

/// The namespace's profile admits everything, as without any policy; the service account's says nothing.
fn profiles(chains: &mut Chains) {
    for (chain, direction) in [("cali-pri", "ingress"), ("cali-pro", "egress")] {
        let namespace = format!("{chain}-kns.default");
        chains.declare(&namespace);
        chains.commented(&namespace, &format!("Profile kns.default {direction}"), ACCEPT);
        chains.rule(&namespace, &format!("{ACCEPTED} -j RETURN"));
        chains.declare(&format!("{chain}-ksa.default"));
    }
}

#[cfg(test)]
mod tests;
