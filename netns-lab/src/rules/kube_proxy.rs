// SPDX-License-Identifier: Apache-2.0
//! The rules that kube-proxy keeps on a node in iptables mode, in our own wording.
//! Facts: `pkg/proxy/iptables/proxier.go` of Kubernetes 1.24 to 1.27.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::scramble;

/// The port of every service.
pub const SERVICE_PORT: u16 = 80;

/// Most services whose addresses fit into `10.96.0.0/16` with none of them ending in 0 or 255.
pub const MOST_SERVICES: u32 = 256 * 254;

/// A service with one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Service {
    number: u32,
    cluster_ip: Ipv4Addr,
    backend: Ipv4Addr,
    port: u16,
}

/// The address of service `number`.
pub fn cluster_ip(number: u32) -> Ipv4Addr {
    let number = number % MOST_SERVICES;
    let [_, _, high, _] = (number / 254 * 256).to_be_bytes();
    let low = u8::try_from(number % 254 + 1).unwrap_or(1);
    Ipv4Addr::new(10, 96, high, low)
}

/// The number of the measured service: the one in the middle of `KUBE-SERVICES`.
pub fn measured(services: u32) -> u32 {
    services / 2
}

/// Rules for `services` services. The one of number [`measured`] leads to `backend`, the others each to a backend on some
/// other node.
pub fn rules(services: u32, pods: Ipv4Net, backend: Ipv4Addr, port: u16) -> String {
    let list: Vec<Service> = (0..services)
        .map(|number| Service {
            number,
            cluster_ip: cluster_ip(number),
            backend: if number == measured(services) { backend } else { elsewhere(number) },
            port: if number == measured(services) { port } else { 8080 },
        })
        .collect();
    let mut text = filter();
    text.push_str(&nat(&list, pods));
    text
}

/// A pod of another node: `10.245.0.0/16`.
pub(super) fn elsewhere(number: u32) -> Ipv4Addr {
    let [_, _, high, low] = (number % 65_536).to_be_bytes();
    Ipv4Addr::new(10, 245, high, low)
}

/// Services with backends leave nothing to be rejected, so `KUBE-SERVICES` of the filter table is empty.
fn filter() -> String {
    let portals = "-m comment --comment \"kubernetes service portals\"";
    let external = "-m comment --comment \"kubernetes externally-visible service portals\"";
    let balancer = "-m comment --comment \"kubernetes load balancer firewall\"";
    let forwarding = "-m comment --comment \"kubernetes forwarding rules\"";
    format!(
        "*filter\n\
         :KUBE-SERVICES - [0:0]\n\
         :KUBE-EXTERNAL-SERVICES - [0:0]\n\
         :KUBE-FORWARD - [0:0]\n\
         :KUBE-NODEPORTS - [0:0]\n\
         :KUBE-PROXY-FIREWALL - [0:0]\n\
         -A INPUT -m conntrack --ctstate NEW {balancer} -j KUBE-PROXY-FIREWALL\n\
         -A INPUT -m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS\n\
         -A INPUT -m conntrack --ctstate NEW {external} -j KUBE-EXTERNAL-SERVICES\n\
         -A FORWARD -m conntrack --ctstate NEW {balancer} -j KUBE-PROXY-FIREWALL\n\
         -A FORWARD {forwarding} -j KUBE-FORWARD\n\
         -A FORWARD -m conntrack --ctstate NEW {portals} -j KUBE-SERVICES\n\
         -A FORWARD -m conntrack --ctstate NEW {external} -j KUBE-EXTERNAL-SERVICES\n\
         -A OUTPUT -m conntrack --ctstate NEW {balancer} -j KUBE-PROXY-FIREWALL\n\
         -A OUTPUT -m conntrack --ctstate NEW {portals} -j KUBE-SERVICES\n\
         -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n\
         -A KUBE-FORWARD {forwarding} -m mark --mark 0x4000/0x4000 -j ACCEPT\n\
         -A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" \
         -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         COMMIT\n"
    )
}

