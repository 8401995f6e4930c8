// SPDX-License-Identifier: Apache-2.0
//! `BPF_PROG_TEST_RUN`, and what the kernel says of a program.

use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::{Program, libbpf_sys};
use nix::errno::Errno;

use crate::{Outcome, Verdict};

const BUFFER_BYTES: usize = 2048;

/// Places of `struct __sk_buff` (linux/bpf.h), in words.
const MARK: usize = 2;
const INGRESS_IFINDEX: usize = 9;
const IFINDEX: usize = 10;
const GSO_SEGS: usize = 41;
const GSO_SIZE: usize = 44;
const CONTEXT_WORDS: usize = 48;

/// A device has summed the packet, and the kernel looks whether its sum is right afterwards (`CHECKSUM_COMPLETE`). Kernels
/// before 6.15 do not know it.
const SUMMED: u32 = 1 << 2;

/// Gives a frame to a program once, as from a device that sums what it receives, if this kernel can do so.
pub fn test_run_summed(program: &Program<'_>, ifindex: u32, frame: &[u8]) -> Outcome {
    run(program, ifindex, 0, frame, 1, SUMMED)
        .or_else(
            |error| if error == Errno::EINVAL { run(program, ifindex, 0, frame, 1, 0) } else { Err(error) },
        )
        .unwrap_or_else(|error| panic!("{:?} with {} bytes: {error}", program.name(), frame.len()))
        .0
}

/// Gives a frame to a program once, as several segments of so many bytes that a device has put together.
pub fn test_run_segments(program: &Program<'_>, ifindex: u32, frame: &[u8], segment: u32) -> Outcome {
    let mut context = context(ifindex, 0);
    context[GSO_SIZE] = segment;
    context[GSO_SEGS] = (frame.len() as u32).div_ceil(segment);
    run_in(context, program, frame, 1, 0)
        .unwrap_or_else(|error| panic!("{:?} with {} bytes: {error}", program.name(), frame.len()))
        .0
}

/// Gives a frame to a program, so many times, with the mark that it has from another. Returns the outcome and the mean
/// nanoseconds of a time.
pub fn test_run(program: &Program<'_>, ifindex: u32, mark: u32, frame: &[u8], repeat: u32) -> (Outcome, u32) {
    run(program, ifindex, mark, frame, repeat, 0)
        .unwrap_or_else(|error| panic!("{:?} with {} bytes: {error}", program.name(), frame.len()))
}

fn run(
    program: &Program<'_>,
    ifindex: u32,
    mark: u32,
    frame: &[u8],
    repeat: u32,
    flags: u32,
) -> Result<(Outcome, u32), Errno> {
    run_in(context(ifindex, mark), program, frame, repeat, flags)
}

fn context(ifindex: u32, mark: u32) -> [u32; CONTEXT_WORDS] {
    let mut context = [0_u32; CONTEXT_WORDS];
    context[MARK] = mark;
    (context[INGRESS_IFINDEX], context[IFINDEX]) = (ifindex, ifindex);
    context
}

fn run_in(
    context: [u32; CONTEXT_WORDS],
    program: &Program<'_>,
    frame: &[u8],
    repeat: u32,
    flags: u32,
) -> Result<(Outcome, u32), Errno> {
    let mut after = [0_u32; CONTEXT_WORDS];
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        ctx_in: context.as_ptr().cast(),
        ctx_size_in: size_of_val(&context) as u32,
        ctx_out: after.as_mut_ptr().cast(),
        ctx_size_out: size_of_val(&after) as u32,
        data_in: frame.as_ptr().cast(),
        data_size_in: frame.len() as u32,
        data_out: buffer.as_mut_ptr().cast(),
        data_size_out: buffer.len() as u32,
        repeat: i32::try_from(repeat).unwrap(),
        flags,
        ..Default::default()
    };
    // SAFETY: every buffer is as long as the options say, and lives during the call.
    let answer = unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_fd().as_raw_fd(), &raw mut options) };
    if answer != 0 {
        return Err(Errno::from_raw(-answer));
    }
    buffer.truncate(options.data_size_out as usize);
    Ok((Outcome { verdict: Verdict::of(options.retval), frame: buffer, mark: after[MARK] }, options.duration))
}

/// What a program costs the verifier: instructions processed, and instructions after its rewriting.
pub fn work(program: &Program<'_>) -> [u32; 2] {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut size = size_of_val(&info) as u32;
    // SAFETY: the struct is as long as the size says, and lives during the call.
    let answer = unsafe {
        libbpf_sys::bpf_prog_get_info_by_fd(program.as_fd().as_raw_fd(), &raw mut info, &raw mut size)
    };
    assert_eq!(answer, 0);
    [info.verified_insns, info.xlated_prog_len / 8]
}
