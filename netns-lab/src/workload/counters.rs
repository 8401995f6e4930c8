// SPDX-License-Identifier: Apache-2.0
//! The kernel's own counters around a phase: context switches of threads, retransmissions of namespaces.

use std::fs;
use std::io;
use std::os::fd::AsFd;

use netlink::{NetNs, NetNsError};
use nix::sys::stat::fstat;

/// Why a counter cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    /// The namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NetNsError),
    /// The file cannot be read.
    #[error("read /proc/thread-self/net/snmp: {0}")]
    Read(io::Error),
    /// The file is not what is known.
    #[error("/proc/thread-self/net/snmp has no Tcp RetransSegs")]
    Format,
    /// The namespace cannot be told from others.
    #[error("identify a network namespace: {0}")]
    Identity(io::Error),
}

/// What tells one namespace from another, whatever path it was opened by.
///
/// # Errors
/// [`CounterError::Identity`].
pub fn network_id(namespace: &NetNs) -> Result<(u64, u64), CounterError> {
    let stat = fstat(namespace.as_fd()).map_err(|e| CounterError::Identity(e.into()))?;
    Ok((stat.st_dev, stat.st_ino))
}

/// TCP segments that a namespace has sent again since it was made.
///
/// # Errors
/// Any other [`CounterError`].
pub fn retransmitted_segments(namespace: &NetNs) -> Result<u64, CounterError> {
    // The thread's own file: /proc/self would be the main thread's namespace.
    let text = namespace.run(|| fs::read_to_string("/proc/thread-self/net/snmp"))?;
    parse_retransmitted(&text.map_err(CounterError::Read)?).ok_or(CounterError::Format)
}

fn parse_retransmitted(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let column = names.split_whitespace().position(|name| name == "RetransSegs")?;
    values.split_whitespace().nth(column)?.parse().ok()
}

/// Context switches of a thread, voluntary and not; `None` when it is gone.
pub fn thread_switches(process: u32, thread: i32) -> Option<u64> {
    parse_switches(&fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).ok()?)
}

fn parse_switches(status: &str) -> Option<u64> {
    let count =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    Some(count("voluntary_ctxt_switches:")? + count("nonvoluntary_ctxt_switches:")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retransmissions_are_found_by_the_columns_name() {
        let text = "Ip: A B\nIp: 1 2\nTcp: InSegs RetransSegs InErrs\nTcp: 7 42 -1\nUdp: X\nUdp: 3\n";
        assert_eq!(parse_retransmitted(text), Some(42));
        assert_eq!(parse_retransmitted("Tcp: InSegs\nTcp: 7\n"), None);
        assert_eq!(parse_retransmitted(""), None);
    }

    #[test]
    fn both_kinds_of_context_switches_are_added() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(parse_switches(status), Some(7));
        assert_eq!(parse_switches("Name:\tx\n"), None);
    }
}
