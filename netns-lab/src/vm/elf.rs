// SPDX-License-Identifier: Apache-2.0
//! What is read from ELF files: a program's interpreter and needed libraries, a module's `.modinfo`.

use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection};

/// The file is no 64-bit ELF file, or a damaged one.
#[derive(Debug, thiserror::Error)]
#[error("not a readable 64-bit ELF file: {0}")]
pub struct ElfError(#[from] object::read::Error);

/// What a program or library wants from the file system to be loaded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Linkage {
    /// The path of the dynamic linker; none for libraries and static programs.
    pub interpreter: Option<String>,
    /// `DT_NEEDED`: names of libraries.
    pub needed: Vec<String>,
}

/// Reads the interpreter and the needed libraries; both are empty in a static program.
///
/// # Errors
/// [`ElfError`].
pub fn linkage(data: &[u8]) -> Result<Linkage, ElfError> {
    let file = ElfFile64::<Endianness>::parse(data)?;
    let endian = file.endian();
    let mut linkage = Linkage::default();
    for segment in file.elf_program_headers() {
        if let Some(path) = segment.interpreter(endian, data)? {
            linkage.interpreter = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    let table = file.elf_dynamic_table()?;
    for entry in &table {
        if entry.tag == elf::DT_NEEDED {
            linkage.needed.push(String::from_utf8_lossy(table.string(entry)?).into_owned());
        }
    }
    Ok(linkage)
}

/// The `key=value` strings of a kernel module's `.modinfo`.
///
/// # Errors
/// [`ElfError`].
pub fn modinfo(data: &[u8]) -> Result<Vec<(String, String)>, ElfError> {
    let file = ElfFile64::<Endianness>::parse(data)?;
    let Some(section) = file.section_by_name(".modinfo") else { return Ok(Vec::new()) };
    Ok(pairs(section.data()?))
}

fn pairs(section: &[u8]) -> Vec<(String, String)> {
    section
        .split(|&b| b == 0)
        .filter_map(|entry| {
            let entry = String::from_utf8_lossy(entry);
            let (key, value) = entry.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// The file without what is not loaded (symbols and debug information are most of a Rust program's bytes): cut after
/// the last loaded segment, its section table struck from the header. It runs as before.
///
/// # Errors
/// [`ElfError`].
pub fn loadable_part(data: &[u8]) -> Result<Vec<u8>, ElfError> {
    let header = elf::FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let end = header
        .program_headers(endian, data)?
        .iter()
        .filter(|s| s.p_type(endian) == elf::PT_LOAD)
        .filter_map(|s| s.p_offset(endian).checked_add(s.p_filesz(endian)))
        .max()
        .and_then(|end| usize::try_from(end).ok())
        .unwrap_or(data.len());
    let mut cut = data.get(..end).unwrap_or(data).to_vec();
    // e_shoff; e_shnum and e_shstrndx (ELF-64 object file format, figure 2).
    for field in [0x28..0x30, 0x3c..0x40] {
        if let Some(bytes) = cut.get_mut(field) {
            bytes.fill(0);
        }
    }
    Ok(cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executable::write_executable;
    use std::fs;
    use std::process::Command;

    #[test]
    fn this_test_program_needs_libc_and_names_its_interpreter() {
        let linkage = linkage(&fs::read(std::env::current_exe().unwrap()).unwrap()).unwrap();
        if cfg!(target_feature = "crt-static") {
            assert_eq!(linkage.interpreter, None);
        } else {
            assert!(linkage.needed.iter().any(|n| n.starts_with("libc.so")), "{linkage:?}");
            assert!(linkage.interpreter.unwrap().contains("ld-linux"));
        }
    }

    #[test]
    fn modinfo_strings_become_pairs_and_what_has_no_key_is_passed_over() {
        let section = b"license=GPL\0\0depends=stp,llc\0nonsense\0softdep=pre: crc32c\0";
        let expected = [("license", "GPL"), ("depends", "stp,llc"), ("softdep", "pre: crc32c")];
        assert_eq!(pairs(section), expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn malformed_files_are_errors() {
        let whole = fs::read(std::env::current_exe().unwrap()).unwrap();
        for data in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &whole[..64], &whole[..100]] {
            let _ = loadable_part(data);
            assert!(linkage(data).is_err());
            assert!(modinfo(data).is_err());
        }
    }

    #[test]
    fn a_program_without_its_sections_still_runs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut");
        let whole = fs::read("/bin/true").unwrap();
        let cut = loadable_part(&whole).unwrap();
        assert!(cut.len() < whole.len());
        write_executable(&path, &cut);
        assert!(Command::new(&path).status().unwrap().success());
    }
}
