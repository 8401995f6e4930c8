// SPDX-License-Identifier: Apache-2.0
//! Stock distribution kernels: found in a directory, a package file or the cache, or downloaded by apt, and unpacked
//! without being installed.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::apt;
use super::bzimage::{self, BzImageError};

/// The kernels on which the lab runs its subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KernelSeries {
    /// Debian 12's own.
    #[serde(rename = "6.1")]
    V6_1,
    /// The next long-term kernel, as Debian backports it to 12; the first with netkit.
    #[serde(rename = "6.12")]
    V6_12,
}

impl KernelSeries {
    /// All, oldest first.
    pub const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// As in `uname -r`: `6.1`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    /// Debian packages that depend on the newest image of this series, or, in other suites, of another one.
    pub(super) fn meta_packages(self) -> &'static [&'static str] {
        match self {
            Self::V6_1 => &["linux-image-cloud-amd64"],
            Self::V6_12 => &["linux-image-6.12-cloud-amd64", "linux-image-cloud-amd64"],
        }
    }

    /// Whether a package is an image of this series: `linux-image-6.1.0-56-cloud-amd64` is of 6.1, not of 6.12.
    pub(super) fn has_image(self, package: &str) -> bool {
        package
            .strip_prefix("linux-image-")
            .and_then(|rest| rest.strip_prefix(self.name()))
            .is_some_and(|rest| rest.starts_with(['.', '+', '-']))
    }
}

impl fmt::Display for KernelSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where a kernel is to come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelSource {
    /// The newest that apt knows of this series, from the cache or by download.
    Apt(KernelSeries),
    /// This package file.
    Deb(PathBuf),
    /// A directory with `boot/vmlinuz-*` and `lib/modules/*`, as `dpkg-deb -x` makes it.
    Directory(PathBuf),
}

/// A kernel that is ready to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Series (`6.12`), the beginning of the release.
    pub series: String,
    /// Package and version, or the directory's name.
    pub package: String,
    /// The ELF kernel.
    pub vmlinux: PathBuf,
    /// `…/lib/modules/<release>`.
    pub modules_dir: PathBuf,
    /// Something that the user should know, for example that the cache was used because the network was not there.
    pub note: Option<String>,
}

/// Why there is no kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// apt does not know a kernel of this series.
    #[error(
        "apt knows no kernel of series {0}: enable the suite bookworm-security of Debian 12 (package {package}) and run \
         `apt-get update`, or name a kernel package file or directory", package = .0.meta_packages()[0]
    )]
    Unknown(KernelSeries),
    /// A program that is needed is not there.
    #[error(
        "{program} cannot be run ({source}): it is needed to fetch and unpack a kernel package; on this system name \
             a directory with an unpacked kernel"
    )]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A program has failed.
    #[error("{command} failed: {message}")]
    Failed {
        /// The command line.
        command: String,
        /// The end of its error output.
        message: String,
    },
    /// A file or directory of the cache or of the kernel.
    #[error("{action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The directory or package holds no single kernel.
    #[error("{path} holds {found} of {pattern}, not one: it is no unpacked kernel package")]
    NoKernel {
        /// Where.
        path: PathBuf,
        /// How many there are.
        found: usize,
        /// What was looked for.
        pattern: &'static str,
    },
    /// The kernel image cannot be read.
    #[error("{path}: {source}")]
    Image {
        /// Which.
        path: PathBuf,
        /// Why.
        source: BzImageError,
    },
}

