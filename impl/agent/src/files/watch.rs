// SPDX-License-Identifier: Apache-2.0
//! The thread that waits for the directory to change.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use controlplane::{Event, SourceName};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::copies::Copies;
use super::directory::{Directory, Looked};

/// How long a directory that is gone is left alone, milliseconds.
const RETRY_MS: u16 = 1000;

/// A file that is complete, came or went. Not each write of it: half a file is no file.
const CHANGES: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);

/// Why a directory cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("--policy-dir: {action}: {source}")]
pub struct FilesError {
    action: &'static str,
    source: io::Error,
}

impl FilesError {
    fn of(action: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self { action, source: errno.into() }
    }
}

/// Watches a directory until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts; `tell` gets what the files hold, then that this was all, then each change. The last good text of each file
    /// is kept in `copies`. Services and their endpoints are left out unless they are wanted.
    ///
    /// # Errors
    /// [`FilesError`] when the kernel gives no watch.
    pub fn start(
        path: &Path,
        copies: &Path,
        services: bool,
        tell: impl Fn(Event) + Send + 'static,
    ) -> Result<Self, FilesError> {
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(FilesError::of("make an event"))?;
        let stop = Arc::new(stop);
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(FilesError::of("start inotify"))?;
        let copies = Copies::open(copies)
            .map_err(|source| FilesError { action: "make a directory for copies", source })?;
        let directory = Directory::new(path, copies, services);
        let mut watch = Watch { directory, inotify, watched: false, synced: false, tell };
        // Before the first scan, so that no change falls between the two.
        watch.attach();
        let stopped = stop.clone();
        let thread = thread::Builder::new()
            .name("files".into())
            .spawn(move || watch.run(&stopped))
            .map_err(|source| FilesError { action: "start a thread", source })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Watcher {
    /// Whether its thread has ended though nobody told it to.
    pub fn is_dead(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Err(error) = self.stop.write(1) {
            tracing::error!(%error, "the watcher of files cannot be stopped");
            return;
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the watcher of files had panicked");
        }
    }
}

/// What changed in the directory.
#[derive(Debug, PartialEq, Eq)]
enum Changed {
    /// These names.
    Names(BTreeSet<OsString>),
    /// Perhaps everything.
    Everything,
}

struct Watch<F> {
    directory: Directory,
    inotify: Inotify,
    watched: bool,
    /// Whether the directory was read at least once.
    synced: bool,
    tell: F,
}

impl<F: Fn(Event)> Watch<F> {
    fn run(mut self, stop: &EventFd) {
        self.scan();
        loop {
            let timeout = if self.watched && self.synced { PollTimeout::NONE } else { RETRY_MS.into() };
            let mut fds = [
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    let reason = format!("changes are not seen any more: {error}");
                    self.fail(reason);
                    return;
                }
            }
            if fds[0].any().unwrap_or(false) {
                return;
            }
            if (!self.watched && self.attach()) || !self.synced {
                self.scan();
            }
            match self.changes() {
                Changed::Everything => self.scan(),
                Changed::Names(names) => {
                    for name in &names {
                        let Looked { events, good } = self.directory.look(name);
                        events.into_iter().for_each(&self.tell);
                        self.directory.keep(name, good);
                    }
                }
            }
        }
    }

    /// Watches the directory. Status says it when that fails, and it is tried again.
    fn attach(&mut self) -> bool {
        match self.inotify.add_watch(self.directory.path(), CHANGES) {
            Ok(_) => self.watched = true,
            Err(error) => self.fail(format!("cannot be watched: {error}; what its files held stays")),
        }
        self.watched
    }

    fn scan(&mut self) {
        match self.directory.scan() {
            Ok(events) => {
                events.into_iter().for_each(&self.tell);
                // Not before: without its rules what they forbid would be open.
                if !std::mem::replace(&mut self.synced, true) {
                    (self.tell)(Event::SourceSynced(SourceName::Files));
                }
            }
            Err(error) => self.fail(format!("cannot be read: {error}; what its files held stays")),
        }
    }

    fn fail(&self, reason: String) {
        (self.tell)(Event::SourceFailed { file: self.directory.path().display().to_string(), reason });
    }

    /// What the kernel has told since it was last asked.
    fn changes(&mut self) -> Changed {
        let mut changed = Changed::Names(BTreeSet::new());
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return changed,
                Err(Errno::EINTR) => continue,
                Err(error) => {
                    self.fail(format!("changes cannot be read: {error}"));
                    return Changed::Everything;
                }
            };
            for event in events {
                let gone = AddWatchFlags::IN_DELETE_SELF
                    | AddWatchFlags::IN_MOVE_SELF
                    | AddWatchFlags::IN_UNMOUNT
                    | AddWatchFlags::IN_IGNORED;
                if event.mask.intersects(gone) && self.watched {
                    self.watched = false;
                    self.fail("is gone; what its files held stays until it is back".into());
                    continue;
                }
                if self.is_everything(&event) {
                    changed = Changed::Everything;
                }
                if let (Changed::Names(names), Some(name)) = (&mut changed, event.name)
                    && Directory::looks_at(&name)
                    && !(event.mask.contains(AddWatchFlags::IN_CREATE) && self.is_being_written(&name))
                {
                    names.insert(name);
                }
            }
        }
    }

    /// The kernel lost count, or the kubelet replaced all files of a mounted ConfigMap by one link, `..data`.
    fn is_everything(&self, event: &nix::sys::inotify::InotifyEvent) -> bool {
        let replaced = event.name.as_ref().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
        event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) || replaced
    }

    /// A file that was created is complete when it is closed; a link is complete at once.
    fn is_being_written(&self, name: &OsString) -> bool {
        let metadata = self.directory.path().join(name).symlink_metadata();
        metadata
            .is_ok_and(|metadata| metadata.is_file() && std::os::unix::fs::MetadataExt::nlink(&metadata) == 1)
    }
}
