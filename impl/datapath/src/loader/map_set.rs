// SPDX-License-Identifier: Apache-2.0
//! The maps that all programs share: made from the objects' definitions, pinned, and found again by the next agent.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use libbpf_rs::{MapCore, MapHandle, MapType};
use maps::{BpfMap, Bytes, MapError, WriteMode, copy_rows, names};

use super::program::{failed, is_internal, load_open, open, unpin};
use super::sizes::size_option;
use super::{HOST, Image, LXC, MapSizes, SOCK};
use crate::DatapathError;

/// What a new map's pin is called before it takes the place of an old one.
const NEXT: &str = "_next";

/// What must be equal for a map to be used as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    kind: MapType,
    key: u32,
    value: u32,
    capacity: u32,
    flags: u32,
}

impl Shape {
    fn of(handle: &MapHandle) -> libbpf_rs::Result<Self> {
        Ok(Self {
            kind: handle.map_type(),
            key: handle.key_size(),
            value: handle.value_size(),
            capacity: handle.max_entries(),
            flags: handle.info()?.info.map_flags,
        })
    }

    /// Whether rows of the other can be copied as they are.
    fn same_rows(&self, other: &Self) -> bool {
        (self.kind, self.key, self.value) == (other.kind, other.key, other.value)
    }

    fn describe(&self) -> String {
        format!("{:?}, {} bytes to {} bytes", self.kind, self.key, self.value)
    }
}

/// What to do with a map that is pinned already.
enum Found {
    /// Nothing is pinned.
    Absent,
    /// It is as it should be.
    Same(MapHandle),
    /// Its rows go into a new one that takes its place.
    Copy(MapHandle),
    /// A new one takes its place, and what it held is not missed.
    Replace,
}

/// The shared maps, by name.
#[derive(Debug)]
pub struct MapSet {
    handles: BTreeMap<String, MapHandle>,
    sizes: MapSizes,
    directory: Option<PathBuf>,
    superseded: Vec<(String, MapHandle)>,
    created: Vec<String>,
}

impl MapSet {
    /// Maps of this process's own, which end with it.
    ///
    /// # Errors
    /// [`DatapathError::Load`].
    pub fn private(sizes: MapSizes) -> Result<Self, DatapathError> {
        Self::make(sizes, None)
    }

    /// Maps pinned in a directory of a BPF file system: those that are there are used, others are made.
    /// One of another size is replaced by a copy; programs of the agent before go on with the old one until they are
    /// replaced, and [`MapSet::finish_migration`] fetches what they wrote.
    ///
    /// # Errors
    /// [`DatapathError::Layout`] for a map whose rows this version does not understand, [`DatapathError::Load`],
    /// [`DatapathError::File`].
    pub fn pinned(directory: &Path, sizes: MapSizes) -> Result<Self, DatapathError> {
        Self::make(sizes, Some(directory.to_owned()))
    }

    fn make(sizes: MapSizes, directory: Option<PathBuf>) -> Result<Self, DatapathError> {
        let mut set =
            Self { handles: BTreeMap::new(), sizes, directory, superseded: Vec::new(), created: Vec::new() };
        for image in [LXC, HOST].into_iter().chain(sizes.services.map(|_| SOCK)) {
            set.complete(image)?;
        }
        Ok(set)
    }

