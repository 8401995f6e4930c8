// SPDX-License-Identifier: Apache-2.0
//! This machine's programs that take part in the guest (CNI plugins, iptables, ipset), each at its own path, with the
//! shared libraries that the dynamic linker will look for.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::elf::{self, ElfError};
use super::initramfs::{Entry, Initramfs};

/// Where programs are looked for, and the guest's `PATH`.
pub const PROGRAM_DIRS: &[&str] = &["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Where CNI plugins are looked for: Debian's directory, then that of the plugins' own releases.
const CNI_DIRS: &[&str] = &["/usr/lib/cni", "/opt/cni/bin"];

/// The reference plugins that the subjects use, and those that these run in turn.
const CNI_PLUGINS: &[&str] = &["bridge", "host-local", "ipvlan", "loopback", "portmap", "ptp"];

/// The rule sets' programs; the reference plugins run `iptables`.
const PROGRAMS: &[&str] = &[
    "iptables",
    "iptables-restore",
    "iptables-save",
    "iptables-legacy",
    "iptables-legacy-restore",
    "iptables-legacy-save",
    "ipset",
];

/// What the dynamic linker searches without a cache file, in its order (`ld.so(8)`).
const LIBRARY_DIRS: &[&str] =
    &["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// Where the matches and targets of iptables are.
const XTABLES_DIRS: &[&str] =
    &["/usr/lib/x86_64-linux-gnu/xtables", "/usr/lib64/xtables", "/usr/lib/xtables"];

/// Symbolic links to follow before a file counts as unreadable, as the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Why a program cannot be put into the guest.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// A file cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A library is not a 64-bit ELF file.
    #[error("{path}: {source}")]
    Elf {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ElfError,
    },
    /// A library is not on this machine.
    #[error("{program} needs {library}, which is in none of the standard library directories")]
    Library {
        /// The program or library that needs it.
        program: PathBuf,
        /// Its name.
        library: String,
    },
}

/// Adds all programs that this machine has and returns the names of those that it has not. A subject that needs one of
/// those says so when it is built.
///
/// # Errors
/// [`ProgramsError`].
pub fn add_programs(tree: &mut Initramfs) -> Result<Vec<String>, ProgramsError> {
    let mut missing = Vec::new();
    for (names, dirs) in [(CNI_PLUGINS, CNI_DIRS), (PROGRAMS, PROGRAM_DIRS)] {
        for name in names {
            match dirs.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.exists()) {
                Some(path) => add_program(tree, &path)?,
                None => missing.push((*name).to_owned()),
            }
        }
    }
    if let Some(dir) = XTABLES_DIRS.iter().map(Path::new).find(|dir| dir.is_dir()) {
        let err = |source| ProgramsError::Read { path: dir.to_owned(), source };
        let mut extensions = BTreeSet::new();
        for entry in fs::read_dir(dir).map_err(err)? {
            extensions.insert(entry.map_err(err)?.path());
        }
        for extension in extensions.iter().filter(|path| path.extension().is_some_and(|e| e == "so")) {
            add_program(tree, extension)?;
        }
    }
    Ok(missing)
}

/// Adds one program or library with all that its loading needs. Symbolic links stay links: several of the programs are
/// one file that acts by the name under which it is called.
///
/// # Errors
/// [`ProgramsError`].
pub fn add_program(tree: &mut Initramfs, path: &Path) -> Result<(), ProgramsError> {
    let Some((path, data)) = add_file(tree, path)? else { return Ok(()) };
    let linkage = elf::linkage(&data).map_err(|source| ProgramsError::Elf { path: path.clone(), source })?;
    if let Some(interpreter) = linkage.interpreter {
        add_program(tree, Path::new(&interpreter))?;
    }
    for library in linkage.needed {
        let found = LIBRARY_DIRS.iter().map(|dir| Path::new(dir).join(&library)).find(|path| path.exists());
        let Some(found) = found else {
            return Err(ProgramsError::Library { program: path, library });
        };
        add_program(tree, &found)?;
    }
    Ok(())
}

/// Adds a file and the links that lead to it, directories among them. Returns where it is and its bytes, or nothing when
/// it was there before.
fn add_file(tree: &mut Initramfs, path: &Path) -> Result<Option<(PathBuf, Vec<u8>)>, ProgramsError> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match first_link(&path)? {
            Some((link, target, rest)) => {
                if let (Some(link), Some(target)) = (link.to_str(), target.to_str()) {
                    tree.add(link, Entry::Symlink { target: target.to_owned() });
                }
                let parent = link.parent().unwrap_or(Path::new("/"));
                path = normalized(&parent.join(target).join(rest));
            }
            None => {
                let name = path.to_string_lossy().into_owned();
                if tree.contains(&name) {
                    return Ok(None);
                }
                let data =
                    fs::read(&path).map_err(|source| ProgramsError::Read { path: path.clone(), source })?;
                tree.add(&name, Entry::File { data: data.clone(), executable: true });
                return Ok(Some((path, data)));
            }
        }
    }
    let source = io::Error::other("too many levels of symbolic links");
    Err(ProgramsError::Read { path, source })
}

/// A link, where it points, and what of the path comes after it.
type Link = (PathBuf, PathBuf, PathBuf);

/// The first component of a path that is a symbolic link.
fn first_link(path: &Path) -> Result<Option<Link>, ProgramsError> {
    let mut above: Vec<_> = path.ancestors().collect();
    above.reverse();
    for prefix in above {
        let read = |source| ProgramsError::Read { path: prefix.to_owned(), source };
        if fs::symlink_metadata(prefix).map_err(read)?.is_symlink() {
            let target = fs::read_link(prefix).map_err(read)?;
            let rest = path.strip_prefix(prefix).unwrap_or(Path::new("")).to_owned();
            return Ok(Some((prefix.to_owned(), target, rest)));
        }
    }
    Ok(None)
}

/// The path without `.` and `..`; what is before a `..` is no link here, since links are resolved from the left.
fn normalized(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_shell_comes_with_its_interpreter_and_libraries() {
        let mut tree = Initramfs::default();
        add_program(&mut tree, Path::new("/bin/sh")).unwrap();
        let shell = fs::canonicalize("/bin/sh").unwrap();
        let linkage = elf::linkage(&fs::read(&shell).unwrap()).unwrap();
        assert!(tree.contains(shell.to_str().unwrap()));
        for library in &linkage.needed {
            assert!(LIBRARY_DIRS.iter().any(|dir| tree.contains(&format!("{dir}/{library}"))), "{library}");
        }
        let interpreter = fs::canonicalize(linkage.interpreter.unwrap()).unwrap();
        assert!(tree.contains(interpreter.to_str().unwrap()));
    }

    #[test]
    fn links_on_the_way_are_kept_as_links() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir(real.join("real")).unwrap();
        fs::copy("/bin/true", real.join("real/multi")).unwrap();
        symlink("real", real.join("dir")).unwrap();
        symlink("../real/multi", real.join("real/by-name")).unwrap();
        let mut tree = Initramfs::default();
        add_program(&mut tree, &real.join("dir/by-name")).unwrap();
        for path in ["dir", "real/by-name", "real/multi"] {
            assert!(tree.contains(real.join(path).to_str().unwrap()), "{path}");
        }
        assert!(!tree.contains(real.join("dir/by-name").to_str().unwrap()));
    }

    #[test]
    fn a_loop_of_links_and_a_missing_file_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(add_program(&mut Initramfs::default(), &dir.path().join("a")).is_err());
        assert!(add_program(&mut Initramfs::default(), &dir.path().join("c")).is_err());
    }
}
