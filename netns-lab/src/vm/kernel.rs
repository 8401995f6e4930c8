// SPDX-License-Identifier: Apache-2.0
//! Stock distribution kernels: found in a directory, a package file or the cache, or downloaded by apt, and unpacked
//! without being installed.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

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
    fn meta_packages(self) -> &'static [&'static str] {
        match self {
            Self::V6_1 => &["linux-image-cloud-amd64"],
            Self::V6_12 => &["linux-image-6.12-cloud-amd64", "linux-image-cloud-amd64"],
        }
    }

    /// Whether a package is an image of this series: `linux-image-6.1.0-56-cloud-amd64` is of 6.1, not of 6.12.
    fn has_image(self, package: &str) -> bool {
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
        KernelSource::Apt(series) => from_apt(*series, &cache_dir.join("kernels")),
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

/// Whether [`prepare`] would have to download a kernel.
///
/// # Errors
/// As [`prepare`], when apt cannot be asked and nothing is cached.
pub fn needs_download(series: KernelSeries, cache_dir: &Path) -> Result<bool, KernelError> {
    let kernels = cache_dir.join("kernels");
    match resolve(series) {
        Ok(image) => Ok(!kernels.join(image.directory()).is_dir()),
        Err(e) => newest_cached(series, &kernels)?.map(|_| false).ok_or(e),
    }
}

/// An image package in one version.
#[derive(Debug, PartialEq, Eq)]
struct Image {
    package: String,
    version: String,
}

impl Image {
    fn directory(&self) -> String {
        format!("{}_{}", self.package, self.version)
    }

    fn of_directory(name: &str) -> Option<Self> {
        let (package, version) = name.split_once('_')?;
        Some(Self { package: package.to_owned(), version: version.to_owned() })
    }
}

fn from_apt(series: KernelSeries, kernels: &Path) -> Result<Kernel, KernelError> {
    fs::create_dir_all(kernels).map_err(|source| file_error("create", kernels, source))?;
    let fetched = resolve(series).and_then(|image| {
        let dir = kernels.join(image.directory());
        if !dir.is_dir() {
            download(&image, kernels, &dir)?;
        }
        open(&dir, format!("{} {}", image.package, image.version))
    });
    let Err(error) = fetched else { return fetched };
    let Some((image, dir)) = newest_cached(series, kernels)? else { return Err(error) };
    let mut kernel = open(&dir, format!("{} {}", image.package, image.version))?;
    kernel.note = Some(format!("using the cached kernel {}: {error}", kernel.package));
    Ok(kernel)
}

/// The image that the meta package of a series stands for today.
fn resolve(series: KernelSeries) -> Result<Image, KernelError> {
    for meta in series.meta_packages() {
        let shown = match run("apt-cache", ["show", "--no-all-versions", meta].map(OsStr::new), None) {
            // apt-cache fails for a package that it does not know.
            Err(KernelError::Failed { .. }) => continue,
            shown => shown?,
        };
        if let Some(image) = parse_depends(&shown).into_iter().find(|i| series.has_image(&i.package)) {
            return Ok(image);
        }
    }
    Err(KernelError::Unknown(series))
}

/// `Depends: linux-image-X (= V), …` of `apt-cache show`: those with an exact version.
fn parse_depends(shown: &str) -> Vec<Image> {
    shown
        .lines()
        .filter_map(|line| line.strip_prefix("Depends:"))
        .flat_map(|list| list.split(','))
        .filter_map(|dependency| {
            let (package, version) = dependency.trim().split_once(" (= ")?;
            Some(Image { package: package.to_owned(), version: version.strip_suffix(')')?.to_owned() })
        })
        .collect()
}

/// Downloads and unpacks beside the final place and renames at the end: what has its final name is whole.
fn download(image: &Image, kernels: &Path, dir: &Path) -> Result<(), KernelError> {
    let work = tempfile::Builder::new()
        .prefix(".download-")
        .tempdir_in(kernels)
        .map_err(|source| file_error("create a directory in", kernels, source))?;
    let wanted = format!("{}={}", image.package, image.version);
    // apt fetches as user _apt where it can and warns where it cannot; both are fine.
    run("apt-get", ["-q", "download", &wanted].map(OsStr::new), Some(work.path()))?;
    let deb = only_entry(work.path(), "", ".deb", "*.deb")?;
    let root = work.path().join("root");
    unpack_deb(&deb, &root)?;
    match fs::rename(&root, dir) {
        // Somebody else was faster with the same.
        Err(_) if dir.is_dir() => Ok(()),
        renamed => renamed.map_err(|source| file_error("create", dir, source)),
    }
}

fn unpack_deb(deb: &Path, root: &Path) -> Result<(), KernelError> {
    run("dpkg-deb", [OsStr::new("-x"), deb.as_os_str(), root.as_os_str()], None)?;
    extract_vmlinux(root, &root.join("vmlinux"))
}

fn extract_vmlinux(root: &Path, to: &Path) -> Result<(), KernelError> {
    let path = only_entry(&root.join("boot"), "vmlinuz-", "", "boot/vmlinuz-*")?;
    let image = fs::read(&path).map_err(|source| file_error("read", &path, source))?;
    let elf = bzimage::vmlinux(&image).map_err(|source| KernelError::Image { path, source })?;
    fs::write(to, elf).map_err(|source| file_error("write", to, source))
}

fn open(root: &Path, package: String) -> Result<Kernel, KernelError> {
    let modules = ["lib/modules", "usr/lib/modules"].map(|m| root.join(m));
    let modules = modules.iter().find(|m| m.is_dir()).unwrap_or(&modules[0]);
    let modules_dir = only_entry(modules, "", "", "lib/modules/*")?;
    let release = modules_dir.file_name().unwrap_or_default().to_string_lossy();
    let series = release.splitn(3, ['.', '+', '-']).take(2).collect::<Vec<_>>().join(".");
    Ok(Kernel { series, package, vmlinux: root.join("vmlinux"), modules_dir, note: None })
}

/// The cached image of a series that was unpacked last.
fn newest_cached(series: KernelSeries, kernels: &Path) -> Result<Option<(Image, PathBuf)>, KernelError> {
    let entries = match fs::read_dir(kernels) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(|source| file_error("read", kernels, source))?,
    };
    let mut newest: Option<(SystemTime, Image, PathBuf)> = None;
    for entry in entries {
        let entry = entry.map_err(|source| file_error("read", kernels, source))?;
        let image = entry.file_name().to_str().and_then(Image::of_directory);
        let Some(image) = image.filter(|i| series.has_image(&i.package)) else { continue };
        let modified = entry.metadata().and_then(|m| m.modified());
        let modified = modified.map_err(|source| file_error("read", &entry.path(), source))?;
        if newest.as_ref().is_none_or(|(time, ..)| *time < modified) {
            newest = Some((modified, image, entry.path()));
        }
    }
    Ok(newest.map(|(_, image, path)| (image, path)))
}

