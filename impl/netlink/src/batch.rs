// SPDX-License-Identifier: Apache-2.0
//! Many requests in one system call, for programs that run for a few milliseconds and have no executor.
//!
//! The kernel answers a route netlink request before `send` returns, so nothing here waits for anybody else.

use std::fmt;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::RouteType;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::make::veth;
use crate::{Link, LinkEnd, MacAddr, NetNs, NetlinkError, Route};

/// Room for the answers to one batch. An acknowledgement is 20 to 40 bytes, a link less than 4 KiB.
const ANSWER_BYTES: usize = 64 * 1024;

/// A blocking route netlink socket in one network namespace.
pub struct BatchSocket {
    socket: Socket,
    namespace: String,
    sequence: u32,
}

impl fmt::Debug for BatchSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchSocket").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// One request, and how an error names it.
#[derive(Debug)]
struct Entry {
    action: &'static str,
    object: String,
    flags: u16,
    message: RouteNetlinkMessage,
}

/// Requests that the kernel carries out in this order. It tries each of them, also after one that failed.
#[derive(Debug, Default)]
pub struct Batch(Vec<Entry>);

const ADD: u16 = NLM_F_CREATE | NLM_F_EXCL;

impl Batch {
    /// No requests.
    pub fn new() -> Self {
        Self::default()
    }

    fn push(
        &mut self,
        action: &'static str,
        object: impl Into<String>,
        flags: u16,
        message: RouteNetlinkMessage,
    ) -> &mut Self {
        let flags = flags | NLM_F_REQUEST | NLM_F_ACK;
        self.0.push(Entry { action, object: object.into(), flags, message });
        self
    }

    /// Makes a veth pair, each end down and in its own namespace.
    pub fn add_veth(&mut self, end: &LinkEnd<'_>, peer: &LinkEnd<'_>) -> &mut Self {
        let object = format!("{} and {}", end.name, peer.name);
        self.push("create veth pair", object, ADD, RouteNetlinkMessage::NewLink(veth(end, peer)))
    }

    /// Brings a link up.
    pub fn set_up(&mut self, name: &str) -> &mut Self {
        let message = LinkUnspec::new_with_name(name).up().build();
        self.push("bring up link", name, 0, RouteNetlinkMessage::SetLink(message))
    }

    /// Brings a link up and writes an alias on it, at most 255 bytes.
    pub fn set_up_with_alias(&mut self, name: &str, alias: &str) -> &mut Self {
        let message = LinkUnspec::new_with_name(name).up().alias(alias).build();
        self.push("bring up link", name, 0, RouteNetlinkMessage::SetLink(message))
    }

    /// Deletes a link, and with it its other end.
    pub fn delete_link(&mut self, name: &str) -> &mut Self {
        let message = LinkUnspec::new_with_name(name).build();
        self.push("delete link", name, 0, RouteNetlinkMessage::DelLink(message))
    }

    /// Gives an address to the link of this interface index. IPv6: without duplicate address detection.
    pub fn add_address(&mut self, device: u32, address: IpNet) -> &mut Self {
        let mut message = AddressMessage::default();
        message.header.index = device;
        message.header.prefix_len = address.prefix_len();
        message.header.family = family(address.addr());
        if address.addr().is_ipv6() {
            message.header.flags = AddressHeaderFlags::Nodad;
        }
        message.attributes =
            vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
        self.push("add address", address.to_string(), ADD, RouteNetlinkMessage::NewAddress(message))
    }

    /// Adds a route by the link of this interface index; the name in `route.device` is only used by errors.
    ///
    /// # Errors
    /// [`NetlinkError::Answer`] for a route whose addresses are of two families.
    pub fn add_route(&mut self, device: u32, route: &Route) -> Result<&mut Self, NetlinkError> {
        let message = RouteNetlinkMessage::NewRoute(route.message(Some(device))?);
        Ok(self.push("add route", route.describe(), ADD, message))
    }

    /// Sets a permanent neighbour, in place of whatever is known of that address.
    pub fn set_neighbour(&mut self, device: u32, address: IpAddr, mac: MacAddr) -> &mut Self {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = device;
        message.header.state = NeighbourState::Permanent;
        message.header.kind = RouteType::Unspec;
        let destination = match address {
            IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
            IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
        };
        message.attributes = vec![
            NeighbourAttribute::Destination(destination),
            NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()),
        ];
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        let message = RouteNetlinkMessage::NewNeighbour(message);
        self.push("set neighbour", format!("{address} at {mac}"), flags, message)
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

impl BatchSocket {
    /// Opens a socket in `netns`. The calling thread stays where it is.
    ///
    /// # Errors
    /// [`NetlinkError::NetNs`] when the namespace cannot be entered, otherwise the socket's error.
    pub fn open(netns: &NetNs) -> Result<Self, NetlinkError> {
        let namespace = netns.path().display().to_string();
        netns.run(Self::here)?.map(|socket| Self { namespace, ..socket })
    }

