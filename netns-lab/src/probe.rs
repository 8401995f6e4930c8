// SPDX-License-Identifier: Apache-2.0
//! What this kernel and what is installed here can do, found by trying it in a namespace without a name. Never guessed from
//! versions or configuration files: a module may be missing, a feature backported.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use netlink::{IpvlanMode, LinkEnd, NetNs, NetkitMode, Netlink, NetlinkError, Vxlan, sysctl};

use crate::agent;
use crate::classifier;
pub use crate::classifier::Hook;
use crate::cni::PluginPath;
use crate::lab::attempt_cgroup;
use crate::rules::{Iptables, RulesError, restore_ipsets};

/// Something that a subject needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// veth pairs.
    Veth,
    /// Bridges.
    Bridge,
    /// The sysctl that sends bridged packets through iptables.
    BridgeNetfilter,
    /// VXLAN devices.
    Vxlan,
    /// ipvlan devices, modes l2 and l3.
    Ipvlan,
    /// netkit pairs.
    Netkit,
    /// A table of iptables.
    Table(Table),
    /// A match or target of iptables.
    Extension(Extension),
    /// Sets `hash:ip` and `hash:net`, and the program that makes them.
    IpSet,
    /// The kernel's load balancer.
    Ipvs,
    /// A CNI plugin.
    Plugin(&'static str),
    /// Programs that are attached to a link, by TCX or by clsact.
    Classifier,
    /// Our agent's program.
    Agent,
    /// A control group for each node's threads, which programs on sockets are attached to.
    ControlGroup,
}

/// Tables of iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Table {
    Filter,
    Nat,
    Mangle,
    Raw,
}

/// Matches and targets of iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Extension {
    Comment,
    Conntrack,
    Mark,
    SetMark,
    AddrType,
    RpFilter,
    SetMatch,
    Masquerade,
    Dnat,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Mangle => "mangle",
            Self::Raw => "raw",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Filter => "CONFIG_IP_NF_FILTER",
            Self::Nat => "CONFIG_IP_NF_NAT",
            Self::Mangle => "CONFIG_IP_NF_MANGLE",
            Self::Raw => "CONFIG_IP_NF_RAW",
        }
    }
}

impl Extension {
    /// A table and a rule that uses it.
    fn sample(self) -> (&'static str, &'static str) {
        match self {
            Self::Comment => ("filter", "-A FORWARD -m comment --comment x -j ACCEPT"),
            Self::Conntrack => ("filter", "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"),
            Self::Mark => ("filter", "-A FORWARD -m mark --mark 1/1 -j ACCEPT"),
            Self::SetMark => ("filter", "-A FORWARD -j MARK --set-xmark 1/1"),
            Self::AddrType => ("nat", "-A PREROUTING -m addrtype --dst-type LOCAL -j ACCEPT"),
            Self::RpFilter => ("raw", "-A PREROUTING -m rpfilter --validmark --invert -j DROP"),
            Self::SetMatch => ("filter", "-A FORWARD -m set --match-set probe src -j ACCEPT"),
            Self::Masquerade => ("nat", "-A POSTROUTING -j MASQUERADE --random-fully"),
            Self::Dnat => ("nat", "-A PREROUTING -p tcp -m tcp -j DNAT --to-destination 192.0.2.1:80"),
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Comment => "CONFIG_NETFILTER_XT_MATCH_COMMENT",
            Self::Conntrack => "CONFIG_NETFILTER_XT_MATCH_CONNTRACK",
            Self::Mark => "CONFIG_NETFILTER_XT_MATCH_MARK",
            Self::SetMark => "CONFIG_NETFILTER_XT_TARGET_MARK",
            Self::AddrType => "CONFIG_NETFILTER_XT_MATCH_ADDRTYPE",
            Self::RpFilter => "CONFIG_IP_NF_MATCH_RPFILTER",
            Self::SetMatch => "CONFIG_NETFILTER_XT_SET",
            Self::Masquerade => "CONFIG_NETFILTER_XT_TARGET_MASQUERADE",
            Self::Dnat => "CONFIG_NETFILTER_XT_NAT",
        }
    }
}

/// Tries capabilities, each once.
#[derive(Debug, Default)]
pub struct Probe {
    known: Mutex<HashMap<Capability, Result<(), String>>>,
    iptables: Mutex<Option<Iptables>>,
}

impl Probe {
    /// Whether all of these are there.
    ///
    /// # Errors
    /// What is lacking, in words for a report: `kernel lacks CONFIG_IPVLAN`.
    pub fn check(&self, needs: &[Capability]) -> Result<(), String> {
        needs.iter().try_for_each(|need| self.check_one(*need))
    }

    fn check_one(&self, need: Capability) -> Result<(), String> {
        let mut known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.entry(need).or_insert_with(|| self.attempt(need)).clone()
    }

    /// How programs are attached to links here.
    ///
    /// # Errors
    /// What is lacking.
    pub fn hook(&self) -> Result<Hook, String> {
        classifier::hook(&NetNs::create_unnamed().map_err(|e| e.to_string())?)
    }

    /// The program that loads iptables rules here.
    ///
    /// # Errors
    /// As [`Iptables::find`].
    pub fn iptables(&self) -> Result<Iptables, RulesError> {
        let mut found = self.iptables.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*found {
            Some(iptables) => Ok(iptables.clone()),
            None => Ok(found.insert(Iptables::find()?).clone()),
        }
    }

