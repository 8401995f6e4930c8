// SPDX-License-Identifier: Apache-2.0
//! What kube-proxy keeps on a node in IPVS mode: virtual servers of the kernel's load balancer, and the few rules and
//! sets around them, in our own wording. Facts: `pkg/proxy/ipvs/proxier.go` of Kubernetes 1.24 to 1.27, `<linux/ip_vs.h>`.

use std::fmt::Write as _;
use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use ipnet::Ipv4Net;
use netlink::NetNs;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::RulesError;
use super::kube_proxy::{SERVICE_PORT, cluster_ip, elsewhere, measured};

// <linux/ip_vs.h>
const IP_VS_SO_SET_ADD: libc::c_int = 64 + 1024 + 64 + 2;
const IP_VS_SO_SET_ADDDEST: libc::c_int = 64 + 1024 + 64 + 7;
/// `struct ip_vs_getinfo`: version, size of the table, number of services.
const IP_VS_SO_GET_INFO: libc::c_int = 64 + 1024 + 64 + 1;

/// A service with one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualServer {
    /// Where clients connect to.
    pub service: SocketAddrV4,
    /// Where that leads to.
    pub backend: SocketAddrV4,
}

/// As many services; the one of number [`measured`] leads to `backend`, the others each to one on some other node.
pub fn virtual_servers(services: u32, backend: SocketAddrV4) -> Vec<VirtualServer> {
    let server = |number| VirtualServer {
        service: SocketAddrV4::new(cluster_ip(number), SERVICE_PORT),
        backend: if number == measured(services) {
            backend
        } else {
            SocketAddrV4::new(elsewhere(number), 8080)
        },
    };
    (0..services).map(server).collect()
}

/// The sets that the rules look into.
pub fn ipsets(servers: &[VirtualServer]) -> String {
    let mut text = String::from(
        "create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536\n\
         create KUBE-LOOP-BACK hash:ip,port,ip family inet hashsize 1024 maxelem 65536\n",
    );
    for VirtualServer { service, .. } in servers {
        // Without a protocol it is TCP; by its name it could be found only where there is /etc/protocols. Writing to a
        // string cannot fail.
        let _ = writeln!(text, "add KUBE-CLUSTER-IP {},{}", service.ip(), service.port());
    }
    text
}

/// The rules, which are the same however many services there are.
pub fn rules(pods: Ipv4Net) -> String {
    let portals = "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES";
    let hairpin = "-m comment --comment \"Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose\" \
                   -m set --match-set KUBE-LOOP-BACK dst,dst,src";
    let cluster_ip = "-m comment --comment \"Kubernetes service cluster ip + port for masquerade purpose\" -m set --match-set KUBE-CLUSTER-IP";
    format!(
        "*filter\n\
         :KUBE-FORWARD - [0:0]\n\
         :KUBE-NODE-PORT - [0:0]\n\
         -A INPUT -m comment --comment \"kubernetes health check rules\" -j KUBE-NODE-PORT\n\
         -A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n\
         -A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT\n\
         -A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" \
         -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         COMMIT\n\
         *nat\n\
         :KUBE-SERVICES - [0:0]\n\
         :KUBE-NODE-PORT - [0:0]\n\
         :KUBE-POSTROUTING - [0:0]\n\
         :KUBE-MARK-MASQ - [0:0]\n\
         -A PREROUTING {portals}\n\
         -A OUTPUT {portals}\n\
         -A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING\n\
         -A KUBE-SERVICES ! -s {pods} {cluster_ip} dst,dst -j KUBE-MARK-MASQ\n\
         -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT\n\
         -A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT\n\
         -A KUBE-POSTROUTING {hairpin} -j MASQUERADE\n\
         -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n\
         -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000\n\
         -A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" \
         -j MASQUERADE --random-fully\n\
         -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n\
         COMMIT\n"
    )
}

/// `struct ip_vs_service_user`.
#[repr(C)]
#[derive(Clone, Copy)]
struct ServiceUser {
    protocol: u16,
    /// In network order, as the port.
    address: u32,
    port: u16,
    fwmark: u32,
    scheduler: [u8; 16],
    flags: u32,
    timeout: u32,
    netmask: u32,
}