    /// Opens a socket in the namespace of the calling thread.
    ///
    /// # Errors
    /// The socket's error.
    pub fn here() -> Result<Self, NetlinkError> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket =
            open().map_err(|e| NetlinkError::from_io("open a netlink socket in", "this namespace", e))?;
        Ok(Self { socket, namespace: "this namespace".into(), sequence: 0 })
    }

    /// Sends all requests and waits for all answers.
    ///
    /// # Errors
    /// That of the first request that failed. The others were carried out as far as they could be.
    pub fn send(&mut self, batch: &Batch) -> Result<(), NetlinkError> {
        self.exchange(&batch.0).map(drop)
    }

    /// The link of this name.
    ///
    /// # Errors
    /// [`NetlinkError::Missing`] when there is none.
    pub fn link(&mut self, name: &str) -> Result<Link, NetlinkError> {
        let action = "look up link";
        let entry = Entry {
            action,
            object: name.into(),
            flags: NLM_F_REQUEST | NLM_F_ACK,
            message: RouteNetlinkMessage::GetLink(LinkUnspec::new_with_name(name).build()),
        };
        let found = self.exchange(&[entry])?.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(Link::from(link)),
            _ => None,
        });
        found.ok_or_else(|| NetlinkError::Missing { action, object: name.into() })
    }

    fn exchange(&mut self, entries: &[Entry]) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let Some(first) = entries.first() else { return Ok(Vec::new()) };
        let fail = |e| NetlinkError::from_io(first.action, &first.object, e);
        let begin = self.sequence;
        let mut bytes = Vec::new();
        for entry in entries {
            let mut message = NetlinkMessage::from(entry.message.clone());
            message.header.flags = entry.flags;
            message.header.sequence_number = self.sequence;
            self.sequence = self.sequence.wrapping_add(1);
            message.finalize();
            let at = bytes.len();
            // Each message begins on a multiple of four (NLMSG_ALIGN).
            bytes.resize(at + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[at..]);
        }
        self.socket.send(&bytes, 0).map_err(fail)?;
        let mut answers = Answers::new(begin, entries);
        let mut buffer = Vec::with_capacity(ANSWER_BYTES);
        while !answers.complete() {
            buffer.clear();
            self.socket.recv(&mut buffer, 0).map_err(fail)?;
            answers.read(&buffer)?;
        }
        answers.result()
    }
}

/// What has been answered so far.
struct Answers<'a> {
    begin: u32,
    entries: &'a [Entry],
    /// For each entry: whether its last answer has come.
    done: Vec<bool>,
    messages: Vec<RouteNetlinkMessage>,
    error: Option<(usize, NetlinkError)>,
}

impl<'a> Answers<'a> {
    fn new(begin: u32, entries: &'a [Entry]) -> Self {
        Self { begin, entries, done: vec![false; entries.len()], messages: Vec::new(), error: None }
    }

    fn complete(&self) -> bool {
        self.done.iter().all(|done| *done)
    }

    fn result(self) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.error.map_or(Ok(self.messages), |(_, error)| Err(error))
    }

    fn malformed(&self, answer: String) -> NetlinkError {
        let first = &self.entries[0];
        NetlinkError::Answer { action: first.action, object: first.object.clone(), answer }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), NetlinkError> {
        while !bytes.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes)
                .map_err(|e| self.malformed(e.to_string()))?;
            let length = (message.header.length as usize).next_multiple_of(4);
            if length == 0 {
                return Err(self.malformed("a message without length".into()));
            }
            bytes = bytes.get(length..).unwrap_or_default();
            let place = message.header.sequence_number.wrapping_sub(self.begin) as usize;
            self.take(place, message.payload);
        }
        Ok(())
    }

    fn take(&mut self, place: usize, payload: NetlinkPayload<RouteNetlinkMessage>) {
        // An answer to a request of an earlier batch that was given up.
        let Some(entry) = self.entries.get(place) else { return };
        match payload {
            NetlinkPayload::InnerMessage(message) => self.messages.push(message),
            NetlinkPayload::Error(answer) => {
                self.done[place] = true;
                if answer.code.is_some() && self.error.as_ref().is_none_or(|(first, _)| place < *first) {
                    let error = NetlinkError::from_io(entry.action, &entry.object, answer.to_io());
                    self.error = Some((place, error));
                }
            }
            _ => {}
        }
    }
}
