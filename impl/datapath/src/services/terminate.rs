// SPDX-License-Identifier: Apache-2.0
//! Connections to backends that have gone are ended, so that their owners connect anew instead of waiting for answers that
//! will not come.
//!
//! Only sockets are touched that were connected through a service: the programs have written down whom each of them was led
//! to. They are looked for in all network namespaces that this process can see, on a thread of its own: realization does not
//! wait for it.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use addr::Protocol;
use loadbalancer::BackendAddress;
use maps::{BpfMap, Bytes, Cursor, LbSocket4, LbSocket6, LbSocketKey4, LbSocketKey6, MapError, names};
use netlink::{ConnectedSocket, NetNs, NetlinkError, SocketDiag, SocketProtocol};

use crate::DatapathError;
use crate::loader::{MapSet, file};

/// Backends that wait at most. More at a time have gone only with the whole cluster.
const WAITING_MAX: usize = 65_536;
/// Namespaces that are looked through at most.
const NAMESPACES_MAX: usize = 4096;
/// Of this many parts of the time one is spent with looking: where backends change all the time, those of many changes are looked
/// for together.
const PARTS: u32 = 10;
/// Where named namespaces are.
const NAMED: &str = "/run/netns";

/// What became of connections to backends that went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketTotals {
    /// Sockets that were destroyed.
    pub destroyed: u64,
    /// Times that sockets were looked for.
    pub passes: u64,
    /// Sockets and namespaces with which it failed, and backends whose sockets were not looked for because too many waited.
    pub failures: u64,
    /// What failed last.
    pub last_error: Option<String>,
    /// The kernel was built without `INET_DIAG_DESTROY`: no socket is destroyed.
    pub unsupported: bool,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<BackendAddress>,
    closing: bool,
    totals: SocketTotals,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The backends that have gone, as soon as there are any; none when it is over.
    fn next(&self) -> Option<BTreeSet<BackendAddress>> {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.closing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (!state.closing).then(|| std::mem::take(&mut state.waiting))
    }

    /// Rests, unless it is over.
    fn pause(&self, time: Duration) {
        let goes_on = |state: &mut State| !state.closing;
        drop(self.changed.wait_timeout_while(self.lock(), time, goes_on));
    }

    fn failed(&self, error: &dyn std::fmt::Display) {
        let mut state = self.lock();
        state.totals.failures += 1;
        state.totals.last_error = Some(error.to_string());
    }
}

/// The thread that ends connections.
#[derive(Debug)]
pub struct Terminator {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Terminator {
    /// In the calling thread's network namespace.
    ///
    /// # Errors
    /// [`DatapathError`].
    pub fn start(maps: &MapSet) -> Result<Self, DatapathError> {
        let worker = Worker {
            shared: Arc::default(),
            sockets4: maps.typed(names::LB4_REVERSE_SK)?,
            sockets6: maps.typed(names::LB6_REVERSE_SK)?,
        };
        let shared = worker.shared.clone();
        let thread = thread::Builder::new()
            .name("sockets".into())
            .spawn(move || worker.run())
            .map_err(|e| file("start the thread that looks through", Path::new("/proc"), e))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// These backends are there no more.
    pub fn backends_went(&self, gone: impl Iterator<Item = BackendAddress>) {
        let mut state = self.shared.lock();
        for address in gone {
            if state.waiting.len() < WAITING_MAX {
                state.waiting.insert(address);
            } else {
                state.totals.failures += 1;
                state.totals.last_error = Some(format!("more than {WAITING_MAX} backends went at once"));
            }
        }
        self.shared.changed.notify_one();
    }

    /// This backend is there again.
    pub fn backend_came(&self, address: &BackendAddress) {
        self.shared.lock().waiting.remove(address);
    }

    /// What was done.
    pub fn totals(&self) -> SocketTotals {
        self.shared.lock().totals.clone()
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It ends after the namespace that it is in.
            let _ = thread.join();
        }
    }
}

/// Sockets by cookie, and whom they were led to.
type Led = HashSet<(u64, SocketAddr)>;

struct Worker {
    shared: Arc<Shared>,
    sockets4: BpfMap<LbSocketKey4, LbSocket4>,
    sockets6: BpfMap<LbSocketKey6, LbSocket6>,
}

impl Worker {
    fn run(self) {
        while let Some(gone) = self.shared.next() {
            let began = Instant::now();
            if let Err(error) = self.pass(&gone) {
                self.shared.failed(&error);
            }
            self.shared.lock().totals.passes += 1;
            self.shared.pause(began.elapsed() * (PARTS - 1));
        }
    }

