// SPDX-License-Identifier: Apache-2.0
//! The guest's root file system: a cpio archive in the "newc" format that the kernel unpacks
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`). The same contents give the same bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// One entry of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory, mode 0755.
    Directory,
    /// A regular file.
    File {
        /// Its bytes.
        data: Vec<u8>,
        /// Mode 0755, otherwise 0644.
        executable: bool,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: String,
    },
    /// A character device, mode 0600.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// A file system tree under construction. Entries are kept sorted; directories come into being with what is in them.
#[derive(Debug, Default)]
pub struct Initramfs {
    entries: BTreeMap<String, Entry>,
}

impl Initramfs {
    /// Adds an entry at an absolute path, in place of an earlier one there, and the directories above it.
    pub fn add(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry::Directory);
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// Whether there is an entry at this path.
    pub fn contains(&self, path: &str) -> bool {
        self.entries.contains_key(path.trim_matches('/'))
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// Those of `out`, and `InvalidInput` for a file of 4 GiB or more, which the format cannot carry.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut inode = 0;
        for (path, entry) in &self.entries {
            inode += 1;
            let (mode, device, data): (u32, (u32, u32), &[u8]) = match entry {
                Entry::Directory => (0o040_755, (0, 0), &[]),
                Entry::File { data, executable: true } => (0o100_755, (0, 0), data),
                Entry::File { data, executable: false } => (0o100_644, (0, 0), data),
                Entry::Symlink { target } => (0o120_777, (0, 0), target.as_bytes()),
                Entry::CharDevice { major, minor } => (0o020_600, (*major, *minor), &[]),
            };
            write_entry(out, inode, path, mode, device, data)?;
        }
        write_entry(out, 0, "TRAILER!!!", 0, (0, 0), &[])
    }
}

fn write_entry(
    out: &mut impl Write,
    inode: u32,
    path: &str,
    mode: u32,
    (major, minor): (u32, u32),
    data: &[u8],
) -> io::Result<()> {
    let size = u32::try_from(data.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{path} is 4 GiB or larger")))?;
    let name_size = path.len() as u32 + 1;
    // Owner, group, time and the numbers of the containing device are 0; there are no hard links.
    write!(out, "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{size:08x}", 0, 1)?;
    write!(out, "{0:08x}{0:08x}{major:08x}{minor:08x}{name_size:08x}{0:08x}", 0)?;
    out.write_all(path.as_bytes())?;
    // The header is 110 bytes; name and data are each padded to a multiple of four.
    pad(out, 1 + (4 - (110 + path.len() + 1) % 4) % 4)?;
    out.write_all(data)?;
    pad(out, (4 - data.len() % 4) % 4)
}

fn pad(out: &mut impl Write, bytes: usize) -> io::Result<()> {
    out.write_all(&[0; 4][..bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Initramfs {
        let mut tree = Initramfs::default();
        tree.add("/usr/lib/cni/bridge", Entry::File { data: b"plugin".to_vec(), executable: true });
        tree.add("/lab/plan.json", Entry::File { data: b"{}".to_vec(), executable: false });
        tree.add("/bin", Entry::Symlink { target: "usr/bin".into() });
        tree.add("/dev/console", Entry::CharDevice { major: 5, minor: 1 });
        tree
    }

    /// Path, mode, device, data.
    type Read = (String, u32, (u32, u32), Vec<u8>);

    /// Reads an archive back by the fields of the format, not by the code above.
    fn parse(mut archive: &[u8]) -> Vec<Read> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&archive[..6], b"070701");
            let field = |n: usize| {
                let text = std::str::from_utf8(&archive[6 + 8 * n..14 + 8 * n]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (size, name_size) = (field(6) as usize, field(11) as usize);
            let name = std::str::from_utf8(&archive[110..110 + name_size - 1]).unwrap().to_owned();
            assert_eq!(archive[110 + name_size - 1], 0);
            let data_at = (110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(archive.len(), data_at);
                return entries;
            }
            entries.push((name, field(1), (field(9), field(10)), archive[data_at..data_at + size].to_vec()));
            archive = &archive[(data_at + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn archive_reads_back_with_parents_before_children() {
        let mut archive = Vec::new();
        tree().write(&mut archive).unwrap();
        let read = parse(&archive);
        let names: Vec<_> = read.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "bin",
                "dev",
                "dev/console",
                "lab",
                "lab/plan.json",
                "usr",
                "usr/lib",
                "usr/lib/cni",
                "usr/lib/cni/bridge"
            ]
        );
        assert_eq!(read[0], ("bin".into(), 0o120_777, (0, 0), b"usr/bin".to_vec()));
        assert_eq!(read[2], ("dev/console".into(), 0o020_600, (5, 1), vec![]));
        assert_eq!(read[8], ("usr/lib/cni/bridge".into(), 0o100_755, (0, 0), b"plugin".to_vec()));
    }

    #[test]
    fn same_contents_give_the_same_bytes_in_whatever_order_they_were_added() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        tree().write(&mut one).unwrap();
        let mut reversed = Initramfs::default();
        for (path, entry) in tree().entries.into_iter().rev() {
            reversed.add(&path, entry);
        }
        reversed.write(&mut other).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn a_later_entry_takes_the_place_of_an_earlier_one() {
        let mut tree = tree();
        tree.add("/lab/plan.json", Entry::File { data: b"[]".to_vec(), executable: false });
        let mut archive = Vec::new();
        tree.write(&mut archive).unwrap();
        let plans: Vec<_> = parse(&archive).into_iter().filter(|e| e.0 == "lab/plan.json").collect();
        assert_eq!(plans.len(), 1);
        assert_eq!(plans[0].3, b"[]");
    }
}
