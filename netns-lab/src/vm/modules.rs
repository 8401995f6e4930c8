// SPDX-License-Identifier: Apache-2.0
//! The kernel modules that the subjects need, with what those depend on, in the order in which they are loaded.
//! A kernel package carries no `modules.dep` (depmod makes it on installation): dependencies are read from `.modinfo`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::compression::{UnpackError, unpack};
use super::elf::{self, ElfError};

/// What the subjects use, by name. Dependencies are found, with one exception: `libcrc32c` asks the crypto layer for
/// `crc32c` by an alias, so an implementation of it comes first.
const WANTED: &[&str] = &[
    "crc32c_generic",
    // The way out for results, where it is not built in.
    "virtio_pci",
    "virtio_console",
    // Links.
    "af_packet",
    "veth",
    "bridge",
    "br_netfilter",
    "vxlan",
    "ipvlan",
    "netkit",
    "dummy",
    "tun",
    // Connection tracking and the tables of iptables, both variants.
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_nat",
    "ip_tables",
    "iptable_filter",
    "iptable_nat",
    "iptable_mangle",
    "iptable_raw",
    "nf_tables",
    "nft_compat",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    // Matches and targets.
    "ipt_REJECT",
    "xt_addrtype",
    "xt_comment",
    "xt_connmark",
    "xt_conntrack",
    "xt_CT",
    "xt_limit",
    "xt_mark",
    "xt_MASQUERADE",
    "xt_multiport",
    "xt_nat",
    "xt_NFLOG",
    "xt_physdev",
    "xt_recent",
    "xt_REDIRECT",
    "ipt_rpfilter",
    "xt_set",
    "xt_statistic",
    "xt_tcpudp",
    // Sets.
    "ip_set",
    "ip_set_hash_ip",
    "ip_set_hash_ipport",
    "ip_set_hash_net",
    "ip_set_hash_netport",
];

/// What our agent needs beside those: how programs are attached where there is no TCX.
pub const WANTED_BY_AGENT: &[&str] = &["sch_ingress", "cls_bpf"];

/// What the kernel's load balancer and the sets around it need.
pub const WANTED_BY_IPVS: &[&str] = &["ip_vs", "ip_vs_rr", "ip_set_hash_ipportip"];

/// Why the modules of a kernel cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum ModulesError {
    /// A file or directory of the kernel package cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A module cannot be unpacked.
    #[error("unpack {path}: {source}")]
    Unpack {
        /// Which.
        path: PathBuf,
        /// Why.
        source: UnpackError,
    },
    /// A module is no kernel module.
    #[error("{path}: {source}")]
    Elf {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ElfError,
    },
    /// A module depends on one that the package does not have.
    #[error("module {module} depends on {dependency}, which the kernel package does not have")]
    Dependency {
        /// The one.
        module: String,
        /// The other.
        dependency: String,
    },
}

/// One module, unpacked.
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name as the kernel knows it, with underscores.
    pub name: String,
    /// The ELF file.
    pub data: Vec<u8>,
}

/// What of [`WANTED`] a kernel has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ModuleSet {
    /// Modules in the order in which they must be loaded.
    pub load: Vec<Module>,
    /// Wanted modules that this kernel has neither built in nor as a file.
    pub absent: Vec<String>,
}

/// Puts together what the subjects need from the modules directory of one kernel (`…/lib/modules/<release>`), and `more` of
/// what only some need.
///
/// # Errors
/// [`ModulesError`]. A wanted module that this kernel does not have is no error but listed in [`ModuleSet::absent`].
pub fn collect(modules_dir: &Path, more: &[&str]) -> Result<ModuleSet, ModulesError> {
    collect_wanted(modules_dir, &[WANTED, more].concat())
}

fn collect_wanted(modules_dir: &Path, wanted: &[&str]) -> Result<ModuleSet, ModulesError> {
    let mut files = BTreeMap::new();
    find_files(&modules_dir.join("kernel"), &mut files)?;
    let mut collector = Collector {
        files,
        builtin: read_builtin(modules_dir)?,
        visited: BTreeSet::new(),
        set: ModuleSet::default(),
    };
    for &name in wanted {
        if !collector.visit(name)? {
            collector.set.absent.push(name.to_owned());
        }
    }
    Ok(collector.set)
}

struct Collector {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
    visited: BTreeSet<String>,
    set: ModuleSet,
}

impl Collector {
    /// Adds a module after what it depends on. `false`: this kernel does not have it.
    fn visit(&mut self, name: &str) -> Result<bool, ModulesError> {
        if self.builtin.contains(name) || self.visited.contains(name) {
            return Ok(true);
        }
        let Some(path) = self.files.get(name).cloned() else { return Ok(false) };
        // Entered before its dependencies: a cycle of soft dependencies ends here.
        self.visited.insert(name.to_owned());
        let packed = fs::read(&path).map_err(|source| ModulesError::Read { path: path.clone(), source })?;
        let data = unpack(&packed).map_err(|source| ModulesError::Unpack { path: path.clone(), source })?;
        let info = elf::modinfo(&data).map_err(|source| ModulesError::Elf { path, source })?;
        let (hard, before, after) = dependencies(&info);
        for dependency in hard {
            if !self.visit(&dependency)? {
                return Err(ModulesError::Dependency { module: name.to_owned(), dependency });
            }
        }
        // Soft ones may name an alias or nothing at all; without them the module still loads.
        for dependency in before {
            self.visit(&dependency)?;
        }
        self.set.load.push(Module { name: name.to_owned(), data });
        for dependency in after {
            self.visit(&dependency)?;
        }
        Ok(true)
    }
}

