// SPDX-License-Identifier: Apache-2.0
//! The image of the program that holds a pod's namespaces open: made here, byte by byte, since there is no registry to
//! get one from. It is an OCI image layout in a tar archive, with one layer that holds one file.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The name of the image.
pub const NAME: &str = "ciliate.test/pause:1";

/// Size of a block of a tar archive, bytes.
const BLOCK: usize = 512;
/// Where the kernel puts the program.
const ADDRESS: u64 = 0x40_0000;
const ELF_HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;

/// The program: it waits for a signal, again and again. A static ELF executable for x86-64.
fn program() -> Vec<u8> {
    // mov eax, 34 (pause); syscall; jmp to the beginning
    let code = [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
    let begin = u64::from(ELF_HEADER + PROGRAM_HEADER);
    let size = begin + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // Executable, x86-64, version 1.
    elf.extend([2u16, 62].iter().flat_map(|half| half.to_le_bytes()));
    elf.extend(1u32.to_le_bytes());
    // Entry, program headers, no section headers.
    elf.extend([ADDRESS + begin, ELF_HEADER.into(), 0].iter().flat_map(|word| word.to_le_bytes()));
    elf.extend(0u32.to_le_bytes());
    let sizes = [ELF_HEADER, PROGRAM_HEADER, 1, 0, 0, 0];
    elf.extend(sizes.iter().flat_map(|half| half.to_le_bytes()));
    // One segment to load, read and execute: the whole file.
    elf.extend([1u32, 5].iter().flat_map(|word| word.to_le_bytes()));
    elf.extend([0, ADDRESS, ADDRESS, size, size, 0x1000].iter().flat_map(|word| word.to_le_bytes()));
    elf.extend(code);
    elf
}

/// A tar archive (POSIX ustar) of regular files.
fn tar(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes, mode) in files {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", bytes.len()).as_bytes());
        put(136, b"00000000000");
        // The sum is made as if its own field were spaces.
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend(*bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.extend([0; 2 * BLOCK]);
    archive
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({
        "mediaType": format!("application/vnd.oci.image.{media_type}"),
        "digest": format!("sha256:{}", digest(bytes)),
        "size": bytes.len(),
    })
}

/// The image as `ctr images import` takes it.
pub fn archive() -> Vec<u8> {
    let layer = tar(&[("pause", &program(), 0o755)]);
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &config),
        "layers": [descriptor("layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor("manifest.v1+json", &manifest);
    entry["annotations"] = json!({"io.containerd.image.name": NAME});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", digest(bytes));
    tar(&[
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644),
        ("index.json", index.as_bytes(), 0o644),
        (&blob(&manifest), &manifest, 0o644),
        (&blob(&config), &config, 0o644),
        (&blob(&layer), &layer, 0o644),
    ])
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::io::Write;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    /// An archive unpacked by `tar`. This process must not write a file that it runs: a child that another test starts just
    /// then would have it open for writing still.
    fn unpack(archive: &[u8]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(archive).unwrap();
        let tar =
            Command::new("tar").arg("-xf").arg(file.path()).arg("-C").arg(directory.path()).output().unwrap();
        assert!(tar.status.success(), "{tar:?}");
        directory
    }

    #[test]
    fn the_program_waits_until_it_is_ended() {
        let directory = unpack(&tar(&[("pause", &program(), 0o755)]));
        let mut child = Command::new(directory.path().join("pause")).spawn().unwrap();
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn an_archive_is_what_tar_reads() {
        let directory = unpack(&tar(&[("a", b"one", 0o644), ("b/c", &[7; 600], 0o755)]));
        let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
        assert_eq!((read("a"), read("b/c")), (b"one".to_vec(), vec![7; 600]));
    }
}