/// Finds or fetches a kernel. Unpacked ones are kept in `cache_dir/kernels/<package>_<version>/`; one that comes from a
/// named file or directory is unpacked into `scratch`, which must outlive its use.
///
/// # Errors
/// [`KernelError`].
pub fn prepare(source: &KernelSource, cache_dir: &Path, scratch: &Path) -> Result<Kernel, KernelError> {
    match source {
        KernelSource::Apt(series) => apt::fetch(*series, &cache_dir.join("kernels")),
        KernelSource::Deb(deb) => {
            let fields = run(
                "dpkg-deb",
                [OsStr::new("-f"), deb.as_os_str(), "Package".as_ref(), "Version".as_ref()],
                None,
            )?;
            let field = |name: &str| {
                let line = fields.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
                line.unwrap_or("?").trim().to_owned()
            };
            let root = scratch.join("kernel");
            unpack_deb(deb, &root)?;
            open(&root, format!("{} {}", field("Package"), field("Version")))
        }
        KernelSource::Directory(dir) => {
            let vmlinux = scratch.join("vmlinux");
            extract_vmlinux(dir, &vmlinux)?;
            let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned();
            Ok(Kernel { vmlinux, ..open(dir, name)? })
        }
    }
}

pub(super) fn unpack_deb(deb: &Path, root: &Path) -> Result<(), KernelError> {
    run("dpkg-deb", [OsStr::new("-x"), deb.as_os_str(), root.as_os_str()], None)?;
    extract_vmlinux(root, &root.join("vmlinux"))
}

fn extract_vmlinux(root: &Path, to: &Path) -> Result<(), KernelError> {
    let path = only_entry(&root.join("boot"), "vmlinuz-", "", "boot/vmlinuz-*")?;
    let image = fs::read(&path).map_err(|source| file_error("read", &path, source))?;
    let elf = bzimage::vmlinux(&image).map_err(|source| KernelError::Image { path, source })?;
    fs::write(to, elf).map_err(|source| file_error("write", to, source))
}

pub(super) fn open(root: &Path, package: String) -> Result<Kernel, KernelError> {
    let modules = ["lib/modules", "usr/lib/modules"].map(|m| root.join(m));
    let modules = modules.iter().find(|m| m.is_dir()).unwrap_or(&modules[0]);
    let modules_dir = only_entry(modules, "", "", "lib/modules/*")?;
    let release = modules_dir.file_name().unwrap_or_default().to_string_lossy();
    let series = release.splitn(3, ['.', '+', '-']).take(2).collect::<Vec<_>>().join(".");
    Ok(Kernel { series, package, vmlinux: root.join("vmlinux"), modules_dir, note: None })
}

pub(super) fn only_entry(
    dir: &Path,
    prefix: &str,
    suffix: &str,
    pattern: &'static str,
) -> Result<PathBuf, KernelError> {
    let read = |source| file_error("read", dir, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|n| n.starts_with(prefix) && n.ends_with(suffix)) {
            found.push(entry.path());
        }
    }
    match <[PathBuf; 1]>::try_from(found) {
        Ok([path]) => Ok(path),
        Err(found) => Err(KernelError::NoKernel { path: dir.to_owned(), found: found.len(), pattern }),
    }
}

pub(super) fn file_error(action: &'static str, path: &Path, source: io::Error) -> KernelError {
    KernelError::File { action, path: path.to_owned(), source }
}

/// Runs a program to its end and returns what it wrote.
pub(super) fn run<const N: usize>(
    program: &'static str,
    args: [&OsStr; N],
    dir: Option<&Path>,
) -> Result<String, KernelError> {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C").stdin(Stdio::null());
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    let output = command.output().map_err(|source| KernelError::Program { program, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let args: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = stderr.lines().filter(|l| !l.trim().is_empty()).collect();
    let message = lines[lines.len().saturating_sub(3)..].join("; ");
    Err(KernelError::Failed { command: format!("{program} {}", args.join(" ")), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_kernel_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("boot")).unwrap();
        let source = KernelSource::Directory(dir.path().to_owned());
        let err = prepare(&source, dir.path(), dir.path()).unwrap_err().to_string();
        assert!(err.contains("holds 0 of boot/vmlinuz-*"), "{err}");
        let err = prepare(&KernelSource::Deb("/dev/null".into()), dir.path(), dir.path()).unwrap_err();
        assert!(err.to_string().starts_with("dpkg-deb -f /dev/null"), "{err}");
    }
}
