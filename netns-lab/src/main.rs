// SPDX-License-Identifier: Apache-2.0
//! The lab's own program.
fn main() {
    netns_lab::vm::dispatch_guest();
}
