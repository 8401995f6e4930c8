// SPDX-License-Identifier: Apache-2.0
//! The control groups whose sockets are translated: the root of a cgroup2 hierarchy, which a node with systemd has mounted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::DatapathError;
use crate::loader::file;

/// Where one is mounted if there is none, as Cilium does.
pub const DEFAULT_MOUNT: &str = "/var/run/cilium/cgroupv2";

/// The directory to attach to: `--cgroup-root` if it is given, otherwise where the whole hierarchy is mounted. Where none is
/// mounted, one is: at `--cgroup-root`, or at [`DEFAULT_MOUNT`].
///
/// # Errors
/// [`DatapathError::NoCgroup2`] if something else is at that place, [`DatapathError::File`] if it cannot be mounted.
pub fn find_or_mount(cgroup_root: Option<&Path>) -> Result<PathBuf, DatapathError> {
    if let Some(root) = cgroup_root {
        return ensure(root);
    }
    let mounts = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(mounts).map_err(|e| file("read", mounts, e))?;
    match text.lines().find_map(mounted_root) {
        Some(root) => Ok(root),
        None => ensure(Path::new(DEFAULT_MOUNT)),
    }
}

/// The mount point that a line of `mountinfo` tells of, if the root of a cgroup2 hierarchy is there.
fn mounted_root(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    (filesystem.split(' ').next() == Some("cgroup2") && root == "/").then(|| unescaped(point).into())
}

/// The kernel writes spaces and the like as three octal digits.
fn unescaped(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(&part[3..]);
            }
            None => text.push_str(part),
        }
    }
    text
}

/// Makes sure that a cgroup2 hierarchy is there: it is mounted if the directory is missing or empty.
fn ensure(root: &Path) -> Result<PathBuf, DatapathError> {
    if !is_cgroup2(root)? {
        fs::create_dir_all(root).map_err(|e| file("create", root, e))?;
        let occupied = fs::read_dir(root).map_err(|e| file("read", root, e))?.next().is_some();
        if occupied {
            return Err(DatapathError::NoCgroup2 { path: root.into() });
        }
        mount(Some("cgroup2"), root, Some("cgroup2"), MsFlags::empty(), None::<&str>)
            .map_err(|e| file("mount a cgroup2 hierarchy on", root, e.into()))?;
    }
    Ok(root.into())
}

/// Whether the directory is a control group. False if it is not there.
fn is_cgroup2(path: &Path) -> Result<bool, DatapathError> {
    match statfs(path) {
        Ok(found) => Ok(found.filesystem_type() == CGROUP2_SUPER_MAGIC),
        Err(Errno::ENOENT) => Ok(false),
        Err(e) => Err(file("look at", path, io::Error::from(e))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_hierarchy_is_found_among_mounts() {
        let whole = "35 25 0:30 / /sys/fs/cgroup/uni\\040fied rw,nosuid - cgroup2 cgroup2 rw";
        assert_eq!(mounted_root(whole), Some("/sys/fs/cgroup/uni fied".into()));
        for other in [
            "35 25 0:30 /a/b /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw",
            "36 25 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids",
            "37 25",
            "",
        ] {
            assert_eq!(mounted_root(other), None, "{other}");
        }
    }
}
