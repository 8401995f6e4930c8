// SPDX-License-Identifier: Apache-2.0
//! Unpacking of what distributions compress: kernels (zstd, LZ4, xz) and modules (xz, zstd).

use std::io::Read;

/// The largest thing that is unpacked, bytes: a kernel with room to spare. Damaged input cannot fill the memory.
const MAX_UNPACKED: u64 = 512 << 20;

/// Uncompressed size of one block of an LZ4 legacy frame, bytes; only the last may be shorter.
const LZ4_LEGACY_BLOCK: usize = 8 << 20;

const MAGIC_ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const MAGIC_XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const MAGIC_LZ4_LEGACY: &[u8] = &[0x02, 0x21, 0x4c, 0x18];
const MAGIC_ELF: &[u8] = b"\x7fELF";

/// Why something could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The first bytes are of no format that is known here.
    #[error("unknown compression (the first bytes are {0:02x?}; known are zstd, xz and LZ4)")]
    Unknown(Vec<u8>),
    /// The data are damaged.
    #[error("{format} data: {reason}")]
    Damaged {
        /// The format.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// The data unpack to more than is plausible.
    #[error("unpacks to more than {} MiB", MAX_UNPACKED >> 20)]
    TooLarge,
}

/// Unpacks `data`, whose format is told by its first bytes; an ELF file is returned as it is.
///
/// # Errors
/// [`UnpackError`].
pub fn unpack(data: &[u8]) -> Result<Vec<u8>, UnpackError> {
    if data.starts_with(MAGIC_ELF) {
        Ok(data.to_vec())
    } else if data.starts_with(MAGIC_ZSTD) {
        let damaged =
            |e: &dyn std::fmt::Display| UnpackError::Damaged { format: "zstd", reason: e.to_string() };
        let decoder = ruzstd::decoding::StreamingDecoder::new(data).map_err(|e| damaged(&e))?;
        read_bounded("zstd", decoder)
    } else if data.starts_with(MAGIC_XZ) {
        read_bounded("xz", lzma_rust2::XzReader::new(data, false))
    } else if let Some(blocks) = data.strip_prefix(MAGIC_LZ4_LEGACY) {
        unpack_lz4_legacy(blocks)
    } else {
        Err(UnpackError::Unknown(data.iter().take(6).copied().collect()))
    }
}

fn read_bounded(format: &'static str, from: impl Read) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    from.take(MAX_UNPACKED + 1)
        .read_to_end(&mut out)
        .map_err(|e| UnpackError::Damaged { format, reason: e.to_string() })?;
    if out.len() as u64 > MAX_UNPACKED { Err(UnpackError::TooLarge) } else { Ok(out) }
}

/// The format of `lz4 -l`, which the kernel's build uses: blocks, each after its length, up to the end of the data.
/// What follows the last block there (the kernel appends the unpacked size) is no valid block length.
fn unpack_lz4_legacy(mut data: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let damaged = |reason: String| UnpackError::Damaged { format: "LZ4", reason };
    let mut out = Vec::new();
    let mut block = vec![0; LZ4_LEGACY_BLOCK];
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((packed, rest)) = rest.split_at_checked(length) else { break };
        let unpacked = lz4_flex::block::decompress_into(packed, &mut block)
            .map_err(|e| damaged(format!("block at byte {}: {e}", out.len())))?;
        out.extend_from_slice(&block[..unpacked]);
        if out.len() as u64 > MAX_UNPACKED {
            return Err(UnpackError::TooLarge);
        }
        data = rest;
        if unpacked < LZ4_LEGACY_BLOCK {
            break;
        }
    }
    if out.is_empty() { Err(damaged("no whole block".into())) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An LZ4 block that holds `bytes` as literals only.
    fn literals(bytes: &[u8]) -> Vec<u8> {
        assert!(bytes.len() < 15);
        let mut block = vec![(bytes.len() as u8) << 4];
        block.extend_from_slice(bytes);
        block
    }

    #[test]
    fn lz4_legacy_frame_is_unpacked_and_the_appended_size_is_left_alone() {
        let block = literals(b"hello kernel");
        let mut data = MAGIC_LZ4_LEGACY.to_vec();
        data.extend_from_slice(&(block.len() as u32).to_le_bytes());
        data.extend_from_slice(&block);
        data.extend_from_slice(&12u32.to_le_bytes());
        assert_eq!(unpack(&data).unwrap(), b"hello kernel");
    }

    #[test]
    fn truncated_or_garbled_data_are_an_error_in_every_format() {
        for magic in [MAGIC_ZSTD, MAGIC_XZ, MAGIC_LZ4_LEGACY] {
            for tail in [&[][..], &[0xff; 3], &[0xff; 40], &[0; 40]] {
                let data = [magic, tail].concat();
                assert!(unpack(&data).is_err(), "{data:02x?}");
            }
        }
        assert!(matches!(unpack(b"BZh9"), Err(UnpackError::Unknown(_))));
        assert!(matches!(unpack(b""), Err(UnpackError::Unknown(_))));
    }
}