/// Hard dependencies, soft ones to load before, soft ones to load after.
fn dependencies(info: &[(String, String)]) -> (Vec<String>, Vec<String>, Vec<String>) {
    let (mut hard, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for (key, value) in info {
        match key.as_str() {
            "depends" => hard.extend(value.split(',').filter(|d| !d.is_empty()).map(canonical)),
            "softdep" => {
                let mut list = None;
                for word in value.split_whitespace() {
                    match word {
                        "pre:" => list = Some(&mut before),
                        "post:" => list = Some(&mut after),
                        name => {
                            if let Some(list) = list.as_mut() {
                                list.push(canonical(name));
                            }
                        }
                    }
                }
            }
            _ => {}
        }
    }
    (hard, before, after)
}

/// File names and dependency lists mix `-` and `_`; the kernel knows only `_`.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn find_files(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), ModulesError> {
    let err = |source| ModulesError::Read { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(err)? {
        let entry = entry.map_err(err)?;
        if entry.file_type().map_err(err)?.is_dir() {
            find_files(&entry.path(), files)?;
        } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            files.insert(canonical(name), entry.path());
        }
    }
    Ok(())
}

fn read_builtin(modules_dir: &Path) -> Result<BTreeSet<String>, ModulesError> {
    let path = modules_dir.join("modules.builtin");
    let list = fs::read_to_string(&path).map_err(|source| ModulesError::Read { path, source })?;
    Ok(list
        .lines()
        .filter_map(|line| Some(canonical(Path::new(line).file_name()?.to_str()?.split_once(".ko")?.0)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with nothing but a `.modinfo`.
    fn module(info: &str) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let info = info.replace(' ', "\0").replace('~', " ");
        let (info_at, names_at) = (64u64, 64 + info.len() as u64);
        let sections_at = (names_at + names.len() as u64).next_multiple_of(8);
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\x3e\0\x01\0\0\0".to_vec();
        file.extend_from_slice(&[0; 16]);
        file.extend_from_slice(&sections_at.to_le_bytes());
        file.extend_from_slice(b"\0\0\0\0\x40\0\x38\0\0\0\x40\0\x03\0\x02\0");
        file.extend_from_slice(info.as_bytes());
        file.extend_from_slice(names);
        file.resize(sections_at as usize + 64, 0);
        for (name, kind, at, len) in [(1u32, 1u32, info_at, info.len()), (10, 3, names_at, names.len())] {
            let mut header = Vec::new();
            header.extend_from_slice(&name.to_le_bytes());
            header.extend_from_slice(&kind.to_le_bytes());
            header.extend_from_slice(&[0; 16]);
            header.extend_from_slice(&at.to_le_bytes());
            header.extend_from_slice(&(len as u64).to_le_bytes());
            header.resize(64, 0);
            file.extend_from_slice(&header);
        }
        file
    }

    fn kernel(modules: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("kernel/net/deep")).unwrap();
        fs::write(
            dir.path().join("modules.builtin"),
            "kernel/drivers/net/netkit.ko\nkernel/a/virtio-pci.ko\n",
        )
        .unwrap();
        for (name, info) in modules {
            fs::write(dir.path().join(format!("kernel/net/deep/{name}.ko")), module(info)).unwrap();
        }
        dir
    }

    fn names(set: &ModuleSet) -> Vec<&str> {
        set.load.iter().map(|m| m.name.as_str()).collect()
    }

    #[test]
    fn modules_come_after_what_they_depend_on_and_each_only_once() {
        let dir = kernel(&[
            ("bridge", "depends=stp,llc license=GPL"),
            ("stp", "depends=llc"),
            ("llc", "depends="),
            ("br_netfilter", "depends=bridge"),
        ]);
        let set = collect_wanted(dir.path(), &["br_netfilter", "bridge"]).unwrap();
        assert_eq!(names(&set), ["llc", "stp", "bridge", "br_netfilter"]);
        assert!(set.absent.is_empty());
    }

    #[test]
    fn dashes_and_underscores_are_the_same_and_builtin_modules_are_neither_loaded_nor_absent() {
        let dir = kernel(&[("nf-nat", "depends=nf-conntrack"), ("nf_conntrack", "depends=virtio_pci")]);
        let set = collect_wanted(dir.path(), &["netkit", "nf_nat", "virtio_pci"]).unwrap();
        assert_eq!(names(&set), ["nf_conntrack", "nf_nat"]);
        assert!(set.absent.is_empty());
    }

    #[test]
    fn absent_wanted_modules_are_listed_and_absent_hard_dependencies_are_an_error() {
        let dir = kernel(&[("veth", "depends=ptr_ring")]);
        assert_eq!(collect_wanted(dir.path(), &["netkit", "ipvlan"]).unwrap().absent, ["ipvlan"]);
        let err = collect_wanted(dir.path(), &["veth"]).unwrap_err();
        assert_eq!(
            err.to_string(),
            "module veth depends on ptr_ring, which the kernel package does not have"
        );
    }

    #[test]
    fn soft_dependencies_are_loaded_on_their_side_unless_they_are_not_there_even_in_a_cycle() {
        let dir = kernel(&[
            ("a", "softdep=pre:~b~some-alias~post:~c"),
            ("b", "softdep=pre:~a"),
            ("c", "depends=a"),
        ]);
        assert_eq!(names(&collect_wanted(dir.path(), &["a"]).unwrap()), ["b", "a", "c"]);
    }

    #[test]
    fn a_damaged_module_is_an_error_that_names_the_file() {
        let dir = kernel(&[]);
        fs::write(dir.path().join("kernel/net/veth.ko"), "\x7fELF").unwrap();
        let err = collect_wanted(dir.path(), &["veth"]).unwrap_err().to_string();
        assert!(err.contains("veth.ko"), "{err}");
    }
}