    fn attempt(&self, need: Capability) -> Result<(), String> {
        let scratch = NetNs::create_unnamed().map_err(|e| e.to_string())?;
        match need {
            Capability::Plugin(name) => {
                return PluginPath::from_environment().find(name).map(drop).map_err(|e| e.to_string());
            }
            Capability::IpSet => {
                let sets = "create probe hash:ip family inet\ncreate probe2 hash:net family inet\n";
                return restore_ipsets(&scratch, sets)
                    .map_err(|e| rules_reason(&e, "CONFIG_IP_SET_HASH_IP or CONFIG_IP_SET_HASH_NET"));
            }
            Capability::Table(table) => return self.attempt_rule(&scratch, table.name(), "", table.option()),
            Capability::Extension(extension) => {
                if extension == Extension::SetMatch {
                    restore_ipsets(&scratch, "create probe hash:ip family inet\n")
                        .map_err(|e| rules_reason(&e, "CONFIG_IP_SET"))?;
                }
                let (table, rule) = extension.sample();
                return self.attempt_rule(&scratch, table, rule, extension.option());
            }
            Capability::Ipvs => return crate::rules::ipvs::check(&scratch),
            Capability::BridgeNetfilter => return bridge_netfilter(&scratch),
            Capability::Classifier => return classifier::hook(&scratch).map(drop),
            Capability::ControlGroup => return attempt_cgroup(),
            Capability::Agent => return agent::find_binary().map(drop).map_err(|e| e.to_string()),
            _ => {}
        }
        let (made, option) = make_link(&scratch, need);
        made.map_err(|e| match e {
            NetlinkError::Unsupported { .. } => format!("kernel lacks {option}"),
            other => other.to_string(),
        })
    }

    fn attempt_rule(&self, scratch: &NetNs, table: &str, rule: &str, option: &str) -> Result<(), String> {
        let iptables = self.iptables().map_err(|e| rules_reason(&e, "CONFIG_IP_NF_IPTABLES"))?;
        let rules = format!("*{table}\n{rule}\nCOMMIT\n");
        iptables.restore(scratch, None, &rules).map_err(|e| rules_reason(&e, option))
    }
}

fn bridge_netfilter(scratch: &NetNs) -> Result<(), String> {
    match sysctl(scratch, "net/bridge/bridge-nf-call-iptables") {
        Ok(_) => Ok(()),
        // Not loaded on anybody's behalf: it changes what every bridge of the machine does.
        Err(NetlinkError::Missing { .. }) => {
            Err("br_netfilter is not loaded (modprobe br_netfilter), or kernel lacks CONFIG_BRIDGE_NETFILTER"
                .into())
        }
        Err(e) => Err(e.to_string()),
    }
}

fn make_link(scratch: &NetNs, need: Capability) -> (Result<(), NetlinkError>, &'static str) {
    let pair = |netlink: &Netlink| {
        netlink.add_veth(&LinkEnd::new("probe0", scratch), &LinkEnd::new("probe1", scratch))
    };
    let made = |make: &dyn Fn(&Netlink) -> Result<(), NetlinkError>| make(&Netlink::open(scratch)?);
    match need {
        Capability::Bridge => (made(&|netlink| netlink.add_bridge("probe0")), "CONFIG_BRIDGE"),
        Capability::Vxlan => {
            let vxlan = Vxlan {
                name: "probe2",
                vni: 1,
                port: 8472,
                local: Ipv4Addr::LOCALHOST,
                device: "lo",
                learning: false,
            };
            (made(&|netlink| netlink.add_vxlan(&vxlan)), "CONFIG_VXLAN")
        }
        Capability::Ipvlan => {
            let make = |netlink: &Netlink| {
                pair(netlink)?;
                netlink.add_ipvlan(&LinkEnd::new("probe2", scratch), "probe0", IpvlanMode::L3)
            };
            (made(&make), "CONFIG_IPVLAN")
        }
        Capability::Netkit => {
            let (a, b) = (LinkEnd::new("probe0", scratch), LinkEnd::new("probe1", scratch));
            (made(&|netlink| netlink.add_netkit(&a, &b, NetkitMode::L3)), "CONFIG_NETKIT")
        }
        _ => (made(&pair), "CONFIG_VETH"),
    }
}

/// A program that is missing is named; anything that the kernel would not take is a lack of the kernel.
fn rules_reason(error: &RulesError, option: &str) -> String {
    let lacks = |error: &dyn Display| format!("kernel lacks {option} ({error})");
    match error {
        // iptables' own part of an extension is a file of the program, not of the kernel.
        RulesError::Refused { complaint, .. } if complaint.contains("Couldn't load") => error.to_string(),
        RulesError::Refused { .. } => lacks(error),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_not_blamed_on_the_kernel() {
        let error = RulesError::NotInstalled { program: "iptables-restore", package: "iptables" };
        assert_eq!(
            rules_reason(&error, "CONFIG_X"),
            "iptables-restore is not installed (apt install iptables)"
        );
        let refused = |complaint: &str| RulesError::Refused {
            tool: "iptables-restore".into(),
            complaint: complaint.into(),
            line: None,
        };
        let library = refused("Couldn't load match `set':No such file or directory");
        assert!(!rules_reason(&library, "CONFIG_X").contains("kernel lacks"));
        let kernel = refused("unable to initialize table 'nat'");
        assert!(rules_reason(&kernel, "CONFIG_IP_NF_NAT").starts_with("kernel lacks CONFIG_IP_NF_NAT ("));
    }

    #[test]
    fn what_is_lacking_first_is_the_reason() {
        let lacking = Capability::Plugin("no-such-plugin");
        let reason = Probe::default().check(&[lacking, Capability::Veth]).unwrap_err();
        assert!(reason.starts_with("CNI plugin no-such-plugin is not in "), "{reason}");
    }
}
