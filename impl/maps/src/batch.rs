// SPDX-License-Identifier: Apache-2.0
//! Many rows at once: about four times faster than one by one, and one by one where a map cannot do it.

use std::io;
use std::os::fd::AsFd;

use crate::bpf_map::{BpfMap, Bytes};
use crate::{MapError, raw};

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

impl<K: Bytes, V: Bytes> BpfMap<K, V> {
    /// Reads the next rows, up to a few hundred. None are left when the cursor is finished.
    ///
    /// # Errors
    /// [`MapError::Refused`].
    pub fn step(&self, cursor: &mut Cursor) -> Result<Vec<(K, V)>, MapError> {
        while !cursor.finished {
            if cursor.one_by_one {
                return self.step_one_by_one(cursor);
            }
            if let Some(rows) = self.step_batch(cursor)? {
                return Ok(rows);
            }
        }
        Ok(Vec::new())
    }

    /// `None` if it is to be tried again.
    fn step_batch(&self, cursor: &mut Cursor) -> Result<Option<Vec<(K, V)>>, MapError> {
        let mut keys = vec![0; cursor.batch * size_of::<K>()];
        let mut values = vec![0; cursor.batch * size_of::<V>()];
        let mut next = vec![0; size_of::<K>().max(size_of::<u32>())];
        let (count, result) = raw::lookup_batch(
            self.handle().as_fd(),
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
                cursor.left = (self.capacity() as usize).saturating_mul(2);
                return Ok(None);
            }
            Err(e) => return Err(self.error("read", e)),
        }
        let keys = keys.chunks_exact(size_of::<K>()).filter_map(|key| K::read_from_bytes(key).ok());
        let values = values.chunks_exact(size_of::<V>()).filter_map(|value| V::read_from_bytes(value).ok());
        Ok(Some(keys.zip(values).take(count).collect()))
    }

    fn step_one_by_one(&self, cursor: &mut Cursor) -> Result<Vec<(K, V)>, MapError> {
        let mut rows = Vec::new();
        while rows.len() < BATCH {
            let mut next = vec![0; size_of::<K>()];
            match raw::next_key(self.handle().as_fd(), cursor.token.as_deref(), &mut next) {
                Ok(()) if cursor.left > 0 => cursor.left -= 1,
                Err(e) if !is(&e, ENOENT) => return Err(self.error("read", e)),
                _ => {
                    cursor.finished = true;
                    break;
                }
            }
            if let Ok(key) = K::read_from_bytes(&next)
                && let Some(value) = self.lookup(&key)?
            {
                rows.push((key, value));
            }
            cursor.token = Some(next);
        }
        Ok(rows)
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
        let mut refused = Vec::new();
        for rows in rows.chunks(BATCH) {
            self.insert_chunk(rows, &mut refused);
        }
        refused
    }

    fn insert_chunk(&self, mut rows: &[(K, V)], refused: &mut Vec<(K, MapError)>) {
        while !rows.is_empty() {
            let keys: Vec<u8> = rows.iter().flat_map(|(key, _)| key.as_bytes().to_vec()).collect();
            let values: Vec<u8> = rows.iter().flat_map(|(_, value)| value.as_bytes().to_vec()).collect();
            let (done, result) = raw::update_batch(self.handle().as_fd(), &keys, &values, rows.len(), 0);
            rows = &rows[done..];
            let (Err(error), Some(((key, value), rest))) = (result, rows.split_first()) else { continue };
            if unsupported(&error) && done == 0 {
                for (key, value) in rows {
                    if let Err(error) = self.insert(key, value) {
                        refused.push((*key, error));
                    }
                }
                return;
            }
            // What a batch refuses for a reason of its own may pass alone.
            if let Err(error) = self.insert(key, value) {
                refused.push((*key, error));
            }
            rows = rest;
        }
    }

    /// Deletes rows, and returns what became of those that were refused. A row that is not there is none of them.
    pub fn remove_all(&self, keys: &[K]) -> Vec<(K, MapError)> {
        let mut refused = Vec::new();
        for keys in keys.chunks(BATCH) {
            self.remove_chunk(keys, &mut refused);
        }
        refused
    }

    fn remove_chunk(&self, mut keys: &[K], refused: &mut Vec<(K, MapError)>) {
        while !keys.is_empty() {
            let bytes: Vec<u8> = keys.iter().flat_map(|key| key.as_bytes().to_vec()).collect();
            let (done, result) = raw::delete_batch(self.handle().as_fd(), &bytes, keys.len());
            keys = &keys[done..];
            let (Err(error), Some((key, rest))) = (result, keys.split_first()) else { continue };
            if unsupported(&error) && done == 0 {
                refused
                    .extend(keys.iter().filter_map(|key| self.remove(key).err().map(|error| (*key, error))));
                return;
            }
            if !is(&error, ENOENT)
                && let Err(error) = self.remove(key)
            {
                refused.push((*key, error));
            }
            keys = rest;
        }
    }
}
