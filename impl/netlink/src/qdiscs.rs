// SPDX-License-Identifier: Apache-2.0
//! The clsact qdisc, which holds filters of packets that come in and that go out.

use rtnetlink::packet_route::tc::TcHandle;

use crate::{Link, Netlink, NetlinkError};

impl Netlink {
    /// How many filters of either direction a link's clsact qdisc has. Without one: none.
    ///
    /// # Errors
    /// [`NetlinkError`] of the dump.
    pub fn clsact_filters(&self, link: &Link) -> Result<usize, NetlinkError> {
        let action = "list the filters of";
        let requests = [
            self.handle.traffic_filter(index(link)).get().ingress(),
            self.handle.traffic_filter(index(link)).get().egress(),
        ];
        let mut count = 0;
        for request in requests {
            let filters = self.collect(action, request.execute())?;
            // The kernel tells a chain of a protocol too: what has a handle is a filter.
            count += filters.iter().filter(|filter| filter.header.handle != TcHandle::UNSPEC).count();
        }
        Ok(count)
    }

    /// Deletes a link's clsact qdisc and with it all its filters.
    ///
    /// # Errors
    /// [`NetlinkError::Missing`] or [`NetlinkError::Refused`] (`EINVAL`) without one.
    pub fn delete_clsact(&self, link: &Link) -> Result<(), NetlinkError> {
        let mut request = self.handle.qdisc().del(index(link));
        let header = &mut request.message_mut().header;
        header.parent = TcHandle::CLSACT;
        header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
        self.wait("delete the clsact qdisc of", &link.name, request.execute())
    }
}

/// The kernel gives no index that is larger.
fn index(link: &Link) -> i32 {
    i32::try_from(link.index).unwrap_or(i32::MAX)
}