fn nat(services: &[Service], pods: Ipv4Net) -> String {
    let mut text = String::from(
        "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-NODEPORTS - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n",
    );
    for service in services {
        text.push_str(&format!(":{} - [0:0]\n:{} - [0:0]\n", service.chain("SVC"), service.chain("SEP")));
    }
    let portals = "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES";
    text.push_str(&format!(
        "-A PREROUTING {portals}\n\
         -A OUTPUT {portals}\n\
         -A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING\n\
         -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n\
         -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000\n\
         -A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" \
         -j MASQUERADE --random-fully\n\
         -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n",
    ));
    for service in services {
        service.write(&mut text, pods);
    }
    text.push_str(
        "-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" \
         -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\nCOMMIT\n",
    );
    text
}

impl Service {
    /// `KUBE-SVC-` or `KUBE-SEP-` and 16 characters of base 32, as kube-proxy's hashes look.
    fn chain(&self, kind: &str) -> String {
        const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let salt = u64::from(kind == "SEP") << 32;
        let mut bits = (u128::from(scramble(u64::from(self.number) | salt)) << 16)
            | u128::from(scramble(!u64::from(self.number)) & 0xffff);
        let mut name = format!("KUBE-{kind}-");
        for _ in 0..16 {
            name.push(char::from(DIGITS[(bits & 31) as usize]));
            bits >>= 5;
        }
        name
    }

    fn write(&self, text: &mut String, pods: Ipv4Net) {
        let Self { number, cluster_ip, backend, port } = self;
        let (service, endpoint) = (self.chain("SVC"), self.chain("SEP"));
        let name = format!("default/service-{number}:http");
        let to_service = format!("-d {cluster_ip}/32 -p tcp -m tcp --dport {SERVICE_PORT}");
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "-A KUBE-SERVICES {to_service} -m comment --comment \"{name} cluster IP\" -j {service}\n\
             -A {service} ! -s {pods} {to_service} -m comment --comment \"{name} cluster IP\" -j KUBE-MARK-MASQ\n\
             -A {service} -m comment --comment \"{name} -> {backend}:{port}\" -j {endpoint}\n\
             -A {endpoint} -s {backend}/32 -m comment --comment \"{name}\" -j KUBE-MARK-MASQ\n\
             -A {endpoint} -p tcp -m comment --comment \"{name}\" -m tcp -j DNAT --to-destination {backend}:{port}\n"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn generate(services: u32) -> String {
        rules(services, "10.244.0.0/16".parse().unwrap(), Ipv4Addr::new(10, 244, 0, 3), 9002)
    }

    #[test]
    fn every_chain_that_is_jumped_to_is_declared() {
        for services in [1, 2, 100] {
            crate::rules::tests::assert_chains_are_declared(&generate(services));
        }
    }

    #[test]
    fn five_thousand_services_have_different_addresses_and_chains() {
        let chains: HashSet<String> = (0..5000)
            .flat_map(|number| {
                let service =
                    Service { number, cluster_ip: cluster_ip(number), backend: elsewhere(number), port: 1 };
                [service.chain("SVC"), service.chain("SEP")]
            })
            .collect();
        assert_eq!(chains.len(), 10_000);
        assert!(chains.iter().all(|chain| chain.len() == 25));
        assert_eq!((0..MOST_SERVICES).map(cluster_ip).collect::<HashSet<_>>().len(), MOST_SERVICES as usize);
    }

    #[test]
    fn the_measured_service_stands_in_the_middle_and_alone_leads_to_the_server() {
        let rules = generate(1000);
        let portals: Vec<_> = rules.lines().filter(|l| l.starts_with("-A KUBE-SERVICES -d ")).collect();
        assert_eq!(portals.len(), 1000);
        assert!(portals[500].contains(&format!("-d {}/32", cluster_ip(measured(1000)))), "{}", portals[500]);
        assert_eq!(rules.matches("--to-destination 10.244.0.3:9002").count(), 1);
    }
}
