// SPDX-License-Identifier: Apache-2.0
//! From the embedded objects to programs at their hooks.
//!
//! Objects live as long as it takes to attach their programs: afterwards the kernel holds the programs, and this process
//! the maps' descriptors alone.

mod attach;
mod log;
mod map_set;
mod program;
mod sizes;
mod sockets;

pub(crate) use attach::has_filter;
pub use attach::{AttachMethod, Hook, Side};
pub(crate) use log::listen;
pub use map_set::MapSet;
pub(crate) use map_set::{file, pin_in_place, remove_if_there};
pub use program::{Loaded, load_host, load_lxc, load_sock};
pub(crate) use sizes::size_option;
pub use sizes::{MapSizes, ServiceSizes};
pub use sockets::{attach_sockets, detach_sockets};

/// An object's image and what it is called in errors.
#[derive(Clone, Copy)]
struct Image {
    name: &'static str,
    bytes: &'static [u8],
}

const LXC: Image = Image { name: "bpf_lxc.o", bytes: bpf::LXC };
const HOST: Image = Image { name: "bpf_host.o", bytes: bpf::HOST };
const SOCK: Image = Image { name: "bpf_sock.o", bytes: bpf::SOCK };