fn only_entry(dir: &Path, prefix: &str, suffix: &str, pattern: &'static str) -> Result<PathBuf, KernelError> {
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

fn file_error(action: &'static str, path: &Path, source: io::Error) -> KernelError {
    KernelError::File { action, path: path.to_owned(), source }
}

/// Runs a program to its end and returns what it wrote.
fn run<const N: usize>(
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
    fn image_is_the_exactly_versioned_dependency_of_the_series() {
        let shown = "Package: linux-image-6.12-cloud-amd64\nVersion: 6.12.117-1~deb12u1\n\
                     Depends: linux-base (>= 4.3), linux-image-6.12.117+deb12-cloud-amd64 (= 6.12.117-1~deb12u1)\n";
        let images = parse_depends(shown);
        assert_eq!(images.len(), 1);
        assert_eq!(images[0].directory(), "linux-image-6.12.117+deb12-cloud-amd64_6.12.117-1~deb12u1");
        assert!(KernelSeries::V6_12.has_image(&images[0].package));
        assert!(!KernelSeries::V6_1.has_image(&images[0].package));
        assert!(KernelSeries::V6_1.has_image("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(Image::of_directory(&images[0].directory()).as_ref(), Some(&images[0]));
    }

    #[test]
    fn cache_ignores_downloads_that_were_cut_off_and_other_series() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            [".download-x1", "linux-image-6.1.0-56-cloud-amd64_6.1.192-2", "linux-image-6.12.117-cloud_1"]
        {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let (image, path) = newest_cached(KernelSeries::V6_1, dir.path()).unwrap().unwrap();
        assert_eq!(image.version, "6.1.192-2");
        assert!(path.ends_with("linux-image-6.1.0-56-cloud-amd64_6.1.192-2"));
        assert!(newest_cached(KernelSeries::V6_1, &dir.path().join("absent")).unwrap().is_none());
    }

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
