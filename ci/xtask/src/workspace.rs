// SPDX-License-Identifier: Apache-2.0
//! Where the repository is, and what cargo knows of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cargo;

/// The repository.
#[derive(Debug)]
pub struct Workspace {
    /// Its top directory.
    pub root: PathBuf,
    /// Where cargo builds: `target`, or what `CARGO_TARGET_DIR` or a configuration file says.
    pub target: PathBuf,
    /// Its crates, as their manifests declare them.
    pub packages: Vec<Package>,
}

/// One crate of the workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its directory, from the top of the repository.
    pub directory: PathBuf,
    /// What its manifest asks for, of every kind.
    pub dependencies: Vec<Dependency>,
}

/// A line of a manifest's dependencies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependency {
    /// The crate asked for.
    pub name: String,
    /// Only for tests.
    pub dev: bool,
}

impl Workspace {
    /// Asks cargo. The repository is the one this program was built from.
    pub fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
        let output = cargo::command()
            .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
            .arg(&manifest)
            .output()
            .context("run cargo metadata")?;
        anyhow::ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let metadata = serde_json::from_slice(&output.stdout).context("read what cargo metadata says")?;
        Self::from_metadata(&metadata).context("cargo metadata lacks what this program needs of it")
    }

    /// Where the lab keeps the kernels of its virtual machines.
    pub fn cache(&self) -> PathBuf {
        self.lab_directory().join("cache")
    }

    fn from_metadata(metadata: &Value) -> Option<Self> {
        let root = PathBuf::from(metadata["workspace_root"].as_str()?);
        let packages = metadata["packages"]
            .as_array()?
            .iter()
            .map(|package| Package::from_metadata(package, &root))
            .collect::<Option<Vec<_>>>()?;
        Some(Self { target: PathBuf::from(metadata["target_directory"].as_str()?), root, packages })
    }

    /// Where the lab keeps what can be had again: downloads, logs.
    pub fn lab_directory(&self) -> PathBuf {
        self.target.join("lab")
    }
}

impl Package {
    fn from_metadata(package: &Value, root: &Path) -> Option<Self> {
        let manifest = Path::new(package["manifest_path"].as_str()?);
        let dependencies = package["dependencies"]
            .as_array()?
            .iter()
            .map(|d| Some(Dependency { name: d["name"].as_str()?.into(), dev: d["kind"] == "dev" }))
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            name: package["name"].as_str()?.into(),
            directory: manifest.parent()?.strip_prefix(root).ok()?.into(),
            dependencies,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_found_with_its_crates() {
        let workspace = Workspace::find().expect("cargo metadata");
        let xtask = workspace.packages.iter().find(|p| p.name == "xtask").expect("xtask is a member");
        assert_eq!(xtask.directory, Path::new("ci/xtask"));
        assert!(xtask.dependencies.contains(&Dependency { name: "tempfile".into(), dev: true }));
        assert!(xtask.dependencies.contains(&Dependency { name: "clap".into(), dev: false }));
    }

    #[test]
    fn metadata_without_a_field_is_an_error_not_a_panic() {
        assert!(Workspace::from_metadata(&serde_json::json!({"workspace_root": "/x"})).is_none());
        let odd = serde_json::json!({"workspace_root": "/x", "target_directory": "/t",
            "packages": [{"name": "a", "manifest_path": "/elsewhere/Cargo.toml", "dependencies": []}]});
        assert!(Workspace::from_metadata(&odd).is_none());
    }
}
