// SPDX-License-Identifier: Apache-2.0
//! The one entry to everything in this repository.
fn main() {}
