// SPDX-License-Identifier: Apache-2.0
//! A network namespace and a BPF file system of a test's own. Both end with it, also when it fails.

mod cgroup;
mod pod;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use datapath::DatapathConfig;
use datapath::loader::{AttachMethod, Side};
use libbpf_rs::{MapHandle, MapType, TC_EGRESS, TC_INGRESS, TcHook, libbpf_sys};
use netlink::{LinkEnd, NetNs, Netlink};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

pub use cgroup::Cgroup;
pub use pod::Pod;

const ROUTER4: Ipv4Addr = Ipv4Addr::new(10, 200, 255, 254);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x200, 0, 0, 0, 0, 0, 0xffff);

/// Where a test works.
pub struct Bench {
    netns: NetNs,
    netlink: Netlink,
    directory: TempDir,
}

impl Bench {
    /// An empty one.
    pub fn new() -> Self {
        // What is mounted here goes with the thread, also when the process is killed.
        unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let netns = NetNs::create_unnamed().unwrap();
        let netlink = Netlink::open(&netns).unwrap();
        netlink.set_up("lo").unwrap();
        let directory = tempfile::tempdir().unwrap();
        mount(Some("bpffs"), directory.path(), Some("bpf"), MsFlags::empty(), None::<&str>).unwrap();
        Self { netns, netlink, directory }
    }

    /// Runs a test inside.
    pub fn run(&self, test: impl FnOnce() + Send) {
        self.netns.run(test).unwrap();
    }

    /// Where its BPF file system is mounted.
    pub fn bpffs(&self) -> &Path {
        self.directory.path()
    }

    /// A configuration for it, with small tables.
    pub fn config(&self) -> DatapathConfig {
        DatapathConfig {
            bpf_root: self.bpffs().into(),
            enable_ipv4: true,
            enable_ipv6: true,
            pod_cidr4: Some("10.200.0.0/16".parse().unwrap()),
            pod_cidr6: Some("fd00:200::/64".parse().unwrap()),
            router_ip4: Some(ROUTER4),
            router_ip6: Some(ROUTER6),
            native_devices: Vec::new(),
            masquerade: false,
            native_cidr4: None,
            native_cidr6: None,
            ct_tcp_max: 4096,
            ct_any_max: 4096,
            policy_map_max: 256,
            mtu: 1500,
            preallocate: false,
            services: None,
        }
    }

    /// The pods' gateway.
    pub fn routers(&self) -> Vec<IpAddr> {
        vec![ROUTER4.into(), ROUTER6.into()]
    }

    /// A pod, without a program at its device.
    pub fn add_pod(&self, id: u16) -> Pod {
        Pod::new(self, id)
    }

    /// Whether a device has a clsact qdisc: one cannot be deleted where there is none.
    pub fn has_clsact(&self, ifindex: u32) -> bool {
        let link = self.netlink.links().unwrap().into_iter().find(|link| link.index == ifindex).unwrap();
        self.netlink.delete_clsact(&link).is_ok()
    }

    /// The names of pinned maps.
    pub fn map_pins(&self) -> Vec<String> {
        let directory = self.bpffs().join("tc/globals");
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Renames a device.
    pub fn rename_link(&self, name: &str, new: &str) {
        self.netlink.set_down(name).unwrap();
        self.netlink.rename(name, new).unwrap();
        self.netlink.set_up(new).unwrap();
    }

    /// Whether there is a device of this name.
    pub fn link_exists(&self, name: &str) -> bool {
        self.netlink.link(name).is_ok()
    }

    /// What is pinned in it; its own `maps.debug` and `progs.debug` are not.
    pub fn pins(&self) -> Vec<String> {
        let names = fs::read_dir(self.bpffs()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with(".debug"));
        names.sort();
        names
    }

    /// Makes a pair of devices, both in here. Returns the index of the first.
    pub fn add_veth(&self, name: &str) -> u32 {
        let peer = format!("{name}p");
        let end = |name| LinkEnd::new(name, &self.netns);
        self.netlink.add_veth(&end(name), &LinkEnd::new(&peer, &self.netns)).unwrap();
        self.netlink.set_up(name).unwrap();
        self.netlink.set_up(&peer).unwrap();
        self.netlink.link(name).unwrap().index
    }

    /// Deletes a device.
    pub fn delete_link(&self, name: &str) {
        self.netlink.delete_link(name).unwrap();
    }

    /// Whether a device is administratively up.
    pub fn is_up(&self, name: &str) -> bool {
        self.netlink.link(name).unwrap().up
    }

    /// Pins a map that no version of ours makes.
    pub fn pin_foreign_map(&self, name: &str) {
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            ..Default::default()
        };
        let mut map = MapHandle::create(MapType::Hash, Some("foreign"), 4, 4, 8, &options).unwrap();
        map.pin(self.pin(name)).unwrap();
    }

    fn pin(&self, name: &str) -> PathBuf {
        self.bpffs().join(name)
    }

    /// The ids of the programs at a hook.
    pub fn attached(&self, ifindex: u32, side: Side, method: AttachMethod) -> Vec<u32> {
        match method {
            AttachMethod::Tcx => links(ifindex, side),
            AttachMethod::Clsact => filter(ifindex, side).into_iter().collect(),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = umount2(self.directory.path(), MntFlags::MNT_DETACH);
    }
}

fn links(ifindex: u32, side: Side) -> Vec<u32> {
    let side = match side {
        Side::Ingress => libbpf_sys::BPF_TCX_INGRESS,
        Side::Egress => libbpf_sys::BPF_TCX_EGRESS,
    };
    let mut ids = [0_u32; 16];
    let mut options = libbpf_sys::bpf_prog_query_opts {
        sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as libbpf_sys::size_t,
        prog_ids: ids.as_mut_ptr(),
        ..Default::default()
    };
    options.__bindgen_anon_1.prog_cnt = ids.len() as u32;
    // SAFETY: the options say how many ids fit, and both live during the call.
    let answer = unsafe { libbpf_sys::bpf_prog_query_opts(ifindex as i32, side, &raw mut options) };
    // ENOENT: never was anything attached.
    assert!(answer == 0 || answer == -2, "{answer}");
    // SAFETY: either member of the union is a number.
    let count = if answer == 0 { unsafe { options.__bindgen_anon_1.prog_cnt } } else { 0 };
    ids[..count as usize].to_vec()
}

fn filter(ifindex: u32, side: Side) -> Option<u32> {
    use std::os::fd::AsFd;
    let nothing = std::io::stdin();
    let mut hook = TcHook::new(nothing.as_fd());
    let point = if side == Side::Ingress { TC_INGRESS } else { TC_EGRESS };
    hook.ifindex(ifindex as i32).attach_point(point).handle(1).priority(1).query().ok()
}
