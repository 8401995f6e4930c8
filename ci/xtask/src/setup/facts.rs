// SPDX-License-Identifier: Apache-2.0
//! What this machine is and has. Found by looking at files and programs themselves, not at lists of packages:
//! what was installed by hand counts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::Result;
use nix::unistd::{AccessFlags, Uid, access};

use super::need::{Need, Tool};
use super::netperf;

/// A family of distributions whose packages have the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Debian, Ubuntu and what is made of them.
    Debian,
    /// Fedora, RHEL and what is made of them.
    Fedora,
    /// Arch and what is made of it.
    Arch,
    /// Any other.
    Other,
}

/// All that decides what is to be done.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Running as root.
    pub root: bool,
    /// The distribution's family.
    pub family: Family,
    /// `apt-get` is there.
    pub apt: bool,
    /// The tools that are there.
    pub tools: BTreeSet<Tool>,
    /// The directory with `netperf` and `netserver`.
    pub netperf: Option<PathBuf>,
    /// A file system of type `bpf` is mounted at `/sys/fs/bpf`.
    pub bpffs: bool,
    /// A file system of type `cgroup2` is mounted anywhere.
    pub cgroup2: bool,
    /// Something of cgroup 1 is mounted: cgroup2 then goes beside it.
    pub cgroup1: bool,
}

impl Facts {
    /// Looks. `directory` is where the lab keeps what it has fetched.
    pub fn gather(directory: &Path) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mounts = parse_mounts(&mounts);
        let all = [
            Need::CniPlugins,
            Need::Iptables,
            Need::Ipset,
            Need::Qemu,
            Need::Kernel,
            Need::AgentBuild,
            Need::Containerd,
        ];
        Ok(Self {
            root: Uid::effective().is_root(),
            family: family(&os_release()),
            apt: find_program("apt-get").is_some(),
            tools: all.iter().flat_map(|need| need.tools()).copied().filter(|t| is_there(*t)).collect(),
            netperf: netperf::find(directory),
            bpffs: mounts.iter().any(|(kind, at)| *kind == "bpf" && *at == "/sys/fs/bpf"),
            cgroup2: mounts.iter().any(|(kind, _)| *kind == "cgroup2"),
            cgroup1: mounts.iter().any(|(kind, _)| *kind == "cgroup"),
        })
    }
}

/// `(type, mount point)` of each line of `/proc/self/mounts`.
fn parse_mounts(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            let at = words.next()?;
            Some((words.next()?, at))
        })
        .collect()
}

/// The text of `os-release`(5), empty when there is none.
pub fn os_release() -> String {
    ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .unwrap_or_default()
}

/// A field of `os-release`, without its quotes.
pub fn os_release_field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))
        .map(|value| value.trim_matches(['"', '\'']))
}

fn family(os_release: &str) -> Family {
    let words = ["ID", "ID_LIKE"]
        .iter()
        .filter_map(|key| os_release_field(os_release, key))
        .flat_map(str::split_ascii_whitespace);
    for word in words {
        match word {
            "debian" | "ubuntu" => return Family::Debian,
            "fedora" | "rhel" | "centos" => return Family::Fedora,
            "arch" => return Family::Arch,
            _ => {}
        }
    }
    Family::Other
}

fn is_there(tool: Tool) -> bool {
    match tool {
        Tool::Program(name) => find_program(name).is_some(),
        Tool::CniPlugin(name) => cni_directories().any(|directory| executable(&directory.join(name))),
        Tool::Header(name) => {
            HEADER_DIRECTORIES.iter().any(|directory| Path::new(directory).join(name).is_file())
        }
        Tool::Library("libzstd.a") if !libelf_wants_zstd() => true,
        Tool::Library(name) => find_library(name).is_some(),
    }
}

/// Where compilers look for headers without being told.
const HEADER_DIRECTORIES: [&str; 3] = ["/usr/include", "/usr/include/x86_64-linux-gnu", "/usr/local/include"];

/// Where linkers look for libraries without being told.
const LIBRARY_DIRECTORIES: [&str; 5] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib64", "/usr/local/lib"];

/// The path of a library that can be linked static.
pub fn find_library(name: &str) -> Option<PathBuf> {
    LIBRARY_DIRECTORIES.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// Whether the libelf of this machine was built with zstd: linked static, it then wants that, too. `false` where there
/// is no libelf at all: what brings it brings what it wants.
pub fn libelf_wants_zstd() -> bool {
    find_library("libelf.a")
        .and_then(|path| fs::read(path).ok())
        .is_some_and(|bytes| mentions(&bytes, b"ZSTD_"))
}

/// Whether some bytes occur within others.
fn mentions(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// The path of a program. Besides `PATH` also the directories of root's programs, which a user's `PATH` may lack.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|path| executable(path))
}

/// Where distributions put the plugins, after what the user says.
fn cni_directories() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("CNI_PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"].map(PathBuf::from))
        .collect::<Vec<_>>()
        .into_iter()
}

fn executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_is_read_from_id_then_id_like() {
        assert_eq!(family("NAME=x\nID=debian\n"), Family::Debian);
        assert_eq!(family("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Family::Debian);
        assert_eq!(family("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\""), Family::Fedora);
        assert_eq!(family("ID=manjaro\nID_LIKE=arch"), Family::Arch);
        assert_eq!(family("ID=nixos"), Family::Other);
        assert_eq!(family(""), Family::Other);
    }

    #[test]
    fn a_field_is_not_mistaken_for_one_with_a_longer_name() {
        assert_eq!(os_release_field("VERSION_ID=\"12\"\nID=debian", "ID"), Some("debian"));
        assert_eq!(os_release_field("ID_LIKE=x", "ID"), None);
    }

    #[test]
    fn mounts_are_told_by_type_and_place_and_torn_lines_are_passed_over() {
        let text = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\ntorn\n\nnone /sys/fs/bpf bpf rw 0 0\n";
        assert_eq!(parse_mounts(text), [("cgroup2", "/sys/fs/cgroup"), ("bpf", "/sys/fs/bpf")]);
    }

    #[test]
    fn a_symbol_is_found_among_the_bytes_of_a_library() {
        assert!(mentions(b"!<arch>\nelf_compress\0ZSTD_compress\0", b"ZSTD_"));
        assert!(!mentions(b"!<arch>\nelf_compress\0ZSTD", b"ZSTD_"));
        assert!(!mentions(b"", b"ZSTD_"));
    }

    #[test]
    fn a_library_that_nobody_has_is_not_found() {
        assert!(find_library("libno-such-library.a").is_none());
        assert!(!is_there(Tool::Header("no-such-header.h")));
    }

    #[test]
    fn a_program_is_found_and_a_directory_or_plain_file_of_its_name_is_not() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
        assert!(!executable(Path::new("/etc")));
        assert!(!executable(Path::new("/proc/self/mounts")));
    }
}
