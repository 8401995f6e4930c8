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
/// What names of the agent's maps begin with.
const PREFIX: &str = "cilium_";
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
    NodeDevice(String),
    PodDevice(String),
    Pin(PathBuf),
    Directory(PathBuf),
}

impl fmt::Display for Remnant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeDevice(name) => write!(f, "device {name}"),
            Self::PodDevice(name) => write!(f, "device {name} of a pod"),
            Self::Pin(path) => write!(f, "{}", path.display()),
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
    let failures = remove(&remnants, arguments, &netlink);
    failures.iter().for_each(|failure| note(&format!("error: {failure}")));
    match failures.len() {
        0 => session.line("Removed"),
        number => Err(CliError::Failed(format!("not everything was removed: {number} errors"))),
    }
}

fn open_netlink() -> Result<Netlink, NetlinkError> {
    Netlink::open(&NetNs::current()?)
}

fn failed(error: NetlinkError) -> CliError {
    CliError::Failed(format!("{error}; run as root"))
}

/// What there is, for the user to see before it goes.
fn remnants(arguments: &Arguments, netlink: &Netlink) -> Result<Vec<Remnant>, CliError> {
    let names = netlink.links().map_err(failed)?.into_iter().map(|link| link.name);
    let mut remnants: Vec<Remnant> = names.filter_map(device).collect();
    let pins = arguments.root.directory().join(PINS);
    if pins.is_dir() {
        remnants.push(Remnant::Directory(pins));
    }
    remnants.extend(maps(&arguments.root.globals())?.into_iter().map(Remnant::Pin));
    let state = arguments.state_dir.join(STATE);
    if state.is_dir() {
        remnants.push(Remnant::Directory(state));
    }
    Ok(remnants)
}

/// A device of the agent, or the node's end of a pod's link.
fn device(name: String) -> Option<Remnant> {
    if [datapath::HOST_DEVICE, datapath::NET_DEVICE].contains(&name.as_str()) {
        return Some(Remnant::NodeDevice(name));
    }
    let digits = name.strip_prefix("lxc")?;
    let ours = digits.len() == POD_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    ours.then_some(Remnant::PodDevice(name))
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

/// Goes on after what fails. First what carries traffic, so that no program runs without its maps.
fn remove(remnants: &[Remnant], arguments: &Arguments, netlink: &Netlink) -> Vec<String> {
    let mut failures = Vec::new();
    for remnant in remnants {
        if let Remnant::PodDevice(name) = remnant
            && let Err(error) = netlink.delete_link(name)
            && !matches!(error, NetlinkError::Missing { .. })
        {
            failures.push(error.to_string());
        }
    }
    if let Err(error) = datapath::cleanup(&arguments.root.directory()) {
        failures.push(error.to_string());
    }
    let state = arguments.state_dir.join(STATE);
    match fs::remove_dir_all(&state) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            failures.push(format!("remove {}: {error}", state.display()));
        }
        _ => {}
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_devices_are_removed() {
        for name in ["cilium_host", "cilium_net"] {
            assert_eq!(device(name.into()), Some(Remnant::NodeDevice(name.into())));
        }
        let pod = "lxcd0f631ca1ddb";
        assert_eq!(device(pod.into()), Some(Remnant::PodDevice(pod.into())));
        for name in ["eth0", "lxcbr0", "lxc", "lxcd0f631ca1ddz", "lxcd0f631ca1ddb0", "cilium_vxlan0", "lo"] {
            assert_eq!(device(name.into()), None, "{name}");
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
