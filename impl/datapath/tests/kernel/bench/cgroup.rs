// SPDX-License-Identifier: Apache-2.0
//! A control group for threads of this process: a socket is of the group that the thread was in which made it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use datapath::cgroup::find_or_mount;

/// A control group. It ends with this value.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// An empty one, below the group that this process is in.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let root = find_or_mount(None).unwrap();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own =
            own.lines().find_map(|line| line.strip_prefix("0::/")).expect("a group of the second version");
        let name = format!("ciliate-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = root.join(own).join(name);
        fs::create_dir(&path).unwrap();
        let group = Self(path);
        fs::write(group.0.join("cgroup.type"), "threaded").unwrap();
        group
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Moves the calling thread into it.
    pub fn join(&self) {
        fs::write(self.0.join("cgroup.threads"), "0").unwrap();
    }

    /// How many links are attached to it.
    pub fn links(&self) -> usize {
        let id = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&self.0).unwrap());
        let links = libbpf_rs::query::LinkInfoIter::default();
        links
            .filter(|link| {
                matches!(&link.info, libbpf_rs::query::LinkTypeInfo::Cgroup(info) if info.cgroup_id == id)
            })
            .count()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A thread that has ended may be in it for a moment longer.
        let deadline = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&self.0).is_err() && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }
}
