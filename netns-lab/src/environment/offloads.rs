// SPDX-License-Identifier: Apache-2.0
//! Offloads of an interface, asked for by the ethtool ioctls that every kernel knows.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `linux/sockios.h`.
const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// `linux/ethtool.h`: the command that reads an offload, and the name that `ethtool -k` has made known for it.
const COMMANDS: [(u32, &str); 6] =
    [(0x14, "rx-checksum"), (0x16, "tx-checksum"), (0x18, "sg"), (0x1e, "tso"), (0x23, "gso"), (0x2b, "gro")];

/// Why the offloads are not known.
#[derive(Debug, thiserror::Error)]
pub enum OffloadError {
    /// The name cannot be one.
    #[error("{0:?} is no interface name")]
    Name(String),
    /// The kernel refused.
    #[error("ask for the offloads of {interface}: {source}")]
    Ask {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Offloads of an interface in the calling thread's namespace, `on` or `off`. Those that its driver does not know are
/// left out.
///
/// # Errors
/// [`OffloadError`].
pub fn read_offloads(interface: &str) -> Result<BTreeMap<String, String>, OffloadError> {
    let ask = |source| OffloadError::Ask { interface: interface.into(), source };
    if interface.is_empty() || interface.len() >= libc::IFNAMSIZ || interface.contains('\0') {
        return Err(OffloadError::Name(interface.into()));
    }
    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|e| ask(e.into()))?;
    let mut offloads = BTreeMap::new();
    for (command, name) in COMMANDS {
        match read(&control, interface, command) {
            Ok(on) => drop(offloads.insert(name.to_owned(), if on { "on" } else { "off" }.to_owned())),
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            Err(e) => return Err(ask(e)),
        }
    }
    Ok(offloads)
}

fn read(control: &OwnedFd, interface: &str, command: u32) -> io::Result<bool> {
    let mut value = Value { command, data: 0 };
    // SAFETY: an ifreq of zeroes is valid: a name of no characters and a union of plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request is live, its name ends with a zero (shorter than IFNAMSIZ), its data is an ethtool_value,
    // which is what these commands fill.
    let rc = unsafe { libc::ioctl(control.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data != 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_states_its_offloads() {
        let offloads = read_offloads("lo").unwrap();
        assert_eq!(offloads.get("gso").map(String::as_str), Some("on"), "{offloads:?}");
        assert!(offloads.contains_key("tso") && offloads.contains_key("gro"));
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error_with_its_name() {
        let error = read_offloads("clab-none").unwrap_err();
        assert!(error.to_string().contains("clab-none"), "{error}");
        assert!(matches!(read_offloads("a-name-that-is-too-long"), Err(OffloadError::Name(_))));
    }
}
