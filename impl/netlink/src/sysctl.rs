// SPDX-License-Identifier: Apache-2.0
//! Network sysctls of a namespace. `/proc/sys/net` shows the namespace of the thread that opens it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use crate::{NetNs, NetlinkError};

fn file(action: &'static str, name: &str) -> Result<PathBuf, NetlinkError> {
    // Only below net/: everything else under /proc/sys belongs to the whole machine.
    let path = Path::new(name);
    if !path.starts_with("net") || path.components().any(|c| !matches!(c, Component::Normal(_))) {
        return Err(NetlinkError::from_io(action, name, Errno::EINVAL.into()));
    }
    Ok(Path::new("/proc/sys").join(path))
}

/// Writes a sysctl of a namespace; `name` with slashes, for example `net/ipv4/ip_forward`.
///
/// # Errors
/// [`NetlinkError::Missing`] when this kernel has none of that name, `EINVAL` for a name that is not below `net/`.
pub fn set_sysctl(netns: &NetNs, name: &str, value: &str) -> Result<(), NetlinkError> {
    set_sysctls(netns, &[(name, value)])
}

/// Writes several sysctls of a namespace, which is entered only once for all.
///
/// # Errors
/// As [`set_sysctl`], for the first that fails; those after it are not written.
pub fn set_sysctls(netns: &NetNs, settings: &[(&str, &str)]) -> Result<(), NetlinkError> {
    let action = "write sysctl";
    netns.run(|| {
        settings.iter().try_for_each(|(name, value)| {
            fs::write(file(action, name)?, value).map_err(|e| NetlinkError::from_io(action, *name, e))
        })
    })?
}

/// Reads a sysctl of a namespace, without the newline at its end.
///
/// # Errors
/// As [`set_sysctl`].
pub fn sysctl(netns: &NetNs, name: &str) -> Result<String, NetlinkError> {
    let action = "read sysctl";
    let path = file(action, name)?;
    let text = netns.run(|| fs::read_to_string(path))?.map_err(|e| NetlinkError::from_io(action, name, e))?;
    Ok(text.trim_end().to_owned())
}
