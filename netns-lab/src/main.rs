// SPDX-License-Identifier: Apache-2.0
//! The lab's own program.
fn main() {}
