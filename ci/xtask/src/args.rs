// SPDX-License-Identifier: Apache-2.0
//! The command line of `cargo xtask`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Sets up, tests, benches and tidies this repository.
#[derive(Debug, Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true,
    after_help = "Examples:\n  \
        cargo xtask bench --quick --out out/quick   compare the datapaths on this kernel, write a report\n  \
        cargo xtask test                            all tests; as root, on a clean clone\n  \
        cargo xtask demo                            see a policy at work\n  \
        cargo xtask lab up bridge                   leave two pods standing to look at\n\n\
        What a command needs and this machine lacks is installed by apt when run as root on Debian or Ubuntu;\n\
        elsewhere the names of the packages are printed."
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compare container datapaths and write a report
    Bench(Bench),
    /// Put a topology up, list what is up, take all of it down
    #[command(subcommand)]
    Lab(Lab),
    /// Show the agent at work: two pods, a policy, what is allowed and what is dropped; takes under a minute
    Demo(Demo),
    /// Run the scenarios: real packets, expected to be allowed, refused or dropped
    Scenarios(Scenarios),
    /// Write reports/coverage.md from what the scenarios say they cover
    Coverage(Coverage),
    /// Show that runs in virtual time are identical and that the gate tells a slowed subject from an unchanged one
    GateProof(GateProof),
    /// Run every check and test, and say what ran
    Test(Test),
    /// Check dependency arrows, licence lines, module docs, names and test habits
    Tidy,
}

/// Compare container datapaths and write a report.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Bench {
    /// Arguments of the suite; `cargo xtask bench --help` shows them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub args: Vec<OsString>,
}

/// Put a topology up, list what is up, take all of it down.
#[derive(Debug, PartialEq, Eq, Subcommand)]
#[command(
    after_help = "Examples:\n  cargo xtask lab subjects\n  cargo xtask lab up bridge\n  cargo xtask lab clean"
)]
pub enum Lab {
    /// Build a subject and leave it standing, with hints how to enter its pods
    Up {
        /// One of `cargo xtask lab subjects`
        subject: String,
    },
    /// List what the lab has left standing
    Ls,
    /// Remove what `up` and killed runs have left: what carries the lab's name, and nothing else
    Clean {
        /// Labs in use, too
        #[arg(long)]
        all: bool,
        /// Only these, of those that `ls` lists
        #[arg(value_name = "LAB")]
        labs: Vec<String>,
    },
    /// List the subjects and what a packet passes in each
    Subjects,
}

/// Show the agent at work. Everything is taken down again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask demo\n  cargo xtask demo --policy my-policy.yaml")]
pub struct Demo {
    /// A file of CiliumNetworkPolicies or NetworkPolicies in place of the built-in one; the pods have the labels
    /// app=client and app=server and the namespace default
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Run the scenarios.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask scenarios\n  cargo xtask scenarios reachability/udp\n  \
    cargo xtask scenarios bridge\n  cargo xtask scenarios --vm 6.1 ciliate-veth\n  cargo xtask scenarios --list")]
pub struct Scenarios {
    /// Run only those whose path or subject contains one of these words
    #[arg(value_name = "FILTER")]
    pub filters: Vec<String>,
    /// List what would run, and run nothing (no root needed)
    #[arg(long)]
    pub list: bool,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
    /// Run them in a virtual machine with this kernel
    #[arg(long, value_name = "SERIES", value_parser = KERNELS)]
    pub vm: Option<String>,
}

/// Write reports/coverage.md.
#[derive(Debug, clap::Args)]
pub struct Coverage {
    /// Change nothing; fail when the file is not what would be written
    #[arg(long)]
    pub check: bool,
}

/// Show that the regression gate can be trusted.
#[derive(Debug, clap::Args)]
pub struct GateProof {
    /// How often each way, on each kernel
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub times: u32,
    /// Kernels separated by commas
    #[arg(long, value_name = "SERIES,…", value_delimiter = ',', default_values = KERNELS, value_parser = KERNELS)]
    pub kernels: Vec<String>,
}

/// Kernels that the virtual machine runs.
pub const KERNELS: [&str; 2] = ["6.1", "6.12"];

/// Run every check and test.
#[derive(Debug, clap::Args)]
pub struct Test {
    /// Only what needs neither root nor a lab: formatting, lints, tidy, tests
    #[arg(long)]
    pub fast: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Command, clap::Error> {
        Args::try_parse_from([&["xtask"], args].concat()).map(|a| a.command)
    }

    #[test]
    fn bench_passes_every_argument_on_untouched() {
        let Ok(Command::Bench(bench)) = parse(&["bench", "--quick", "--out", "x y", "-h", "--", "--help"])
        else {
            panic!("not parsed as bench")
        };
        assert_eq!(bench.args, ["--quick", "--out", "x y", "-h", "--", "--help"]);
    }

    #[test]
    fn an_unknown_command_is_refused_with_a_suggestion() {
        let error = parse(&["bnech"]).expect_err("accepted");
        assert!(error.to_string().contains("'bench'"), "{error}");
    }

    #[test]
    fn lab_up_without_a_subject_is_refused() {
        assert!(parse(&["lab", "up"]).is_err());
        assert!(
            matches!(parse(&["lab", "up", "bridge"]), Ok(Command::Lab(Lab::Up { subject })) if subject == "bridge")
        );
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
