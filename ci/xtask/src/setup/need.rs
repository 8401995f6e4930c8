// SPDX-License-Identifier: Apache-2.0
//! What a command can need of a machine, how it is recognised, and which package brings it.

use std::str::FromStr;

use super::facts::Family;

/// Something that a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Root, and the file systems that are mounted with it.
    Root,
    /// The reference CNI plugins.
    CniPlugins,
    /// `iptables-restore`.
    Iptables,
    /// `ipset`.
    Ipset,
    /// QEMU for x86-64 guests.
    Qemu,
    /// What downloads and unpacks a distribution's kernel packages. The packages themselves are the lab's business.
    Kernel,
    /// netperf, to compare our generator with. Never required.
    Netperf,
    /// What the agent is built with: its eBPF programs are C, libbpf is compiled in, and the lab wants it linked static.
    AgentBuild,
    /// A container runtime, which calls our CNI plugin in a test.
    Containerd,
}

/// A program, or a file of a set that comes in one package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// A program in one of the directories of programs.
    Program(&'static str),
    /// A CNI plugin in one of the directories of plugins.
    CniPlugin(&'static str),
    /// A C header in one of the compiler's own directories.
    Header(&'static str),
    /// A library to link static, in one of the linker's own directories.
    Library(&'static str),
}

/// The package that brings a tool, per distribution.
struct Package {
    tool: Tool,
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
}

/// Every tool. That these programs do what they are for is shown where they are used.
const PACKAGES: &[Package] = &[
    Package {
        tool: Tool::CniPlugin("bridge"),
        debian: "containernetworking-plugins",
        fedora: "containernetworking-plugins",
        arch: "cni-plugins",
    },
    Package {
        tool: Tool::Program("iptables-restore"),
        debian: "iptables",
        fedora: "iptables-nft",
        arch: "iptables",
    },
    Package { tool: Tool::Program("ipset"), debian: "ipset", fedora: "ipset", arch: "ipset" },
    Package {
        tool: Tool::Program("qemu-system-x86_64"),
        debian: "qemu-system-x86",
        fedora: "qemu-system-x86-core",
        arch: "qemu-system-x86",
    },
    Package { tool: Tool::Program("xz"), debian: "xz-utils", fedora: "xz", arch: "xz" },
    Package { tool: Tool::Program("dpkg-deb"), debian: "dpkg", fedora: "dpkg", arch: "dpkg" },
    Package {
        tool: Tool::Program("containerd"),
        debian: "containerd",
        fedora: "containerd",
        arch: "containerd",
    },
    Package { tool: Tool::Program("runc"), debian: "runc", fedora: "runc", arch: "runc" },
    Package { tool: Tool::Program("clang-19"), debian: "clang-19", fedora: "clang19", arch: "clang19" },
    Package { tool: Tool::Program("cc"), debian: "gcc", fedora: "gcc", arch: "gcc" },
    Package { tool: Tool::Program("make"), debian: "make", fedora: "make", arch: "make" },
    Package {
        tool: Tool::Program("pkg-config"),
        debian: "pkg-config",
        fedora: "pkgconf-pkg-config",
        arch: "pkgconf",
    },
    Package {
        tool: Tool::Header("asm/types.h"),
        debian: "linux-libc-dev",
        fedora: "kernel-headers",
        arch: "linux-api-headers",
    },
    Package {
        tool: Tool::Header("libelf.h"),
        debian: "libelf-dev",
        fedora: "elfutils-libelf-devel",
        arch: "libelf",
    },
    Package {
        tool: Tool::Header("zlib.h"),
        debian: "zlib1g-dev",
        fedora: "zlib-ng-compat-devel",
        arch: "zlib",
    },
    Package {
        tool: Tool::Library("libelf.a"),
        debian: "libelf-dev",
        fedora: "elfutils-libelf-devel-static",
        arch: "libelf",
    },
    Package {
        tool: Tool::Library("libz.a"),
        debian: "zlib1g-dev",
        fedora: "zlib-ng-compat-static",
        arch: "zlib",
    },
    // From elfutils 0.189 on, libelf.a calls it.
    Package {
        tool: Tool::Library("libzstd.a"),
        debian: "libzstd-dev",
        fedora: "libzstd-static",
        arch: "zstd",
    },
];

impl Need {
    /// What must be there.
    pub fn tools(self) -> &'static [Tool] {
        match self {
            Self::Root | Self::Netperf => &[],
            Self::CniPlugins => {
                &[Tool::CniPlugin("bridge"), Tool::CniPlugin("ptp"), Tool::CniPlugin("host-local")]
            }
            Self::Iptables => &[Tool::Program("iptables-restore")],
            Self::Ipset => &[Tool::Program("ipset")],
            Self::Qemu => &[Tool::Program("qemu-system-x86_64")],
            Self::Kernel => &[Tool::Program("xz"), Tool::Program("dpkg-deb")],
            Self::Containerd => &[Tool::Program("containerd"), Tool::Program("runc")],
            Self::AgentBuild => &[
                Tool::Program("clang-19"),
                Tool::Program("cc"),
                Tool::Program("make"),
                Tool::Program("pkg-config"),
                Tool::Header("asm/types.h"),
                Tool::Header("libelf.h"),
                Tool::Header("zlib.h"),
                Tool::Library("libelf.a"),
                Tool::Library("libz.a"),
                Tool::Library("libzstd.a"),
            ],
        }
    }

    /// Whether it is of use only to root: these all change network namespaces.
    pub fn needs_root(self) -> bool {
        matches!(self, Self::Root | Self::CniPlugins | Self::Iptables | Self::Ipset | Self::Containerd)
    }
}

/// The lines of `bench-lab --print-needs`.
impl FromStr for Need {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        match line.trim().strip_prefix("optional:").unwrap_or(line.trim()) {
            "root" => Ok(Self::Root),
            "cni-plugins" => Ok(Self::CniPlugins),
            "iptables" => Ok(Self::Iptables),
            "ipset" => Ok(Self::Ipset),
            "qemu" => Ok(Self::Qemu),
            "netperf" => Ok(Self::Netperf),
            "agent-build" => Ok(Self::AgentBuild),
            kernel if kernel.starts_with("kernel-") => Ok(Self::Kernel),
            _ => anyhow::bail!("this need is not known to ci/xtask/src/setup/need.rs"),
        }
    }
}

impl Tool {
    /// The name under which a person knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Program(name) | Self::CniPlugin(name) | Self::Header(name) | Self::Library(name) => name,
        }
    }

    /// The package that brings it, if it is known for this family.
    pub fn package(self, family: Family) -> Option<&'static str> {
        // All plugins come together.
        let key = if let Self::CniPlugin(_) = self { Self::CniPlugin("bridge") } else { self };
        let package = PACKAGES.iter().find(|p| p.tool == key)?;
        match family {
            Family::Debian => Some(package.debian),
            Family::Fedora => Some(package.fedora),
            Family::Arch => Some(package.arch),
            Family::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_of_every_need_has_a_package_in_every_family_we_know() {
        for need in [
            Need::CniPlugins,
            Need::Iptables,
            Need::Ipset,
            Need::Qemu,
            Need::Kernel,
            Need::Root,
            Need::Netperf,
            Need::AgentBuild,
            Need::Containerd,
        ] {
            for tool in need.tools() {
                for family in [Family::Debian, Family::Fedora, Family::Arch] {
                    assert!(tool.package(family).is_some(), "{need:?} {tool:?} {family:?}");
                }
            }
        }
    }

    #[test]
    fn the_lines_of_print_needs_are_read_and_others_refused() {
        assert_eq!("kernel-6.12".parse::<Need>().ok(), Some(Need::Kernel));
        assert_eq!("optional:netperf".parse::<Need>().ok(), Some(Need::Netperf));
        assert_eq!("agent-build".parse::<Need>().ok(), Some(Need::AgentBuild));
        assert!("".parse::<Need>().is_err());
        assert!("Qemu".parse::<Need>().is_err());
    }
}
