// SPDX-License-Identifier: Apache-2.0
//! What the agent does not start with: one line that names the flag.

use std::process::{Command, Output};

fn agent(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ciliate"));
    command.arg("agent").args(arguments).envs(variables.iter().copied());
    command.output().expect("run the agent")
}

#[test]
fn what_is_not_there_or_makes_no_sense_ends_the_agent_with_one_line() {
    for (arguments, variables, parts) in [
        (&["--tunnel=vxlan"][..], &[][..], &["--tunnel", "vxlan", "disabled"][..]),
        (&["--enable-ipsec"], &[], &["--enable-ipsec"]),
        (&["--sockops-enable"], &[], &["--sockops-enable"]),
        (&[], &[("CILIUM_KVSTORE", "etcd")], &["CILIUM_KVSTORE"]),
        (&["--no-such-flag"], &[], &["--no-such-flag"]),
        (&["--ipv4-range=10.0.0.0/99"], &[], &["--ipv4-range", "prefix"]),
        (&["--enable-ipv4=false", "--enable-ipv6=false"], &[], &["--enable-ipv4", "--enable-ipv6"]),
    ] {
        let output = agent(arguments, variables);
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{arguments:?}: {output:?}",
            output = output.status
        );
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in parts {
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    }
}

#[test]
fn help_names_the_flags_and_succeeds() {
    let output = agent(&["--help"], &[]);
    let help = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success());
    for flag in ["--policy-dir", "--ipv4-range", "--config-dir", "--prometheus-serve-addr"] {
        assert!(help.contains(flag), "{flag}");
    }
}
