// SPDX-License-Identifier: Apache-2.0
//! The names of devices, kept for a moment: a name is asked for with each event.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::net::if_::if_indextoname;

/// How many names are kept; all are forgotten when there are more.
const CAPACITY: usize = 4096;
/// A device may be renamed: a CNI plugin does so right after it has made one.
const FRESH: Duration = Duration::from_secs(2);

/// Names of devices of the network namespace in which it is used.
#[derive(Debug, Default)]
pub struct InterfaceNames {
    known: HashMap<u32, (String, Instant)>,
}

impl InterfaceNames {
    /// Knows none yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name of a device, or its number if it has none any more.
    pub fn name(&mut self, index: u32) -> String {
        let now = Instant::now();
        if let Some((name, since)) = self.known.get(&index)
            && now.duration_since(*since) < FRESH
        {
            return name.clone();
        }
        let name = if_indextoname(index)
            .ok()
            .and_then(|name| name.into_string().ok())
            // Not every kernel refuses a number that no device has.
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| index.to_string());
        if self.known.len() >= CAPACITY {
            self.known.clear();
        }
        self.known.insert(index, (name.clone(), now));
        name
    }
}
