// SPDX-License-Identifier: Apache-2.0
//! Loading an object's programs, with their constants, on maps that are there.

use std::os::fd::AsFd;
use std::ptr;

use libbpf_rs::btf::types::{DataSec, Var};
use libbpf_rs::{
    AsRawLibbpf, Btf, ErrorExt, Object, ObjectBuilder, OpenMapMut, OpenObject, Program, libbpf_sys,
};
use maps::{HostConfig, LbConfig};
use zerocopy::{Immutable, IntoBytes};

use super::{HOST, Image, LXC, MapSet, SOCK, log};
use crate::DatapathError;

/// An object in the kernel. Its programs end with it, except for those that are attached.
#[derive(Debug)]
pub struct Loaded {
    object: Object,
    name: &'static str,
}

impl Loaded {
    /// The program of this name.
    ///
    /// # Errors
    /// [`DatapathError::Object`] if it has none.
    pub fn program(&self, name: &str) -> Result<Program<'_>, DatapathError> {
        self.object
            .progs()
            .find(|program| program.name() == name)
            .ok_or_else(|| DatapathError::Object { object: self.name, what: format!("program {name}") })
    }
}

/// Loads the program of the endpoints, `from_container`: one for all, that finds in `cilium_ep_config` which endpoint is
/// behind the device by which a packet comes.
///
/// # Errors
/// [`DatapathError::Load`] with the verifier's log.
pub fn load_lxc(maps: &MapSet, services: &LbConfig) -> Result<Loaded, DatapathError> {
    let mut open = open(LXC)?;
    set_constant(LXC, &mut open, "lb_config", services)?;
    use_maps(LXC, &mut open, maps)?;
    load_open(LXC, open)
}

/// Loads these programs of the node's devices: `from_host`, `from_netdev`, `to_netdev`.
///
/// # Errors
/// [`DatapathError::Load`] with the verifier's log.
pub fn load_host(
    maps: &MapSet,
    config: &HostConfig,
    services: &LbConfig,
    programs: &[&str],
) -> Result<Loaded, DatapathError> {
    let mut open = open(HOST)?;
    for mut program in open.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        program.set_autoload(programs.contains(&name.as_str()));
    }
    set_constant(HOST, &mut open, "host_config", config)?;
    set_constant(HOST, &mut open, "lb_config", services)?;
    use_maps(HOST, &mut open, maps)?;
    load_open(HOST, open)
}

/// Loads the programs at sockets.
///
/// # Errors
/// [`DatapathError::Load`] with the verifier's log.
pub fn load_sock(maps: &MapSet, services: &LbConfig) -> Result<Loaded, DatapathError> {
    let mut open = open(SOCK)?;
    set_constant(SOCK, &mut open, "lb_config", services)?;
    use_maps(SOCK, &mut open, maps)?;
    load_open(SOCK, open)
}

/// Writes a constant into `.rodata`.
fn set_constant<C: IntoBytes + Immutable>(
    image: Image,
    open: &mut OpenObject,
    constant: &str,
    value: &C,
) -> Result<(), DatapathError> {
    let offset = constant_offset(image, open, constant, size_of::<C>())?;
    let mut section = open
        .maps_mut()
        .find(|map| map.name().to_string_lossy().ends_with(".rodata"))
        .ok_or_else(|| missing(image, constant))?;
    section
        .initial_value_mut()
        .and_then(|bytes| bytes.get_mut(offset..offset + size_of::<C>()))
        .ok_or_else(|| missing(image, constant))?
        .copy_from_slice(value.as_bytes());
    Ok(())
}

/// Puts the shared maps in the place of those that the object defines.
fn use_maps(image: Image, open: &mut OpenObject, maps: &MapSet) -> Result<(), DatapathError> {
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if !is_internal(&name) {
            unpin(&mut map);
            map.reuse_fd(maps.handle(&name)?.as_fd())
                .map_err(|source| failed("use the maps of", image, source, String::new()))?;
        }
    }
    Ok(())
}

/// Parses an object.
pub(super) fn open(image: Image) -> Result<OpenObject, DatapathError> {
    let (open, said) = log::listen(|| ObjectBuilder::default().open_memory(image.bytes));
    open.map_err(|source| failed("open", image, source, said))
}

pub(super) fn load_open(image: Image, open: OpenObject) -> Result<Loaded, DatapathError> {
    let (loaded, said) = log::listen(|| open.load());
    match loaded {
        Ok(object) => Ok(Loaded { object, name: image.name }),
        Err(source) => Err(failed("load", image, source, said)),
    }
}

impl Loaded {
    pub(super) fn object(&self) -> &Object {
        &self.object
    }
}

pub(super) fn failed(
    action: &'static str,
    image: Image,
    source: libbpf_rs::Error,
    log: String,
) -> DatapathError {
    DatapathError::Load { action, object: image.name, source, log }
}

fn missing(image: Image, what: &str) -> DatapathError {
    DatapathError::Object { object: image.name, what: format!("constant {what} in .rodata") }
}

/// Sections of the object are maps to libbpf, with a dot in their names.
pub(super) fn is_internal(name: &str) -> bool {
    name.contains('.')
}

/// Takes away the path that the object says: where maps are pinned is this crate's to decide.
pub(super) fn unpin(map: &mut OpenMapMut<'_>) {
    // SAFETY: the object that owns the map is open; a null path takes the path away, which cannot fail.
    unsafe { libbpf_sys::bpf_map__set_pin_path(map.as_libbpf_object().as_ptr(), ptr::null()) };
}

/// Where in `.rodata` a constant stands, of the size of its twin.
fn constant_offset(
    image: Image,
    open: &OpenObject,
    constant: &str,
    size: usize,
) -> Result<usize, DatapathError> {
    // SAFETY: the object is open, and outlives the reference.
    let object = unsafe { open.as_libbpf_object().as_ref() };
    let btf = Btf::from_bpf_object(object)
        .and_then(|btf| btf.ok_or_else(|| libbpf_rs::Error::from_raw_os_error(2).context("it has no BTF")))
        .map_err(|source| failed("read the types of", image, source, String::new()))?;
    let section: DataSec<'_> = btf.type_by_name(".rodata").ok_or_else(|| missing(image, constant))?;
    section
        .iter()
        .find(|variable| {
            let named = btf
                .type_by_id::<Var<'_>>(variable.ty)
                .is_some_and(|var| var.name().is_some_and(|name| name == constant));
            named && variable.size == size
        })
        .map(|variable| variable.offset as usize)
        .ok_or_else(|| missing(image, constant))
}
