// SPDX-License-Identifier: Apache-2.0
//! From start to end: what is made in which order, and what is taken down in which.

mod assembly;
mod namespace;
mod restore;
mod run;
mod sockets;

pub use assembly::{Assembly, Parts};
pub use namespace::{NamespaceError, NamespaceLock};
pub use restore::{Restored, restore};
pub use run::run;
pub use sockets::{SocketError, listen_unix};
