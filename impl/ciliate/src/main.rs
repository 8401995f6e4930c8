// SPDX-License-Identifier: Apache-2.0
//! The single binary. What it does follows from the name by which it is called, then from its first argument.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// What `ciliate --help` says beside the command line's own help.
const ROLES: &str = "\
This binary is the agent, the CNI plugin and the command line:

  ciliate agent [OPTIONS]   the agent; also under the name cilium-agent
  ciliate cni               the CNI plugin, called by a container runtime; also under the names cilium-cni and ciliate-cni
  ciliate COMMAND           the command line; also under the name cilium
";

/// What the binary is this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Agent,
    Cni,
    CommandLine,
}

/// The role, and its arguments: the first stays the name of the program. A runtime or a unit file that calls a copy or a
/// link by one of the old names gets what it expects.
fn role(mut arguments: Vec<OsString>) -> (Role, Vec<OsString>) {
    let name = arguments.first().and_then(|path| Path::new(path).file_name()?.to_str()).unwrap_or_default();
    let named = match name {
        "cilium-agent" => Some(Role::Agent),
        "cilium-cni" | "ciliate-cni" => Some(Role::Cni),
        "cilium" => Some(Role::CommandLine),
        _ => None,
    };
    if let Some(role) = named {
        return (role, arguments);
    }
    let role = match arguments.get(1).and_then(|first| first.to_str()) {
        Some("agent") => Role::Agent,
        Some("cni") => Role::Cni,
        _ => return (Role::CommandLine, arguments),
    };
    arguments.remove(1);
    (role, arguments)
}

/// Whether all roles are to be told: the binary is called by its own name and asked for help.
fn asks_for_roles(arguments: &[OsString]) -> bool {
    let name = arguments.first().and_then(|path| Path::new(path).file_name());
    let first = arguments.get(1).map(OsString::as_os_str);
    let help = |first: &OsStr| ["-h", "--help"].iter().any(|word| first == *word);
    name != Some(OsStr::new("cilium")) && first.is_some_and(help)
}

fn main() -> ExitCode {
    let (role, arguments) = role(std::env::args_os().collect());
    match role {
        Role::Agent => match agent::run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("ciliate agent: {error:#}");
                ExitCode::FAILURE
            }
        },
        Role::Cni => cni::run(),
        Role::CommandLine => {
            // Whoever has stopped reading (`| head`) has had enough.
            if asks_for_roles(&arguments) && writeln!(io::stdout(), "{ROLES}").is_err() {
                return ExitCode::SUCCESS;
            }
            cli::run(arguments)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> (Role, String) {
        let (role, rest) = role(line.split(' ').map(OsString::from).collect());
        (role, rest.join(OsStr::new(" ")).into_string().unwrap())
    }

    #[test]
    fn the_old_names_are_what_they_were() {
        for (line, role) in [
            ("/usr/bin/cilium-agent --debug", Role::Agent),
            ("/opt/cni/bin/cilium-cni", Role::Cni),
            ("ciliate-cni", Role::Cni),
            ("cilium status --brief", Role::CommandLine),
            // The command line's own business.
            ("cilium agent", Role::CommandLine),
        ] {
            assert_eq!(of(line), (role, line.into()));
        }
    }

    #[test]
    fn the_first_argument_says_it_under_any_other_name() {
        for (line, expected) in [
            ("/x/ciliate agent --debug", (Role::Agent, "/x/ciliate --debug")),
            ("ciliate cni", (Role::Cni, "ciliate")),
            ("renamed cni", (Role::Cni, "renamed")),
            ("ciliate status", (Role::CommandLine, "ciliate status")),
            ("ciliate", (Role::CommandLine, "ciliate")),
        ] {
            assert_eq!(of(line), (expected.0, expected.1.into()), "{line}");
        }
    }

    #[test]
    fn no_arguments_at_all_are_the_command_lines() {
        assert_eq!(role(Vec::new()), (Role::CommandLine, Vec::new()));
    }

    #[test]
    fn roles_are_told_to_who_asks_for_help_under_the_new_name() {
        for (line, told) in [
            ("ciliate --help", true),
            ("ciliate -h", true),
            ("cilium --help", false),
            ("ciliate status -h", false),
        ] {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(asks_for_roles(&arguments), told, "{line}");
        }
    }
}
