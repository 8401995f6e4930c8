// SPDX-License-Identifier: Apache-2.0
//! Taking everything away that a datapath, of whatever agent, has brought: programs, pins, devices, and with them
//! addresses and routes. Sysctls stay as they are, for others may rely on them by now.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use netlink::Link;

use crate::config::Pins;
use crate::loader::{self, AttachMethod, Hook, Side, file, remove_if_there};
use crate::node::Node;
use crate::{DatapathError, bpffs};

/// What is attached by filters.
const PROGRAMS: &[&str] = &["from_container", "from_host", "from_netdev", "to_netdev"];
/// What the names of our maps begin with.
const MAPS: &str = "cilium_";

/// What is pinned in a directory. One that is not there has nothing.
pub(crate) fn pins_in(directory: &Path) -> Result<Vec<PathBuf>, DatapathError> {
    let failed = |e| file("read", directory, e);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

/// Takes everything away, in the calling thread's network namespace and below `--bpf-root`. No agent may be running.
/// Goes on after what fails, and then says the first.
///
/// # Errors
/// [`DatapathError`]; what could be taken away is.
pub fn cleanup(bpf_root: &Path) -> Result<(), DatapathError> {
    let pins = Pins::new(bpf_root);
    let node = Node::here()?;
    let mut results = Vec::new();
    if bpffs::is_bpffs(bpf_root)? {
        for pin in pins_in(&pins.links())? {
            let hook = Hook { ifindex: 0, side: Side::Ingress, pin };
            results.push(AttachMethod::Tcx.detach(&hook));
        }
        for pin in pins_in(&pins.maps())? {
            if pin.file_name().is_some_and(|name| name.to_string_lossy().starts_with(MAPS)) {
                results.push(remove_if_there(&pin).map(drop));
            }
        }
        for directory in [pins.links(), pins.own(), pins.maps(), bpf_root.join("tc")] {
            results.push(remove_if_empty(&directory));
        }
    }
    for link in node.netlink().links()? {
        results.extend(detach_filters(&node, &link));
    }
    results.push(node.tear_down());
    results.into_iter().collect()
}

/// Other programs' pins stay, and so does the directory that they are in.
fn remove_if_empty(directory: &Path) -> Result<(), DatapathError> {
    match fs::remove_dir(directory) {
        Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Err(file("remove", directory, e))
        }
        _ => Ok(()),
    }
}

/// And the qdisc that held them, unless others have filters there.
fn detach_filters(node: &Node, link: &Link) -> Vec<Result<(), DatapathError>> {
    let mut results = Vec::new();
    for side in [Side::Ingress, Side::Egress] {
        let hook = Hook { ifindex: link.index, side, pin: PathBuf::new() };
        if loader::has_filter(&hook, PROGRAMS) {
            results.push(AttachMethod::Clsact.detach(&hook));
        }
    }
    if !results.is_empty() {
        results.push(match node.netlink().clsact_filters(link) {
            Ok(0) => node.netlink().delete_clsact(link).map_err(DatapathError::from),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        });
    }
    results
}
