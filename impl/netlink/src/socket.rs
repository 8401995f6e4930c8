// SPDX-License-Identifier: Apache-2.0
//! The socket: opened in one namespace, usable from any thread.

use std::fmt;
use std::future::Future;
use std::sync::Mutex;

use futures_util::{Stream, TryStreamExt};
use rtnetlink::Handle;
use tokio::runtime::{Builder, Runtime};

use crate::{NetNs, NetlinkError};

/// A route netlink socket in one network namespace.
pub struct Netlink {
    // One caller at a time drives the runtime; a second one would wait inside it all the same.
    runtime: Mutex<Runtime>,
    pub(crate) handle: Handle,
    namespace: String,
}

impl fmt::Debug for Netlink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Netlink").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Netlink {
    /// Opens a socket in `netns`. The calling thread stays where it is.
    ///
    /// # Errors
    /// [`NetlinkError::NetNs`] when the namespace cannot be entered, otherwise the socket's error.
    pub fn open(netns: &NetNs) -> Result<Self, NetlinkError> {
        let namespace = netns.path().display().to_string();
        let fail = |e| NetlinkError::from_io("open a netlink socket in", &namespace, e);
        let runtime = Builder::new_current_thread().enable_io().build().map_err(fail)?;
        let (connection, handle, _) = netns
            .run(|| {
                let _reactor = runtime.enter();
                rtnetlink::new_connection()
            })?
            .map_err(fail)?;
        runtime.spawn(connection);
        Ok(Self { runtime: Mutex::new(runtime), handle, namespace })
    }

    /// Runs one request to its end.
    pub(crate) fn wait<T>(
        &self,
        action: &'static str,
        object: &str,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, NetlinkError> {
        let runtime = self.runtime.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        runtime.block_on(request).map_err(|e| NetlinkError::new(action, object, e))
    }

    /// Collects the answers to a dump.
    pub(crate) fn collect<T>(
        &self,
        action: &'static str,
        request: impl Stream<Item = Result<T, rtnetlink::Error>>,
    ) -> Result<Vec<T>, NetlinkError> {
        self.wait(action, &self.namespace, request.try_collect())
    }
}