    fn pass(&self, gone: &BTreeSet<BackendAddress>) -> Result<(), DatapathError> {
        let led = self.led_to(gone)?;
        if led.is_empty() || self.shared.lock().totals.unsupported {
            return Ok(());
        }
        for path in namespaces()? {
            let state = self.shared.lock();
            if state.closing || state.totals.unsupported {
                break;
            }
            drop(state);
            match self.look_through(&path, gone, &led) {
                // It may have ended since it was found, and its name be an empty file or gone.
                Err(_) if !is_namespace(&path) => {}
                Err(error) => self.shared.failed(&error),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// The sockets that programs led to these backends. Many have ended since.
    fn led_to(&self, gone: &BTreeSet<BackendAddress>) -> Result<Led, MapError> {
        let places: HashSet<SocketAddr> = gone.iter().map(BackendAddress::socket).collect();
        let mut led = Led::new();
        collect(
            &self.sockets4,
            |key| (key.cookie, SocketAddr::new(IpAddr::V4(key.addr.into()), key.port.get())),
            &places,
            &mut led,
        )?;
        collect(
            &self.sockets6,
            |key| {
                let octets: [u8; 16] = zerocopy::transmute!(key.addr);
                (key.cookie, SocketAddr::new(octets.into(), key.port.get()))
            },
            &places,
            &mut led,
        )?;
        Ok(led)
    }

    fn look_through(
        &self,
        namespace: &Path,
        gone: &BTreeSet<BackendAddress>,
        led: &Led,
    ) -> Result<(), NetlinkError> {
        let mut diag = SocketDiag::open(&NetNs::open(namespace)?)?;
        for (protocol, kind) in [(Protocol::Tcp, SocketProtocol::Tcp), (Protocol::Udp, SocketProtocol::Udp)] {
            let places: HashSet<SocketAddr> = gone
                .iter()
                .filter(|address| address.protocol == protocol)
                .map(BackendAddress::socket)
                .collect();
            if places.is_empty() {
                continue;
            }
            // The kernel leaves out what has another port.
            let mut ports = places.iter().map(SocketAddr::port);
            let port = ports.next().filter(|port| ports.all(|other| other == *port));
            // An IPv6 socket may speak IPv4.
            let ipv4 = places.iter().any(SocketAddr::is_ipv4);
            for ipv6 in [true].into_iter().chain(ipv4.then_some(false)) {
                let connected = match diag.connected(kind, ipv6, port) {
                    // Without a module for it, such sockets cannot be found.
                    Err(NetlinkError::Missing { .. }) => continue,
                    connected => connected?,
                };
                let lost = connected.iter().filter(|socket| {
                    places.contains(&socket.remote) && led.contains(&(socket.cookie, socket.remote))
                });
                for socket in lost {
                    self.destroy(&mut diag, socket)?;
                }
            }
        }
        Ok(())
    }

    fn destroy(&self, diag: &mut SocketDiag, socket: &ConnectedSocket) -> Result<(), NetlinkError> {
        let destroyed = diag.destroy(socket);
        let mut state = self.shared.lock();
        match destroyed {
            Ok(destroyed) => state.totals.destroyed += u64::from(destroyed),
            Err(error @ NetlinkError::Unsupported { .. }) => {
                state.totals.unsupported = true;
                state.totals.last_error = Some(error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn collect<K: Bytes, V: Bytes>(
    map: &BpfMap<K, V>,
    socket: impl Fn(&K) -> (u64, SocketAddr),
    places: &HashSet<SocketAddr>,
    led: &mut Led,
) -> Result<(), MapError> {
    let mut cursor = Cursor::new();
    while !cursor.is_finished() {
        let sockets = map.step(&mut cursor)?;
        led.extend(sockets.iter().map(|(key, _)| socket(key)).filter(|(_, to)| places.contains(to)));
    }
    Ok(())
}

/// The file that is a process's own network namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// Whether the path leads to a namespace: all of them are on one file system, on which nothing else is.
fn is_namespace(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    device(path).is_ok_and(|found| device(Path::new(OWN)).is_ok_and(|own| own == found))
}

/// A path to each network namespace: this thread's own first, those with a name, and those that some process is in.
fn namespaces() -> Result<Vec<PathBuf>, DatapathError> {
    let mut known = HashSet::new();
    let mut found = Vec::new();
    let mut add = |path: PathBuf| {
        // Whoever it belonged to may have ended since.
        let Ok(metadata) = fs::metadata(&path) else { return };
        if found.len() < NAMESPACES_MAX && known.insert((metadata.dev(), metadata.ino())) {
            found.push(path);
        }
    };
    add(OWN.into());
    if let Ok(entries) = fs::read_dir(NAMED) {
        // A name is an empty file before its namespace is mounted there.
        entries.flatten().map(|entry| entry.path()).filter(|path| is_namespace(path)).for_each(&mut add);
    }
    let proc = Path::new("/proc");
    for entry in fs::read_dir(proc).map_err(|e| file("read", proc, e))?.flatten() {
        if entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            add(entry.path().join("ns/net"));
        }
    }
    Ok(found)
}
