// SPDX-License-Identifier: Apache-2.0
//! iptables rules and ipsets: fed to `iptables-restore` and `ipset restore` in a node's namespace.

pub mod calico;
pub mod flannel;
pub mod ipvs;
pub mod kube_proxy;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use netlink::{NetNs, NetNsError};

use crate::tool::{self, Finished, ToolError};

/// Programs that load iptables rules, the preferred one first: the legacy one is what a rule costs when the kernel walks
/// chains one by one, as the products do that are imitated here; on kernels without it, the nftables one takes over.
const IPTABLES: [&str; 2] = ["iptables-legacy-restore", "iptables-restore"];

/// How long loading a rule set may take: thousands of rules on an emulated machine are slow.
const DEADLINE: Duration = Duration::from_secs(120);

/// Why rules or sets could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The program is missing.
    #[error("{program} is not installed (apt install {package})")]
    NotInstalled {
        /// Its name.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// The program refused.
    #[error("{tool}: {complaint}{}", At(line))]
    Refused {
        /// Its name.
        tool: String,
        /// What it said.
        complaint: String,
        /// The line of input that it names, and its number from 1.
        line: Option<(usize, String)>,
    },
    /// The program could not be run, or hung.
    #[error(transparent)]
    Run(#[from] ToolError),
    /// The namespace.
    #[error(transparent)]
    NetNs(#[from] NetNsError),
    /// A virtual server.
    #[error("IPVS: {what}: {source}")]
    Ipvs {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

struct At<'a>(&'a Option<(usize, String)>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((number, line)) => write!(f, "; input line {number}: {line:?}"),
            None => Ok(()),
        }
    }
}

/// The program that loads iptables rules on this kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iptables {
    program: PathBuf,
}

impl Iptables {
    /// Finds the first one that can load an empty filter table, by trying in a namespace of its own.
    ///
    /// # Errors
    /// [`RulesError::NotInstalled`]; what the last one said when none can.
    pub fn find() -> Result<Self, RulesError> {
        let mut error = RulesError::NotInstalled { program: "iptables-restore", package: "iptables" };
        for program in IPTABLES.iter().filter_map(|name| tool::find(name)) {
            let found = Self { program };
            match found.restore(&NetNs::create_unnamed()?, None, "*filter\nCOMMIT\n") {
                Ok(()) => return Ok(found),
                Err(e) => error = e,
            }
        }
        Err(error)
    }

    /// Adds rules to those of a namespace. `lock` is the file that iptables locks instead of the machine's own.
    ///
    /// # Errors
    /// [`RulesError::Refused`] with the line that was refused.
    pub fn restore(&self, netns: &NetNs, lock: Option<&Path>, rules: &str) -> Result<(), RulesError> {
        let mut command = Command::new(&self.program);
        command.args(["--noflush", "--wait", "10"]);
        if let Some(lock) = lock {
            command.env("XTABLES_LOCKFILE", lock);
        }
        feed(netns, command, rules)
    }
}

/// Makes ipsets in a namespace.
///
/// # Errors
/// [`RulesError::NotInstalled`], [`RulesError::Refused`] with the line that was refused.
pub fn restore_ipsets(netns: &NetNs, sets: &str) -> Result<(), RulesError> {
    let program =
        tool::find("ipset").ok_or(RulesError::NotInstalled { program: "ipset", package: "ipset" })?;
    let mut command = Command::new(program);
    command.arg("restore");
    feed(netns, command, sets)
}

fn feed(netns: &NetNs, mut command: Command, input: &str) -> Result<(), RulesError> {
    // A child is born into the namespace of the thread that spawns it.
    let ran = netns.run(|| tool::run(&mut command, input.as_bytes(), DEADLINE))??;
    if ran.status.success() { Ok(()) } else { Err(refused(&command, &ran, input)) }
}

fn refused(command: &Command, ran: &Finished, input: &str) -> RulesError {
    let tool = Path::new(command.get_program()).file_name().unwrap_or_default();
    let complaint = ran.complaint();
    let line = line_number(&complaint)
        .and_then(|number| Some((number, input.lines().nth(number.checked_sub(1)?)?.to_owned())));
    let complaint = if complaint.is_empty() { ran.status.to_string() } else { complaint };
    RulesError::Refused { tool: tool.to_string_lossy().into_owned(), complaint, line }
}

/// The number in `line 7 failed`, `Error occurred at line: 7` and `Error in line 7:`.
fn line_number(complaint: &str) -> Option<usize> {
    complaint.match_indices("line").find_map(|(at, word)| {
        let rest = complaint[at + word.len()..].trim_start_matches([':', ' ']);
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().ok()
    })
}

/// Rules that no packet of a pair matches, at the head of FORWARD: a handicap. At most 254 addresses are told apart, the
/// cost of a rule does not depend on them.
pub fn handicap(rules: u32) -> String {
    let mut text = String::from("*filter\n");
    for rule in 0..rules {
        // TEST-NET-2 of RFC 5737: nobody's address.
        text.push_str(&format!("-I FORWARD 1 -s 198.51.100.{}/32 -j DROP\n", rule % 254 + 1));
    }
    text.push_str("COMMIT\n");
    text
}

/// A fixed permutation of 64-bit numbers (splitmix64), for names that look like the hashes in real rule sets.
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_line_is_found_in_what_each_program_says() {
        for (complaint, number) in [
            ("iptables-restore: line 12 failed", Some(12)),
            ("Couldn't load match `x':No such file or directory Error occurred at line: 2 Try", Some(2)),
            ("ipset v7.17: Error in line 3: Set cannot be created", Some(3)),
            ("unable to initialize table 'foo'", None),
            ("line", None),
            ("line 99999999999999999999999", None),
        ] {
            assert_eq!(line_number(complaint), number, "{complaint}");
        }
    }

    #[test]
    fn a_handicap_has_as_many_rules_as_asked_for() {
        let rules = handicap(300);
        assert_eq!(rules.lines().filter(|line| line.starts_with("-I FORWARD 1 -s 198.51.100.")).count(), 300);
        assert!(!rules.contains("198.51.100.0/") && !rules.contains("198.51.100.255/"));
        assert_eq!(handicap(0), "*filter\nCOMMIT\n");
    }

    /// Chains that rules jump to, and chains that are declared: the same, table by table.
    pub(super) fn assert_chains_are_declared(rules: &str) {
        for table in rules.split("COMMIT\n").filter(|table| !table.trim().is_empty()) {
            let declared: Vec<&str> =
                table.lines().filter_map(|l| l.strip_prefix(':')?.split(' ').next()).collect();
            let builtin = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
            let targets = ["ACCEPT", "DROP", "RETURN", "MARK", "MASQUERADE", "DNAT", "REJECT"];
            for rule in table.lines().filter(|l| l.starts_with("-A ")) {
                let words: Vec<&str> = rule.split(' ').collect();
                assert!(declared.contains(&words[1]) || builtin.contains(&words[1]), "{rule}");
                let jump = words.iter().position(|w| ["-j", "-g"].contains(w)).expect(rule);
                let target = words[jump + 1];
                assert!(declared.contains(&target) || targets.contains(&target), "{rule}");
                assert!(target.len() <= 28 && words[1].len() <= 28, "{rule}");
            }
            let mut unique = declared.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), declared.len(), "a chain is declared twice");
        }
    }
}
