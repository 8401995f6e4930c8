// SPDX-License-Identifier: Apache-2.0
//! A file of manifests that is written again and again while something else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::agent::{Manifest, Writer};

/// How much longer than asked for the changes may take, before they are said to have been too few in their time.
const LATE: u32 = 3;
/// And at least.
const LEAST: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);

/// Changes that go on until it is dropped.
#[derive(Debug)]
pub(super) struct Changing {
    shared: Arc<Shared>,
    per_second: u32,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    changes: AtomicU32,
    failed: Mutex<Option<String>>,
}

impl Shared {
    fn failed(&self) -> MutexGuard<'_, Option<String>> {
        self.failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Changing {
    /// Writes these texts in turn to the file of this name, so often each second, for every agent.
    pub(super) fn start(writers: Vec<Writer>, file: &str, per_second: u32, texts: Vec<String>) -> Self {
        let shared = Arc::new(Shared::default());
        let (for_thread, file) = (Arc::clone(&shared), file.to_owned());
        let thread = thread::spawn(move || {
            let begin = Instant::now();
            for (number, text) in (0_u32..).zip(texts.iter().cycle()) {
                // By the clock, so that a late one is made up for by the next.
                let due = begin + Duration::from_secs(number.into()) / per_second;
                while Instant::now() < due {
                    if for_thread.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    thread::sleep(
                        due.saturating_duration_since(Instant::now()).min(Duration::from_millis(10)),
                    );
                }
                if for_thread.stop.load(Ordering::Relaxed) {
                    return;
                }
                let manifest = Manifest { name: &file, text };
                if let Err(e) = writers.iter().try_for_each(|writer| writer.put(&manifest)) {
                    *for_thread.failed() = Some(e.to_string());
                    return;
                }
                for_thread.changes.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { shared, per_second, thread: Some(thread) }
    }

    /// Ends it once so many changes have been made.
    ///
    /// # Errors
    /// In words, when they cannot be made, or not in time.
    pub(super) fn stop(self, changes: u32) -> Result<(), String> {
        let end = Instant::now() + LEAST.max(Duration::from_secs(changes.into()) / self.per_second * LATE);
        loop {
            if let Some(failed) = &*self.shared.failed() {
                return Err(failed.clone());
            }
            let made = self.shared.changes.load(Ordering::Relaxed);
            if made >= changes {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(format!("only {made} of {changes} changes were made"));
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("netns-lab: a thread that changes manifests panicked");
        }
    }
}
