// SPDX-License-Identifier: Apache-2.0
//! Many rows at once: about four times faster than one by one, and one by one where a map cannot do it.

use std::io;
use std::os::fd::AsFd;

use libbpf_rs::{MapCore, MapHandle};

use crate::bpf_map::{BpfMap, Bytes};
use crate::{MapError, WriteMode, raw};

/// Rows in one system call.
const BATCH: usize = 512;
/// More than this is never asked for at once, however long a bucket of a hash map is.
const BATCH_MAX: usize = 1 << 16;

const ENOENT: i32 = 2;
const EINTR: i32 = 4;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
/// `ENOTSUPP`, inside the kernel only and yet returned by `bpf(2)` for a map type that has no batches.
const ENOTSUPP: i32 = 524;

/// Where an iteration over a map stands. It can rest between steps while the map changes: a row that stays is seen
/// once at least, except if an iteration one by one is thrown back to the start by a row that went.
#[derive(Debug)]
pub struct Cursor {
    /// From where the next step reads; `None` at the start.
    token: Option<Vec<u8>>,
    batch: usize,
    one_by_one: bool,
    /// How many more rows an iteration one by one may give, so that it ends even in a map that changes all the time.
    left: usize,
    finished: bool,
}

impl Cursor {
    /// At the start.
    pub const fn new() -> Self {
        Self { token: None, batch: BATCH, one_by_one: false, left: usize::MAX, finished: false }
    }

    /// Whether all has been read.
    pub const fn is_finished(&self) -> bool {
        self.finished
    }
}

impl Default for Cursor {
    fn default() -> Self {
        Self::new()
    }
}

fn unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EINVAL | ENOTSUPP))
}

fn is(error: &io::Error, number: i32) -> bool {
    error.raw_os_error() == Some(number)
}

/// Rows as the kernel gives and takes them: keys one after the other, and values.
#[derive(Debug, Default)]
struct RawRows {
    keys: Vec<u8>,
    values: Vec<u8>,
    count: usize,
}

/// A map whose rows are bytes.
struct RawMap<'a> {
    handle: &'a MapHandle,
    key: usize,
    value: usize,
}

impl<'a> RawMap<'a> {
    fn new(handle: &'a MapHandle) -> Self {
        Self { handle, key: handle.key_size() as usize, value: handle.value_size() as usize }
    }

    /// The next rows; none when the cursor is finished.
    fn step(&self, cursor: &mut Cursor) -> io::Result<RawRows> {
        while !cursor.finished {
            if cursor.one_by_one {
                return self.step_one_by_one(cursor);
            }
            if let Some(rows) = self.step_batch(cursor)? {
                return Ok(rows);
            }
        }
        Ok(RawRows::default())
    }

