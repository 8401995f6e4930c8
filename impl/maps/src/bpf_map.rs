// SPDX-License-Identifier: Apache-2.0
//! A map with rows of known types.

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::path::Path;

use libbpf_rs::{MapCore, MapHandle};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{MapError, raw};

/// What lies in a map: bytes that mean something whatever they are, without padding.
pub trait Bytes: FromBytes + IntoBytes + Immutable + KnownLayout + Copy {}

impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Copy> Bytes for T {}

/// Which rows a write may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// New and old.
    Any,
    /// New ones only.
    New,
    /// Old ones only.
    Existing,
}

impl WriteMode {
    pub(crate) const fn flags(self) -> u64 {
        match self {
            Self::Any => 0,
            Self::New => 1,
            Self::Existing => 2,
        }
    }
}

/// A map whose keys are `K` and whose values are `V`.
#[derive(Debug)]
pub struct BpfMap<K, V> {
    name: String,
    handle: MapHandle,
    rows: PhantomData<fn(K) -> V>,
}

impl<K: Bytes, V: Bytes> BpfMap<K, V> {
    /// The map behind a handle, with the name that it is to have in errors: the kernel keeps 15 bytes of it.
    ///
    /// # Errors
    /// [`MapError::Layout`] if its rows are of other sizes, [`MapError::PerCpu`] if they have many values.
    pub fn new(name: impl Into<String>, handle: MapHandle) -> Result<Self, MapError> {
        let name = name.into();
        // The kernel would write a value for each CPU where there is room for one.
        if handle.map_type().is_percpu() {
            return Err(MapError::PerCpu { map: name });
        }
        // Sizes of our own structs, a few dozen bytes.
        let (key, value) = (size_of::<K>() as u32, size_of::<V>() as u32);
        if (handle.key_size(), handle.value_size()) == (key, value) {
            return Ok(Self { name, handle, rows: PhantomData });
        }
        Err(MapError::Layout {
            map: name,
            key,
            value,
            found_key: handle.key_size(),
            found_value: handle.value_size(),
        })
    }

    /// The map that is pinned there.
    ///
    /// # Errors
    /// [`MapError::Open`], [`MapError::Layout`], [`MapError::PerCpu`].
    pub fn open(pin: &Path) -> Result<Self, MapError> {
        let name = pin.file_name().unwrap_or_default().to_string_lossy();
        Self::new(name, open_handle(pin)?)
    }

    /// What libbpf knows it by.
    pub const fn handle(&self) -> &MapHandle {
        &self.handle
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many rows it can hold.
    pub fn capacity(&self) -> u32 {
        self.handle.max_entries()
    }

    pub(crate) fn error(&self, action: &'static str, source: io::Error) -> MapError {
        MapError::new(action, &self.name, self.capacity(), source)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`MapError::Refused`].
    pub fn lookup(&self, key: &K) -> Result<Option<V>, MapError> {
        let mut value = V::new_zeroed();
        match raw::lookup(self.handle.as_fd(), key.as_bytes(), value.as_mut_bytes()) {
            Ok(()) => Ok(Some(value)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.error("look up in", e)),
        }
    }

    /// Writes a row.
    ///
    /// # Errors
    /// [`MapError::Full`], [`MapError::Refused`].
    pub fn insert(&self, key: &K, value: &V) -> Result<(), MapError> {
        self.write(key, value, WriteMode::Any)
    }

    /// Writes a row if its mode allows it.
    ///
    /// # Errors
    /// [`MapError::Full`]; [`MapError::Refused`] also when the mode does not allow it.
    pub fn write(&self, key: &K, value: &V, mode: WriteMode) -> Result<(), MapError> {
        raw::update(self.handle.as_fd(), key.as_bytes(), value.as_bytes(), mode.flags())
            .map_err(|e| self.error("write to", e))
    }

    /// Deletes a row. False if it was not there.
    ///
    /// # Errors
    /// [`MapError::Refused`].
    pub fn remove(&self, key: &K) -> Result<bool, MapError> {
        match raw::delete(self.handle.as_fd(), key.as_bytes()) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(self.error("delete from", e)),
        }
    }
}

/// The handle of what is pinned there.
pub(crate) fn open_handle(pin: &Path) -> Result<MapHandle, MapError> {
    // A path from a flag: libbpf-rs panics if it holds a NUL byte.
    if pin.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(MapError::Open {
            path: pin.into(),
            source: io::Error::from(io::ErrorKind::InvalidInput).into(),
        });
    }
    MapHandle::from_pinned_path(pin).map_err(|source| MapError::Open { path: pin.into(), source })
}
