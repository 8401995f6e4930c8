// SPDX-License-Identifier: Apache-2.0
//! The guest's end of the virtio-serial port.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::message::{Message, PORT_NAME};

const PORTS: &str = "/sys/class/virtio-ports";

/// How long the port may take to appear after its driver is loaded.
const APPEARS_WITHIN: Duration = Duration::from_secs(10);

/// The port, open for writing. Only one process can have it open at a time.
#[derive(Debug)]
pub struct GuestPort(File);

impl GuestPort {
    /// Waits for the port and opens it.
    ///
    /// # Errors
    /// When there is no such port, or it is open elsewhere.
    pub fn open() -> io::Result<Self> {
        let started = Instant::now();
        loop {
            if let Some(device) = find()? {
                return File::options().write(true).open(Path::new("/dev").join(device)).map(Self);
            }
            if started.elapsed() > APPEARS_WITHIN {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("no virtio port named {PORT_NAME}"),
                ));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Writes one line.
    ///
    /// # Errors
    /// Those of the device.
    pub fn send(&mut self, message: &Message) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

fn find() -> io::Result<Option<std::ffi::OsString>> {
    let entries = match fs::read_dir(PORTS) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("name"))?.trim() == PORT_NAME {
            return Ok(Some(entry.file_name()));
        }
    }
    Ok(None)
}
