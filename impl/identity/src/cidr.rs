// SPDX-License-Identifier: Apache-2.0
//! Labels of addresses outside the cluster: the prefix and all that enclose it.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::label::Label;
use crate::labels::Labels;
use crate::reserved;
use crate::source::Source;

/// The labels of a prefix's identity: `cidr:` for it and for each prefix that encloses it down to `/0`, and
/// `reserved:world`. `/0` is the world and nothing else.
pub fn labels(prefix: IpNet) -> Labels {
    let length = prefix.prefix_len();
    let enclosing =
        (0..=length).take_while(|_| length > 0).filter_map(|n| IpNet::new(prefix.addr(), n).ok()).map(label);
    enclosing.chain([Label::reserved(reserved::WORLD)]).collect()
}

/// The label of one prefix. Colons are dashes, with a zero where a dash would begin or end the address, since the key of
/// a selector can have neither.
pub fn label(prefix: IpNet) -> Label {
    let prefix = prefix.trunc();
    let mut address = prefix.addr().to_string().replace(':', "-");
    if address.starts_with('-') {
        address.insert(0, '0');
    }
    if address.ends_with('-') {
        address.push('0');
    }
    Label::of(Source::Cidr, &format!("{address}/{}", prefix.prefix_len()), "")
}

/// The prefix that a CIDR label stands for; none if it is no such label.
pub fn prefix_of(label: &Label) -> Option<IpNet> {
    if *label.source() != Source::Cidr {
        return None;
    }
    let (address, length) = label.key().split_once('/')?;
    let address: IpAddr = address.replace('-', ":").parse().ok()?;
    IpNet::new(address, length.parse().ok()?).ok()
}
