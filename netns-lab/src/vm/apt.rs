// SPDX-License-Identifier: Apache-2.0
//! Kernels by apt: which image package a series stands for today, its download, and the cache of unpacked ones.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::kernel::{Kernel, KernelError, KernelSeries, file_error, only_entry, open, run, unpack_deb};
use crate::scratch;

/// Whether [`super::kernel::prepare`] would have to download a kernel.
///
/// # Errors
/// As there, when apt cannot be asked and nothing is cached.
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

/// The newest image of a series, from the cache or by download.
///
/// # Errors
/// [`KernelError`], when neither gives one.
pub fn fetch(series: KernelSeries, kernels: &Path) -> Result<Kernel, KernelError> {
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
    let work =
        scratch::directory(kernels).map_err(|source| file_error("create a directory in", kernels, source))?;
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
        for name in [".tmp-1-x", "linux-image-6.1.0-56-cloud-amd64_6.1.192-2", "linux-image-6.12.117-cloud_1"]
        {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let (image, path) = newest_cached(KernelSeries::V6_1, dir.path()).unwrap().unwrap();
        assert_eq!(image.version, "6.1.192-2");
        assert!(path.ends_with("linux-image-6.1.0-56-cloud-amd64_6.1.192-2"));
        assert!(newest_cached(KernelSeries::V6_1, &dir.path().join("absent")).unwrap().is_none());
    }
}