    /// Adds the maps that an object defines.
    fn complete(&mut self, image: Image) -> Result<(), DatapathError> {
        let mut open = open(image)?;
        let refused = |source| failed("define the maps of", image, source, String::new());
        for mut program in open.progs_mut() {
            program.set_autoload(false);
        }
        let mut copies = BTreeMap::new();
        for mut map in open.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            if is_internal(&name) {
                continue;
            }
            unpin(&mut map);
            self.sizes.apply(&mut map).map_err(refused)?;
            if !self.handles.contains_key(&name) {
                let shape = Shape {
                    kind: map.map_type(),
                    key: map.key_size(),
                    value: map.value_size(),
                    capacity: map.max_entries(),
                    flags: map.map_flags(),
                };
                match self.find(&name, &shape)? {
                    Found::Same(handle) => drop(self.handles.insert(name.clone(), handle)),
                    Found::Copy(handle) => drop(copies.insert(name.clone(), handle)),
                    Found::Absent | Found::Replace => {}
                }
            }
            if let Some(handle) = self.handles.get(&name) {
                map.reuse_fd(handle.as_fd()).map_err(refused)?;
            }
        }
        let loaded = load_open(image, open)?;
        for map in loaded.object().maps() {
            let name = map.name().to_string_lossy().into_owned();
            if is_internal(&name) || self.handles.contains_key(&name) {
                continue;
            }
            let handle = MapHandle::try_from(&map).map_err(refused)?;
            self.adopt(name.clone(), handle, copies.remove(&name))?;
        }
        Ok(())
    }

    /// What is pinned under this name.
    fn find(&self, name: &str, shape: &Shape) -> Result<Found, DatapathError> {
        let Some(directory) = &self.directory else { return Ok(Found::Absent) };
        let pin = directory.join(name);
        if !pin.try_exists().map_err(|source| file("look for", &pin, source))? {
            return Ok(Found::Absent);
        }
        let opened = |source| MapError::Open { path: pin.clone(), source };
        let handle = MapHandle::from_pinned_path(&pin).map_err(opened)?;
        let found = Shape::of(&handle).map_err(opened)?;
        Ok(if found == *shape {
            Found::Same(handle)
        } else if disposable(name) {
            Found::Replace
        } else if found.same_rows(shape) && found.kind != MapType::ArrayOfMaps {
            Found::Copy(handle)
        } else {
            return Err(DatapathError::Layout {
                path: pin,
                found: found.describe(),
                expected: shape.describe(),
            });
        })
    }

    /// Takes a map that was just made: fills it from the one before it, and pins it.
    fn adopt(
        &mut self,
        name: String,
        mut handle: MapHandle,
        old: Option<MapHandle>,
    ) -> Result<(), DatapathError> {
        if let Some(old) = old {
            copy_rows(&name, &old, &handle, WriteMode::Any).map_err(|error| too_small(&name, error))?;
            self.superseded.push((name.clone(), old));
        }
        if let Some(directory) = &self.directory {
            pin_in_place(&mut handle, &directory.join(&name))?;
        }
        self.created.push(name.clone());
        self.handles.insert(name, handle);
        Ok(())
    }

    /// When no program uses a superseded map any more: fetches the connections that were written to it meanwhile.
    ///
    /// # Errors
    /// [`DatapathError::Map`]; what was not copied is lost.
    pub fn finish_migration(&mut self) -> Result<usize, DatapathError> {
        let mut copied = 0;
        for (name, old) in std::mem::take(&mut self.superseded) {
            if old.map_type() == MapType::LruHash {
                copied += copy_rows(&name, &old, self.handle(&name)?, WriteMode::New)?;
            }
        }
        Ok(copied)
    }

    /// The names of the maps that were made, not found.
    pub fn created(&self) -> &[String] {
        &self.created
    }

    /// The sizes that they were made with.
    pub const fn sizes(&self) -> &MapSizes {
        &self.sizes
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &MapHandle)> {
        self.handles.iter().map(|(name, handle)| (name.as_str(), handle))
    }

    /// The map of this name.
    ///
    /// # Errors
    /// [`DatapathError::Object`] if no object defines it.
    pub fn handle(&self, name: &str) -> Result<&MapHandle, DatapathError> {
        self.handles
            .get(name)
            .ok_or_else(|| DatapathError::Object { object: "the datapath", what: format!("map {name}") })
    }

    /// The map of this name with rows of these types.
    ///
    /// # Errors
    /// As [`MapSet::handle`], and [`MapError::Layout`].
    pub fn typed<K: Bytes, V: Bytes>(&self, name: &str) -> Result<BpfMap<K, V>, DatapathError> {
        Ok(BpfMap::new(name, duplicate(name, self.handle(name)?)?)?)
    }
}

/// Another descriptor of the same map.
pub(crate) fn duplicate(name: &str, handle: &MapHandle) -> Result<MapHandle, DatapathError> {
    MapHandle::try_from(handle).map_err(|source| MapError::Open { path: name.into(), source }.into())
}

/// Pins a map, in the place of what is pinned there: at no time is there no map of this name.
pub(crate) fn pin_in_place(handle: &mut MapHandle, pin: &Path) -> Result<(), DatapathError> {
    let mut next = pin.as_os_str().to_owned();
    next.push(NEXT);
    let next = Path::new(&next);
    remove_if_there(next)?;
    handle.pin(next).map_err(|source| DatapathError::Attach {
        action: "pin map",
        hook: pin.display().to_string(),
        source,
        log: String::new(),
    })?;
    fs::rename(next, pin).map_err(|source| file("rename to", pin, source))
}

/// A table of services that would lose rows on which others build.
fn too_small(name: &str, error: MapError) -> DatapathError {
    match size_option(name) {
        Some(option) if error.is_full() => DatapathError::TooSmall { map: name.into(), option },
        _ => error.into(),
    }
}

/// What is not missed when it is lost: counters, events on their way, ports of datagrams in flight.
fn disposable(name: &str) -> bool {
    matches!(name, names::METRICS | names::EVENTS | names::FRAG4 | names::FRAG6 | names::RUNTIME)
}

pub(crate) fn file(action: &'static str, path: &Path, source: io::Error) -> DatapathError {
    DatapathError::File { action, path: path.into(), source }
}

/// Removes a pin that may not be there. False if it was not.
pub(crate) fn remove_if_there(path: &Path) -> Result<bool, DatapathError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(file("remove", path, e)),
    }
}
