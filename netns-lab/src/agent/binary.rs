// SPDX-License-Identifier: Apache-2.0
//! Where the agent's program is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Says where the program is, when it is not beside the lab's own.
pub const BINARY_VARIABLE: &str = "CILIATE_BINARY";

/// Name of the program.
const PROGRAM: &str = "ciliate";

/// The agent's program is not there.
#[derive(Debug, thiserror::Error)]
#[error("{path}, the agent's program, is not there (`cargo xtask` builds it; {BINARY_VARIABLE} says where else it is)", path = .0.display())]
pub struct NotBuilt(PathBuf);

/// The program: where `CILIATE_BINARY` says, else beside this process's own, where `cargo xtask` and the virtual machine
/// put it.
///
/// # Errors
/// [`NotBuilt`], with the place where it should be.
pub fn find() -> Result<PathBuf, NotBuilt> {
    let own = std::env::current_exe().unwrap_or_default();
    let path = place(std::env::var_os(BINARY_VARIABLE), &own);
    if path.is_file() { Ok(path) } else { Err(NotBuilt(path)) }
}

/// Where it is, seen from the lab's own program `own`.
pub(crate) fn place(named: Option<OsString>, own: &Path) -> PathBuf {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return named.into();
    }
    let directory = own.parent().unwrap_or(Path::new("/"));
    // Cargo puts the programs of tests one directory below the others.
    let directory =
        if directory.ends_with("deps") { directory.parent().unwrap_or(directory) } else { directory };
    directory.join(PROGRAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_beside_the_labs_unless_it_is_said_to_be_elsewhere() {
        assert_eq!(place(None, Path::new("/t/release/netns-lab")), Path::new("/t/release/ciliate"));
        assert_eq!(place(None, Path::new("/t/debug/deps/agent-0a1b")), Path::new("/t/debug/ciliate"));
        assert_eq!(place(None, Path::new("/init")), Path::new("/ciliate"));
        assert_eq!(place(Some("".into()), Path::new("/init")), Path::new("/ciliate"));
        assert_eq!(place(Some("/x/y".into()), Path::new("/init")), Path::new("/x/y"));
    }

    #[test]
    fn a_program_that_is_not_there_is_told_with_its_place_and_the_remedy() {
        let text = NotBuilt("/t/ciliate".into()).to_string();
        assert!(text.starts_with("/t/ciliate") && text.contains("CILIATE_BINARY"), "{text}");
    }
}
