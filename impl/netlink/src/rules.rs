// SPDX-License-Identifier: Apache-2.0
//! Routing policy rules: which table is asked for which packets.

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::IpVersion;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use crate::{Netlink, NetlinkError};

/// A rule that sends packets to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// IPv6 instead of IPv4. Must agree with `from` and `to`.
    pub ipv6: bool,
    /// Order: the smallest is asked first.
    pub priority: u32,
    /// Packets from here; `None` for all.
    pub from: Option<IpNet>,
    /// Packets to here; `None` for all.
    pub to: Option<IpNet>,
    /// Packets with `mark & .1 == .0`.
    pub mark: Option<(u32, u32)>,
    /// Packets that came in by this device.
    pub input: Option<String>,
    /// The table.
    pub table: u32,
}

impl Rule {
    fn describe(&self) -> String {
        format!("{} to table {}", self.priority, self.table)
    }

    fn fill(&self, message: &mut RuleMessage) {
        message.header.action = RuleAction::ToTable;
        if let Some(net) = self.from {
            message.header.src_len = net.prefix_len();
            message.attributes.push(RuleAttribute::Source(net.addr()));
        }
        if let Some(net) = self.to {
            message.header.dst_len = net.prefix_len();
            message.attributes.push(RuleAttribute::Destination(net.addr()));
        }
        if let Some((mark, mask)) = self.mark {
            message.attributes.push(RuleAttribute::FwMark(mark));
            message.attributes.push(RuleAttribute::FwMask(mask));
        }
    }
}

impl Netlink {
    /// Adds a rule.
    ///
    /// # Errors
    /// [`NetlinkError::Exists`]; [`NetlinkError::Refused`] (`EINVAL`) when the families do not agree.
    pub fn add_rule(&self, rule: &Rule) -> Result<(), NetlinkError> {
        let wrong = |net: &Option<IpNet>| net.is_some_and(|n| n.addr().is_ipv6() != rule.ipv6);
        if wrong(&rule.from) || wrong(&rule.to) {
            let source = nix::errno::Errno::EINVAL.into();
            return Err(NetlinkError::Refused { action: "add rule", object: rule.describe(), source });
        }
        let mut request = self.handle.rule().add().priority(rule.priority).table_id(rule.table);
        if let Some(input) = &rule.input {
            request = request.input_interface(input.as_str());
        }
        let object = rule.describe();
        if rule.ipv6 {
            let mut request = request.v6();
            rule.fill(request.message_mut());
            self.wait("add rule", &object, request.execute())
        } else {
            let mut request = request.v4();
            rule.fill(request.message_mut());
            self.wait("add rule", &object, request.execute())
        }
    }

    /// The rules of both families that send packets to a table.
    ///
    /// # Errors
    /// [`NetlinkError`] of the dump.
    pub fn rules(&self) -> Result<Vec<Rule>, NetlinkError> {
        let mut rules = Vec::new();
        for (ipv6, version) in [(false, IpVersion::V4), (true, IpVersion::V6)] {
            let messages = self.collect("list the rules of", self.handle.rule().get(version).execute())?;
            rules.extend(
                messages
                    .into_iter()
                    .filter(|message| message.header.action == RuleAction::ToTable)
                    .map(|message| rule(ipv6, message)),
            );
        }
        Ok(rules)
    }
}

fn rule(ipv6: bool, message: RuleMessage) -> Rule {
    let net = |address: IpAddr, length: u8| IpNet::new(address, length).ok();
    let (mut mark, mut mask) = (None, u32::MAX);
    let mut rule = Rule {
        ipv6,
        priority: 0,
        from: None,
        to: None,
        mark: None,
        input: None,
        table: message.header.table.into(),
    };
    for attribute in message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = priority,
            RuleAttribute::Source(address) => rule.from = net(address, message.header.src_len),
            RuleAttribute::Destination(address) => rule.to = net(address, message.header.dst_len),
            RuleAttribute::FwMark(value) => mark = Some(value),
            RuleAttribute::FwMask(value) => mask = value,
            RuleAttribute::Iifname(name) => rule.input = Some(name),
            RuleAttribute::Table(table) => rule.table = table,
            _ => {}
        }
    }
    rule.mark = mark.map(|mark| (mark, mask));
    rule
}
