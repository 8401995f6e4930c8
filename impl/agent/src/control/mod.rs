// SPDX-License-Identifier: Apache-2.0
//! The thread that owns the control plane: the only one that changes what is desired.

mod handle;
mod notices;
mod owner;

pub use handle::{CONTROL_QUEUE, Control, Gone, Statistics};
pub use owner::{Parts, start};
