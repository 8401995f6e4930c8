// SPDX-License-Identifier: Apache-2.0
//! File systems that are mounted in a lab's directory.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::LabError;

/// A bpffs of its own: what is pinned there goes with it.
#[derive(Debug)]
pub struct BpfFs(PathBuf);

impl BpfFs {
    /// Mounts one at a directory that is made for it.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub fn mount(at: &Path) -> Result<Self, LabError> {
        fs::create_dir_all(at).map_err(LabError::io("create", at))?;
        mount(Some("ciliate-lab"), at, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .map_err(|e| LabError::io("mount a bpffs at", at)(e.into()))?;
        Ok(Self(at.into()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves it mounted.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        if let Err(e) = unmount(&self.0) {
            eprintln!("netns-lab: {e}");
        }
    }
}

fn unmount(path: &Path) -> Result<(), LabError> {
    // Lazily: what somebody has open in it ends when he closes it, and the name is free at once.
    umount2(path, MntFlags::MNT_DETACH).map_err(|e| LabError::io("unmount", path)(e.into()))
}

/// Unmounts everything in a directory, what was mounted last first.
pub(super) fn unmount_below(directory: &Path) -> Result<(), LabError> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read(table).map_err(LabError::io("read", table))?;
    for path in mount_points(&text).into_iter().rev().filter(|path| path.starts_with(directory)) {
        match unmount(&path) {
            Err(LabError::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {}
            other => other?,
        }
    }
    Ok(())
}

/// The fifth field of each line of `/proc/self/mountinfo` (`proc(5)`), in which blanks are written as `\040`.
fn mount_points(table: &[u8]) -> Vec<PathBuf> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| std::ffi::OsString::from_vec(unescape(field)).into())
        .collect()
}

pub(super) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let text = b"36 35 98:0 / /run/a rw,noatime shared:1 - bpf x rw\n37 35 0:1 / /run/b\\040c\\134 rw - bpf x rw\ntorn\n";
        assert_eq!(mount_points(text), [Path::new("/run/a"), Path::new("/run/b c\\")]);
    }

    #[test]
    fn a_torn_escape_is_left_as_it_is() {
        assert_eq!(unescape(b"a\\04"), b"a\\04");
        assert_eq!(unescape(b"\\xyz"), b"\\xyz");
    }
}