    /// `None` if it is to be tried again.
    fn step_batch(&self, cursor: &mut Cursor) -> io::Result<Option<RawRows>> {
        let mut keys = vec![0; cursor.batch * self.key];
        let mut values = vec![0; cursor.batch * self.value];
        let mut next = vec![0; self.key.max(size_of::<u32>())];
        let (count, result) = raw::lookup_batch(
            self.handle.as_fd(),
            cursor.token.as_deref(),
            &mut next,
            &mut keys,
            &mut values,
            cursor.batch,
        );
        match result {
            Ok(()) => cursor.token = Some(next),
            Err(e) if is(&e, ENOENT) => cursor.finished = true,
            Err(e) if is(&e, EINTR) => return Ok(None),
            // One bucket holds more than the whole buffer.
            Err(e) if is(&e, ENOSPC) && cursor.batch < BATCH_MAX => {
                cursor.batch *= 2;
                return Ok(None);
            }
            Err(e) if unsupported(&e) && cursor.token.is_none() => {
                cursor.one_by_one = true;
                cursor.left = (self.handle.max_entries() as usize).saturating_mul(2);
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        keys.truncate(count * self.key);
        values.truncate(count * self.value);
        Ok(Some(RawRows { keys, values, count }))
    }

    fn step_one_by_one(&self, cursor: &mut Cursor) -> io::Result<RawRows> {
        let mut rows = RawRows::default();
        while rows.count < BATCH {
            let mut next = vec![0; self.key];
            match raw::next_key(self.handle.as_fd(), cursor.token.as_deref(), &mut next) {
                Ok(()) if cursor.left > 0 => cursor.left -= 1,
                Err(e) if !is(&e, ENOENT) => return Err(e),
                _ => {
                    cursor.finished = true;
                    break;
                }
            }
            let mut value = vec![0; self.value];
            match raw::lookup(self.handle.as_fd(), &next, &mut value) {
                Ok(()) => {
                    rows.keys.extend_from_slice(&next);
                    rows.values.append(&mut value);
                    rows.count += 1;
                }
                // It went since its key was read.
                Err(e) if is(&e, ENOENT) => {}
                Err(e) => return Err(e),
            }
            cursor.token = Some(next);
        }
        Ok(rows)
    }

    fn insert(&self, rows: &RawRows, index: usize, flags: u64) -> io::Result<()> {
        let key = &rows.keys[index * self.key..(index + 1) * self.key];
        let value = &rows.values[index * self.value..(index + 1) * self.value];
        raw::update(self.handle.as_fd(), key, value, flags)
    }

    /// Writes rows; tells which were refused. The others are written.
    fn insert_all(&self, rows: &RawRows, flags: u64, mut refused: impl FnMut(usize, io::Error)) {
        let mut at = 0;
        let mut alone = false;
        while at < rows.count {
            let mut error = None;
            if !alone {
                let count = (rows.count - at).min(BATCH);
                let (keys, values) = (&rows.keys[at * self.key..], &rows.values[at * self.value..]);
                let (done, result) = raw::update_batch(self.handle.as_fd(), keys, values, count, flags);
                at += done;
                error = result.err();
                alone = done == 0 && error.as_ref().is_some_and(unsupported);
            }
            // What a batch refuses for a reason of its own may pass alone.
            if (alone || error.is_some()) && at < rows.count {
                if let Err(error) = self.insert(rows, at, flags) {
                    refused(at, error);
                }
                at += 1;
            }
        }
    }

    /// Deletes rows; tells which were refused. A row that is not there is none of them.
    fn remove_all(&self, keys: &[u8], mut refused: impl FnMut(usize, io::Error)) {
        let count = keys.len() / self.key;
        let (mut at, mut alone) = (0, false);
        while at < count {
            let mut error = None;
            if !alone {
                let (done, result) =
                    raw::delete_batch(self.handle.as_fd(), &keys[at * self.key..], (count - at).min(BATCH));
                at += done;
                error = result.err();
                alone = done == 0 && error.as_ref().is_some_and(unsupported);
            }
            if (alone || error.is_some()) && at < count {
                match raw::delete(self.handle.as_fd(), &keys[at * self.key..(at + 1) * self.key]) {
                    Err(error) if !is(&error, ENOENT) => refused(at, error),
                    _ => {}
                }
                at += 1;
            }
        }
    }
}

/// Copies all rows of a map into another of the same layout; with [`WriteMode::New`] those that it has not.
/// Returns how many were written.
///
/// # Errors
/// [`MapError::Full`] if they do not fit, [`MapError::Refused`].
pub fn copy_rows(name: &str, from: &MapHandle, to: &MapHandle, mode: WriteMode) -> Result<usize, MapError> {
    let error = |action, e| MapError::new(action, name, to.max_entries(), e);
    let (from, to) = (RawMap::new(from), RawMap::new(to));
    let (mut cursor, mut written) = (Cursor::new(), 0);
    while !cursor.is_finished() {
        let rows = from.step(&mut cursor).map_err(|e| error("read", e))?;
        let mut refused = (0, None);
        to.insert_all(&rows, mode.flags(), |_, e| {
            refused.0 += 1;
            if !(mode == WriteMode::New && e.kind() == io::ErrorKind::AlreadyExists) {
                refused.1 = Some(e);
            }
        });
        if let Some(e) = refused.1 {
            return Err(error("copy rows to", e));
        }
        written += rows.count - refused.0;
    }
    Ok(written)
}

impl<K: Bytes, V: Bytes> BpfMap<K, V> {
    /// Reads the next rows, up to a few hundred. None are left when the cursor is finished.
    ///
    /// # Errors
    /// [`MapError::Refused`].
    pub fn step(&self, cursor: &mut Cursor) -> Result<Vec<(K, V)>, MapError> {
        let rows = RawMap::new(self.handle()).step(cursor).map_err(|e| self.error("read", e))?;
        let keys = rows.keys.chunks_exact(size_of::<K>()).filter_map(|key| K::read_from_bytes(key).ok());
        let values =
            rows.values.chunks_exact(size_of::<V>()).filter_map(|value| V::read_from_bytes(value).ok());
        Ok(keys.zip(values).collect())
    }

    /// All rows.
    ///
    /// # Errors
    /// [`MapError::Refused`].
    pub fn rows(&self) -> Result<Vec<(K, V)>, MapError> {
        let (mut rows, mut cursor) = (Vec::new(), Cursor::new());
        while !cursor.is_finished() {
            rows.append(&mut self.step(&mut cursor)?);
        }
        Ok(rows)
    }

    /// Writes rows, and returns what became of those that were refused. The others are written.
    pub fn insert_all(&self, rows: &[(K, V)]) -> Vec<(K, MapError)> {
        let raw = RawRows {
            keys: rows.iter().flat_map(|(key, _)| key.as_bytes().iter().copied()).collect(),
            values: rows.iter().flat_map(|(_, value)| value.as_bytes().iter().copied()).collect(),
            count: rows.len(),
        };
        let mut refused = Vec::new();
        RawMap::new(self.handle()).insert_all(&raw, WriteMode::Any.flags(), |index, e| {
            refused.push((rows[index].0, self.error("write to", e)));
        });
        refused
    }

    /// Deletes rows, and returns what became of those that were refused. A row that is not there is none of them.
    pub fn remove_all(&self, keys: &[K]) -> Vec<(K, MapError)> {
        let bytes: Vec<u8> = keys.iter().flat_map(|key| key.as_bytes().iter().copied()).collect();
        let mut refused = Vec::new();
        RawMap::new(self.handle()).remove_all(&bytes, |index, e| {
            refused.push((keys[index], self.error("delete from", e)));
        });
        refused
    }
}
