// SPDX-License-Identifier: Apache-2.0
//! The ELF kernel inside a `vmlinuz`. QEMU starts an ELF by its PVH entry without a BIOS and without the kernel's own
//! unpacking, which under emulation would take longer than the rest of the boot.
//! Layout: the kernel's `Documentation/arch/x86/boot.rst`.

use super::compression::{UnpackError, unpack};

/// Number of sectors of the real-mode code; 0 means 4.
const SETUP_SECTS: usize = 0x1f1;
/// `HdrS`.
const MAGIC: usize = 0x202;
/// Boot protocol version; payload fields are there from 2.08 on.
const VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;

/// Why a file gives no kernel.
#[derive(Debug, thiserror::Error)]
pub enum BzImageError {
    /// It is something else.
    #[error("not an x86 bzImage of boot protocol 2.08 or later")]
    NotBzImage,
    /// It ends before its payload does.
    #[error("the file ends before its payload does (truncated download?)")]
    Truncated,
    /// The payload cannot be unpacked.
    #[error("the kernel in it cannot be unpacked: {0}")]
    Payload(#[from] UnpackError),
    /// The payload is no ELF file.
    #[error("the payload is no ELF kernel")]
    NotElf,
}

/// Returns the ELF kernel that a bzImage carries; an ELF kernel is returned as it is.
///
/// # Errors
/// [`BzImageError`], whatever the bytes are.
pub fn vmlinux(image: &[u8]) -> Result<Vec<u8>, BzImageError> {
    if image.starts_with(b"\x7fELF") {
        return Ok(image.to_vec());
    }
    let elf = unpack(payload(image)?)?;
    if elf.starts_with(b"\x7fELF") { Ok(elf) } else { Err(BzImageError::NotElf) }
}

fn payload(image: &[u8]) -> Result<&[u8], BzImageError> {
    let version = word(image, VERSION).ok_or(BzImageError::NotBzImage)?;
    if image.get(MAGIC..MAGIC + 4) != Some(b"HdrS") || version & 0xffff < 0x0208 {
        return Err(BzImageError::NotBzImage);
    }
    let sectors = match image.get(SETUP_SECTS) {
        Some(0) => 4,
        Some(&n) => usize::from(n),
        None => return Err(BzImageError::NotBzImage),
    };
    let field = |at| word(image, at).map(|w| w as usize).ok_or(BzImageError::Truncated);
    // All three terms are at most 32 bits wide: their sum does not overflow.
    let start = (sectors + 1) * SECTOR + field(PAYLOAD_OFFSET)?;
    image.get(start..start + field(PAYLOAD_LENGTH)?).ok_or(BzImageError::Truncated)
}

fn word(image: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*image.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR + 16];
        image[SETUP_SECTS] = 1;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[VERSION..VERSION + 2].copy_from_slice(&0x020f_u16.to_le_bytes());
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&16u32.to_le_bytes());
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn payload_is_found_by_the_header_fields() {
        assert_eq!(vmlinux(&image(b"\x7fELFkernel")).unwrap(), b"\x7fELFkernel");
    }

    #[test]
    fn elf_kernel_is_taken_as_it_is() {
        assert_eq!(vmlinux(b"\x7fELFkernel").unwrap(), b"\x7fELFkernel");
    }

    #[test]
    fn every_truncation_and_every_changed_header_byte_is_an_error_or_a_kernel_never_a_panic() {
        let whole = image(b"\x7fELFkernel");
        for end in 0..whole.len() {
            assert!(vmlinux(&whole[..end]).is_err(), "cut at {end}");
        }
        for at in SETUP_SECTS..PAYLOAD_LENGTH + 4 {
            let mut changed = whole.clone();
            changed[at] = 0xff;
            let _ = vmlinux(&changed);
        }
        let mut old = whole;
        old[VERSION..VERSION + 2].copy_from_slice(&0x0207_u16.to_le_bytes());
        assert!(matches!(vmlinux(&old), Err(BzImageError::NotBzImage)));
    }
}