/// `struct ip_vs_service_user` and `struct ip_vs_dest_user` behind it. Flags of 0: translated by NAT.
#[repr(C)]
#[derive(Clone, Copy)]
struct DestinationUser {
    service: ServiceUser,
    address: u32,
    port: u16,
    flags: u32,
    weight: i32,
    upper_threshold: u32,
    lower_threshold: u32,
}

impl VirtualServer {
    fn service_user(&self) -> ServiceUser {
        let mut scheduler = [0; 16];
        scheduler[..2].copy_from_slice(b"rr");
        ServiceUser {
            protocol: libc::IPPROTO_TCP as u16,
            address: network_order(*self.service.ip()),
            port: self.service.port().to_be(),
            fwmark: 0,
            scheduler,
            flags: 0,
            timeout: 0,
            netmask: u32::MAX,
        }
    }
}

fn network_order(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

/// Whether the kernel has the load balancer.
///
/// # Errors
/// What it lacks.
pub fn check(scratch: &NetNs) -> Result<(), String> {
    let asked = scratch.run(|| -> io::Result<()> {
        let control = control()?;
        let mut info = [0_u32; 3];
        let mut length = size_of::<[u32; 3]>() as libc::socklen_t;
        // SAFETY: the kernel writes `length` bytes at most, which `info` has room for.
        let result = unsafe {
            libc::getsockopt(
                control.as_raw_fd(),
                libc::IPPROTO_IP,
                IP_VS_SO_GET_INFO,
                (&raw mut info).cast(),
                &raw mut length,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    });
    match asked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) if matches!(e.raw_os_error(), Some(libc::ENOPROTOOPT | libc::ENOENT)) => {
            Err("kernel lacks ip_vs (CONFIG_IP_VS; modprobe ip_vs ip_vs_rr)".into())
        }
        Ok(Err(e)) => Err(format!("ask for IPVS: {e}")),
        Err(e) => Err(e.to_string()),
    }
}

/// Adds virtual servers in a namespace.
///
/// # Errors
/// [`RulesError::Ipvs`] with the one that the kernel does not take.
pub fn add(netns: &NetNs, servers: &[VirtualServer]) -> Result<(), RulesError> {
    netns.run(|| {
        let refused = |what: String| move |source| RulesError::Ipvs { what, source };
        let control = control().map_err(refused("open a socket".into()))?;
        for server in servers {
            let service = server.service_user();
            set(&control, IP_VS_SO_SET_ADD, &service)
                .map_err(refused(format!("add the service {}", server.service)))?;
            let destination = DestinationUser {
                service,
                address: network_order(*server.backend.ip()),
                port: server.backend.port().to_be(),
                flags: 0,
                weight: 1,
                upper_threshold: 0,
                lower_threshold: 0,
            };
            set(&control, IP_VS_SO_SET_ADDDEST, &destination)
                .map_err(refused(format!("add {} to {}", server.backend, server.service)))?;
        }
        Ok(())
    })?
}

fn control() -> io::Result<OwnedFd> {
    let raw = SockProtocol::Raw;
    Ok(socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, raw)?)
}

fn set<T>(control: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of it.
    let result = unsafe {
        libc::setsockopt(
            control.as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_structures_have_its_sizes() {
        assert_eq!(size_of::<ServiceUser>(), 44);
        assert_eq!(size_of::<DestinationUser>(), 44 + 24);
    }

    #[test]
    fn only_the_measured_service_leads_to_the_server_and_every_one_is_in_the_set() {
        let backend: SocketAddrV4 = "10.244.0.3:9002".parse().unwrap();
        let servers = virtual_servers(1000, backend);
        let to_server: Vec<_> = servers.iter().filter(|server| server.backend == backend).collect();
        assert_eq!(to_server.len(), 1);
        assert_eq!(*to_server[0].service.ip(), cluster_ip(measured(1000)));
        let sets = ipsets(&servers);
        assert_eq!(sets.matches("add KUBE-CLUSTER-IP 10.96.").count(), 1000);
        assert!(sets.ends_with(",80\n"));
    }

    #[test]
    fn every_chain_that_is_jumped_to_is_declared() {
        crate::rules::tests::assert_chains_are_declared(&rules("10.244.0.0/16".parse().unwrap()));
    }
}
