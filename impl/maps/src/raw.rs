// SPDX-License-Identifier: Apache-2.0
//! The system calls on maps, with the kernel's own error numbers and counts: libbpf-rs hides the position at which a
//! batch stopped, and ends an iteration silently when the kernel refuses it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use libbpf_rs::libbpf_sys as sys;

/// From what a function of libbpf 1.x returns: zero or more, or an error number below zero.
fn answer(returned: i32) -> io::Result<()> {
    if returned < 0 { Err(io::Error::from_raw_os_error(-returned)) } else { Ok(()) }
}

/// Looks up one row. `value` must be as long as the map's values.
pub fn lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    // SAFETY: both buffers live during the call and have the lengths of the map's keys and values, which the caller
    // has compared when it opened the map.
    answer(unsafe {
        sys::bpf_map_lookup_elem(map.as_raw_fd(), key.as_ptr().cast(), value.as_mut_ptr().cast())
    })
}

const ENOMEM: i32 = 12;

/// How often a row is written again that the kernel had no memory for.
const REFILLS: u32 = 50;
/// How long to wait before: a kernel with a slow timer refills each 10 ms.
const REFILL_WAIT: Duration = Duration::from_millis(1);

/// Writes one row.
///
/// A map without preallocation takes its rows from a small stock for each CPU, since Linux 6.1 (kernel/bpf/memalloc.c). It is
/// refilled from an interrupt; writing faster than that is refused with `ENOMEM`, which says nothing of the machine's memory.
pub fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
    let mut refills = 0;
    loop {
        // SAFETY: as in `lookup`; the kernel only reads.
        let written = answer(unsafe {
            sys::bpf_map_update_elem(map.as_raw_fd(), key.as_ptr().cast(), value.as_ptr().cast(), flags)
        });
        match written {
            Err(e) if e.raw_os_error() == Some(ENOMEM) && refills < REFILLS => {
                refills += 1;
                thread::sleep(REFILL_WAIT);
            }
            other => return other,
        }
    }
}

/// Deletes one row.
pub fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    // SAFETY: as in `lookup`; the kernel only reads.
    answer(unsafe { sys::bpf_map_delete_elem(map.as_raw_fd(), key.as_ptr().cast()) })
}

/// The key after this one, or the first.
pub fn next_key(map: BorrowedFd<'_>, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<()> {
    let key = key.map_or(std::ptr::null(), <[u8]>::as_ptr);
    // SAFETY: as in `lookup`; a null key asks for the first.
    answer(unsafe { sys::bpf_map_get_next_key(map.as_raw_fd(), key.cast(), next.as_mut_ptr().cast()) })
}

fn batch_options(elem_flags: u64) -> sys::bpf_map_batch_opts {
    sys::bpf_map_batch_opts {
        sz: size_of::<sys::bpf_map_batch_opts>() as sys::size_t,
        elem_flags,
        ..Default::default()
    }
}

/// Writes `count` rows. Returns how many were written before the first that was refused.
pub fn update_batch(
    map: BorrowedFd<'_>,
    keys: &[u8],
    values: &[u8],
    count: usize,
    flags: u64,
) -> (usize, io::Result<()>) {
    // A slice of rows that is in memory has no 2^32 of them.
    let mut done = count as u32;
    let options = batch_options(flags);
    // SAFETY: the buffers hold `count` keys and values; the kernel reads them and writes `done`.
    let result = answer(unsafe {
        sys::bpf_map_update_batch(
            map.as_raw_fd(),
            keys.as_ptr().cast(),
            values.as_ptr().cast(),
            &raw mut done,
            &raw const options,
        )
    });
    written(count, done, result)
}

/// Deletes `count` rows. Returns how many were deleted before the first that was refused.
pub fn delete_batch(map: BorrowedFd<'_>, keys: &[u8], count: usize) -> (usize, io::Result<()>) {
    let mut done = count as u32;
    let options = batch_options(0);
    // SAFETY: the buffer holds `count` keys; the kernel reads them and writes `done`.
    let result = answer(unsafe {
        sys::bpf_map_delete_batch(map.as_raw_fd(), keys.as_ptr().cast(), &raw mut done, &raw const options)
    });
    written(count, done, result)
}

/// The kernel leaves the count as it was when it refuses the call before it looks at a row.
fn written(count: usize, done: u32, result: io::Result<()>) -> (usize, io::Result<()>) {
    match result {
        Ok(()) => (count, Ok(())),
        Err(error) if done as usize >= count => (0, Err(error)),
        Err(error) => (done as usize, Err(error)),
    }
}

/// Reads rows from where `token` says. Returns how many were read; `ENOENT` says that they are the last.
pub fn lookup_batch(
    map: BorrowedFd<'_>,
    token: Option<&[u8]>,
    next_token: &mut [u8],
    keys: &mut [u8],
    values: &mut [u8],
    count: usize,
) -> (usize, io::Result<()>) {
    let mut done = count as u32;
    let options = batch_options(0);
    let token = token.map_or(std::ptr::null_mut(), |token| token.as_ptr().cast_mut());
    // SAFETY: the buffers hold `count` keys and values, both tokens are at least as long as a key and four bytes; the
    // kernel reads `token`, and writes the others and `done`.
    let result = answer(unsafe {
        sys::bpf_map_lookup_batch(
            map.as_raw_fd(),
            token.cast(),
            next_token.as_mut_ptr().cast(),
            keys.as_mut_ptr().cast(),
            values.as_mut_ptr().cast(),
            &raw mut done,
            &raw const options,
        )
    });
    (done.min(count as u32) as usize, result)
}
