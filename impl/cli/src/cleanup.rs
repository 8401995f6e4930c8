// SPDX-License-Identifier: Apache-2.0
//! `cleanup`: removes what the agent leaves in the kernel and on disk, so that pods keep talking when it ends.

use std::fmt;
use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use clap::Args;
use netlink::{NetNs, Netlink, NetlinkError};

use crate::CliError;
use crate::bpf::Root;
use crate::session::{Session, note};

/// Where the agent keeps its state, if no flag says otherwise.
const STATE_DIRECTORY: &str = "/var/run/cilium";
/// What is the agent's below it.
const STATE: &str = "state";
/// What is the agent's below the root of pins, beside the maps.
const PINS: &str = "ciliate";
/// What names of the agent's maps and devices begin with.
const PREFIX: &str = "cilium_";
/// The devices that the agent makes for the node.
const DEVICES: &[&str] = &["cilium_host", "cilium_net"];
/// Digits of a hash after `lxc` in the name of the node's end of a pod's link.
const POD_DIGITS: usize = 12;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Where the agent keeps its state
    #[arg(long, value_name = "DIRECTORY", default_value = STATE_DIRECTORY)]
    state_dir: PathBuf,
    #[command(flatten)]
    root: Root,
}

/// Something that is removed.
#[derive(Debug, PartialEq, Eq)]
enum Remnant {
    Device(String),
    File(PathBuf),
    Directory(PathBuf),
}

impl fmt::Display for Remnant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(name) => write!(f, "device {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Directory(path) => write!(f, "{}/", path.display()),
        }
    }
}

pub(crate) fn run(arguments: &Arguments, session: &mut Session<'_>) -> Result<(), CliError> {
    let client = session.client()?;
    match client.status() {
        Err(error) if error.is_unreachable() => {}
        _ => {
            return Err(CliError::Failed(format!(
                "an agent runs at {}: stop it first, it would make everything again",
                client.path().display()
            )));
        }
    }
    let netlink = open_netlink().map_err(failed)?;
    let remnants = remnants(arguments, &netlink)?;
    if remnants.is_empty() {
        return session.line("There is nothing to remove");
    }
    if !arguments.force {
        confirm(&remnants, session)?;
    }
    let mut errors = 0;
    for remnant in &remnants {
        match remove(remnant, &netlink) {
            Ok(()) => session.line(format!("removed {remnant}"))?,
            Err(error) => {
                errors += 1;
                note(&format!("error: {error}"));
            }
        }
    }
    match errors {
        0 => Ok(()),
        _ => Err(CliError::Failed(format!("{errors} of {} were not removed", remnants.len()))),
    }
}

fn open_netlink() -> Result<Netlink, NetlinkError> {
    Netlink::open(&NetNs::current()?)
}

fn failed(error: NetlinkError) -> CliError {
    CliError::Failed(format!("{error}; run as root"))
}

/// In the order in which they are removed: first what carries traffic, so that nothing runs without its maps.
fn remnants(arguments: &Arguments, netlink: &Netlink) -> Result<Vec<Remnant>, CliError> {
    let names = netlink.links().map_err(failed)?.into_iter().map(|link| link.name);
    let mut remnants: Vec<Remnant> = names.filter(|name| is_ours(name)).map(Remnant::Device).collect();
    let pins = arguments.root.directory().join(PINS);
    if pins.is_dir() {
        remnants.push(Remnant::Directory(pins));
    }
    remnants.extend(maps(&arguments.root.globals())?.into_iter().map(Remnant::File));
    let state = arguments.state_dir.join(STATE);
    if state.is_dir() {
        remnants.push(Remnant::Directory(state));
    }
    Ok(remnants)
}

/// A device of the agent or the node's end of a pod's link.
fn is_ours(name: &str) -> bool {
    let hexadecimal =
        |digits: &str| digits.len() == POD_DIGITS && digits.bytes().all(|d| d.is_ascii_hexdigit());
    DEVICES.contains(&name) || name.strip_prefix("lxc").is_some_and(hexadecimal)
}

fn maps(globals: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = |source| CliError::Read { path: globals.to_owned(), source };
    let entries: Vec<fs::DirEntry> = match fs::read_dir(globals) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(failed)?.collect::<io::Result<_>>().map_err(failed)?,
    };
    let ours = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
    let mut maps: Vec<PathBuf> = entries.iter().filter(|entry| ours(entry)).map(fs::DirEntry::path).collect();
    maps.sort();
    Ok(maps)
}

fn confirm(remnants: &[Remnant], session: &mut Session<'_>) -> Result<(), CliError> {
    session.line("This will be removed, and pods of this node lose their network:")?;
    for remnant in remnants {
        session.line(format!("  {remnant}"))?;
    }
    session.line("Continue? [y/N]")?;
    session.finish()?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|source| CliError::Read { path: "-".into(), source })?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::Failed("nothing was removed; -f does not ask".to_owned())),
    }
}

fn remove(remnant: &Remnant, netlink: &Netlink) -> Result<(), CliError> {
    let gone = |path: &PathBuf, removed: io::Result<()>| match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(CliError::Change { action: "remove", path: path.clone(), source })
        }
        _ => Ok(()),
    };
    match remnant {
        Remnant::File(path) => gone(path, fs::remove_file(path)),
        Remnant::Directory(path) => gone(path, fs::remove_dir_all(path)),
        Remnant::Device(name) => match netlink.delete_link(name) {
            // One end of a pair takes the other with it.
            Err(NetlinkError::Missing { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(failed(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_devices_are_removed() {
        for name in ["cilium_host", "cilium_net", "lxcd0f631ca1ddb"] {
            assert!(is_ours(name), "{name}");
        }
        for name in ["eth0", "lxcbr0", "lxc", "lxcd0f631ca1ddz", "lxcd0f631ca1ddb0", "cilium_vxlan0", "lo"] {
            assert!(!is_ours(name), "{name}");
        }
    }

    #[test]
    fn only_our_own_pins_are_found() {
        let globals = tempfile::tempdir().unwrap();
        for name in ["cilium_lxc", "cilium_policy_00042", "other_map"] {
            fs::write(globals.path().join(name), "").unwrap();
        }
        let found = maps(globals.path()).unwrap();
        assert_eq!(found, ["cilium_lxc", "cilium_policy_00042"].map(|name| globals.path().join(name)));
        assert_eq!(maps(&globals.path().join("absent")).unwrap(), Vec::<PathBuf>::new());
    }
}
