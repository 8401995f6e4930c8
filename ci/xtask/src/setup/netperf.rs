// SPDX-License-Identifier: Apache-2.0
//! netperf, for the comparison of our generator with it. It is outside of what Debian enables (its licence is not a
//! free one): it is downloaded beside the build, never installed, and apt's own configuration stays as it is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::facts::{find_program, os_release, os_release_field};
use super::{apt, sources};

/// Where its package is unpacked.
pub fn directory(lab: &Path) -> PathBuf {
    lab.join("netperf")
}

/// The directory that holds both programs: what is installed goes first, then what was fetched.
pub fn find(lab: &Path) -> Option<PathBuf> {
    let installed = find_program("netperf").and_then(|path| Some(path.parent()?.to_path_buf()));
    installed.into_iter().chain([directory(lab).join("usr/bin")]).find(|d| complete(d))
}

/// Both programs are there and start: a library that they are linked with may be absent.
fn complete(directory: &Path) -> bool {
    ["netperf", "netserver"].iter().all(|name| {
        Command::new(directory.join(name))
            .arg("-V")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// Downloads and unpacks it.
///
/// # Errors
/// With the reason; it is not needed for anything else.
pub fn fetch(lab: &Path, log: &File, log_path: &Path) -> Result<()> {
    let release = os_release();
    let component = match os_release_field(&release, "ID") {
        Some("ubuntu") => "multiverse",
        _ => "non-free",
    };
    let codename = os_release_field(&release, "VERSION_CODENAME").context("os-release names no codename")?;
    let all = configured()?;
    let source = sources::of_release(&all, codename)
        .with_context(|| format!("apt's configuration has no source of {codename} itself"))?;

    let private = lab.join("apt");
    for part in ["lists/partial", "cache/archives/partial", "download"] {
        fs::create_dir_all(private.join(part)).context("create a private directory for apt")?;
    }
    let list = private.join("netperf.sources");
    fs::write(&list, sources::stanza(source, component)).context("write a private list of sources")?;
    let options = private_options(&private, &list);

    let run = |verb: &[&str]| -> Result<()> {
        let mut command = apt::apt_get(log)?;
        command.args(&options).args(verb).current_dir(private.join("download"));
        if !command.status().context("run apt-get")?.success() {
            bail!("apt-get {}: {}", verb.join(" "), apt::last_lines(log_path));
        }
        Ok(())
    };
    run(&["update"])?;
    run(&["download", "netperf"])?;
    let result = unpack(&private.join("download"), &directory(lab), log);
    // The lists are a few megabytes that only this was for.
    let _ = fs::remove_dir_all(&private);
    result?;
    if !complete(&directory(lab).join("usr/bin")) {
        bail!("it was unpacked but does not start: a library that it is linked with is missing");
    }
    Ok(())
}

/// apt with its own lists and its own cache. `_apt`, as whom it downloads otherwise, may not read our directories.
fn private_options(private: &Path, list: &Path) -> Vec<String> {
    let directory = private.display();
    [
        format!("Dir::Etc::sourcelist={}", list.display()),
        "Dir::Etc::sourceparts=-".into(),
        format!("Dir::State::lists={directory}/lists"),
        format!("Dir::Cache={directory}/cache"),
        "APT::Sandbox::User=root".into(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".into(), option])
    .collect()
}

/// All sources that apt is configured with.
fn configured() -> Result<Vec<sources::Source>> {
    let etc = |key: &str| -> Result<String> {
        let output =
            Command::new("apt-config").args(["shell", "X", key]).output().context("run apt-config")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let quoted = text.trim().strip_prefix("X='").and_then(|t| t.strip_suffix('\''));
        Ok(quoted.with_context(|| format!("apt-config says nothing of {key}"))?.to_owned())
    };
    let mut files = vec![PathBuf::from(etc("Dir::Etc::sourcelist/f")?)];
    let parts = fs::read_dir(etc("Dir::Etc::sourceparts/d")?).into_iter().flatten().flatten();
    let mut parts: Vec<_> = parts.map(|entry| entry.path()).collect();
    parts.retain(|path| path.extension().is_some_and(|e| e == "list" || e == "sources"));
    parts.sort();
    files.append(&mut parts);
    Ok(files
        .iter()
        .filter_map(|path| Some((path.to_string_lossy(), fs::read_to_string(path).ok()?)))
        .flat_map(|(name, text)| sources::parse(&name, &text))
        .collect())
}

fn unpack(downloads: &Path, to: &Path, log: &File) -> Result<()> {
    let package = fs::read_dir(downloads)
        .context("read what was downloaded")?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .context("apt-get has downloaded nothing")?;
    let status = Command::new("dpkg-deb")
        .arg("-x")
        .args([&package, &to.to_path_buf()])
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .status()
        .context("run dpkg-deb")?;
    if !status.success() {
        bail!("dpkg-deb cannot unpack {}", package.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_both_programs_is_not_netperf() {
        let directory = tempfile::tempdir().expect("temporary directory");
        assert!(!complete(directory.path()));
    }

    #[test]
    fn apt_is_kept_away_from_the_systems_lists() {
        let options = private_options(Path::new("/l/apt"), Path::new("/l/apt/netperf.sources"));
        assert!(options.contains(&"Dir::State::lists=/l/apt/lists".to_owned()));
        assert!(options.contains(&"Dir::Etc::sourceparts=-".to_owned()));
        assert_eq!(options.iter().filter(|o| *o == "-o").count(), 5);
    }
}
