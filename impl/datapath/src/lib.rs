// SPDX-License-Identifier: Apache-2.0
//! Loads the programs, keeps the kernel's tables as they are desired, and cleans up after itself.

mod error;
pub mod loader;

pub use error::DatapathError;
