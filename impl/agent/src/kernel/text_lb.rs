// SPDX-License-Identifier: Apache-2.0
//! The tables of services as people read them.

use std::net::{Ipv4Addr, SocketAddr};

use maps::{
    LbAffinity, LbAffinityKey, LbBackend4, LbBackend6, LbFrontend, LbKey4, LbKey6, LbReverse4, LbReverse6,
    LbSlotKey, LbSocket4, LbSocket6, LbSocketKey4, LbSocketKey6, LbSourceKey4, LbSourceKey6, lb_flags,
    lb_scope,
};

use super::text::{Text, address, ip6, protocol};

fn frontend(socket: SocketAddr, number: u8, scope: u8) -> Option<String> {
    let scope = if scope == lb_scope::INTERNAL { "/internal" } else { "" };
    Some(format!("{socket}/{}{scope}", protocol(number)))
}

impl Text for LbKey4 {
    fn text(&self) -> Option<String> {
        frontend(self.socket(), self.protocol, self.scope)
    }
}

impl Text for LbKey6 {
    fn text(&self) -> Option<String> {
        frontend(self.socket(), self.protocol, self.scope)
    }
}

impl Text for LbFrontend {
    fn text(&self) -> Option<String> {
        let flags = [
            (lb_flags::EXTERNAL, " external"),
            (lb_flags::TWO_SCOPES, " two-scopes"),
            (lb_flags::NODE_PORT, " node-port"),
            (lb_flags::SOURCE_RANGES, " source-ranges"),
        ];
        let flags = flags.iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, name)| *name);
        let flags: String = flags.collect();
        Some(format!("id={} slots={} affinity={}s{flags}", self.id, self.count, self.affinity_timeout_s))
    }
}

impl Text for LbSlotKey {
    fn text(&self) -> Option<String> {
        Some(format!("service={} slot={}", self.id, self.slot))
    }
}

impl Text for LbBackend4 {
    fn text(&self) -> Option<String> {
        Some(format!("{}/{}", self.socket(), protocol(self.protocol)))
    }
}

impl Text for LbBackend6 {
    fn text(&self) -> Option<String> {
        Some(format!("{}/{}", self.socket(), protocol(self.protocol)))
    }
}

impl Text for LbReverse4 {
    fn text(&self) -> Option<String> {
        self.socket().map(|socket| socket.to_string())
    }
}

impl Text for LbReverse6 {
    fn text(&self) -> Option<String> {
        self.socket().map(|socket| socket.to_string())
    }
}

impl Text for LbSourceKey4 {
    fn text(&self) -> Option<String> {
        Some(format!("service={} {}", self.id, self.range()?))
    }
}

impl Text for LbSourceKey6 {
    fn text(&self) -> Option<String> {
        Some(format!("service={} {}", self.id, self.range()?))
    }
}

impl Text for LbAffinityKey {
    fn text(&self) -> Option<String> {
        let [first, second, ..] = self.client.map(|word| Ipv4Addr::from(word).octets());
        let client = if self.by_netns == 0 {
            address(self.client).to_string()
        } else {
            let mut cookie = [0; 8];
            cookie[..4].copy_from_slice(&first);
            cookie[4..].copy_from_slice(&second);
            format!("netns {}", u64::from_ne_bytes(cookie))
        };
        Some(format!("service={} client={client}", self.id))
    }
}

impl Text for LbAffinity {
    fn text(&self) -> Option<String> {
        Some(format!("backend={} last_used={}", self.backend, self.last_used_s))
    }
}

fn of_socket(cookie: u64, backend: SocketAddr) -> Option<String> {
    Some(format!("socket={cookie} backend={backend}"))
}

impl Text for LbSocketKey4 {
    fn text(&self) -> Option<String> {
        of_socket(self.cookie, (Ipv4Addr::from(self.addr), self.port.get()).into())
    }
}

impl Text for LbSocketKey6 {
    fn text(&self) -> Option<String> {
        of_socket(self.cookie, (ip6(self.addr), self.port.get()).into())
    }
}

fn believed(id: u16, frontend: SocketAddr) -> Option<String> {
    Some(format!("service={id} {frontend}"))
}

impl Text for LbSocket4 {
    fn text(&self) -> Option<String> {
        believed(self.id, (Ipv4Addr::from(self.addr), self.port.get()).into())
    }
}

impl Text for LbSocket6 {
    fn text(&self) -> Option<String> {
        believed(self.id, (ip6(self.addr), self.port.get()).into())
    }
}

#[cfg(test)]
mod tests {
    use addr::Be16;

    use super::*;

    #[test]
    fn rows_of_services_say_who_they_are() {
        let addr = Ipv4Addr::new(10, 96, 0, 1).into();
        let key = LbKey4 { addr, port: Be16::new(53), protocol: 17, scope: lb_scope::INTERNAL };
        assert_eq!(key.text().as_deref(), Some("10.96.0.1:53/UDP/internal"));
        let flags = lb_flags::EXTERNAL | lb_flags::NODE_PORT;
        let row = LbFrontend { id: 7, flags, count: 3, affinity_timeout_s: 60, pad: 0 };
        assert_eq!(row.text().as_deref(), Some("id=7 slots=3 affinity=60s external node-port"));
        let range = LbSourceKey4::new(7, "10.0.0.0/8".parse().unwrap()).unwrap();
        assert_eq!(range.text().as_deref(), Some("service=7 10.0.0.0/8"));
        let backend = LbBackend4 { addr, port: Be16::new(80), protocol: 200, flags: 0 };
        assert_eq!(backend.text().as_deref(), Some("10.96.0.1:80/200"));
        assert_eq!(LbReverse4::default().text(), None);
        let reverse = LbReverse6 { port: Be16::new(80), ..LbReverse6::default() };
        assert_eq!(reverse.text().as_deref(), Some("[::]:80"));
        let zero = Ipv4Addr::UNSPECIFIED.into();
        let mut client = LbAffinityKey { client: [addr, zero, zero, zero], id: 7, by_netns: 0, pad: 0 };
        assert_eq!(client.text().as_deref(), Some("service=7 client=10.96.0.1"));
        client.by_netns = 1;
        assert!(client.text().unwrap().starts_with("service=7 client=netns "));
    }
}
