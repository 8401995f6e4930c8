// SPDX-License-Identifier: Apache-2.0
//! What libbpf says while it works, the verifier's log above all: kept for the error that follows, not printed.

use std::cell::RefCell;
use std::sync::Once;

use libbpf_rs::{PrintLevel, set_print};

/// The verifier's verdict is at the end.
const KEPT_BYTES: usize = 16 << 10;

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

fn keep(_level: PrintLevel, message: String) {
    SAID.with_borrow_mut(|said| {
        said.push_str(&message);
        if let Some(mut cut) = said.len().checked_sub(KEPT_BYTES) {
            while !said.is_char_boundary(cut) {
                cut += 1;
            }
            said.drain(..cut);
        }
    });
}

/// Runs one operation of libbpf. Returns what it answers, and what it said on this thread.
pub fn listen<T>(operation: impl FnOnce() -> T) -> (T, String) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        set_print(Some((PrintLevel::Warn, keep)));
    });
    SAID.with_borrow_mut(String::clear);
    let answer = operation();
    (answer, SAID.take())
}
