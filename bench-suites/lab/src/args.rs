// SPDX-License-Identifier: Apache-2.0
//! What can be asked of the end-to-end suite, checked before anything is installed, built or measured.

use std::path::PathBuf;

use clap::{ArgGroup, Parser, ValueEnum};
use netns_lab::plan::{Handicap, Placement, WorkloadKind};

/// Compare container datapaths on a real kernel and write a report.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "cargo xtask bench",
    bin_name = "cargo xtask bench",
    max_term_width = 110,
    group = ArgGroup::new("size").args(["quick", "smoke", "rounds"]),
    after_help = "Examples:\n  \
        cargo xtask bench --quick --out out/first        everything, in a few minutes\n  \
        cargo xtask bench --subjects veth,bridge         two subjects (and `routed`, the baseline)\n  \
        cargo xtask bench --suite services               new connections against the number of services\n  \
        cargo xtask bench --executor vm --vm-kernel 6.1  all subjects on another kernel, in virtual time\n  \
        cargo xtask bench --gate reports/baselines/vm-6.12-virtual.json\n  \
        cargo xtask bench --from out/first/samples.json  the report again, from its samples"
)]
pub struct Args {
    /// Few rounds: a first look; intervals are about twice as wide as in the default run
    #[arg(long)]
    pub quick: bool,
    /// A handful of rounds: shows that everything works, its figures mean nothing
    #[arg(long)]
    pub smoke: bool,
    /// Recorded rounds per workload and placement, in place of the suite's own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rounds: Option<u32>,
    /// Directory of the report; its four files are replaced
    #[arg(long, value_name = "DIR", default_value = "out/bench")]
    pub out: PathBuf,
    /// Subjects, or series of them such as `calico-like`, separated by commas [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub subjects: Vec<String>,
    /// Subjects and workloads that belong together, in place of all [services: TCP_CRR to a ClusterIP]
    #[arg(long, value_enum, conflicts_with_all = ["subjects", "gate", "from"])]
    pub suite: Option<Suite>,
    /// Workloads separated by commas: tcp_rr, tcp_crr, tcp_stream, udp_rr [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = workload)]
    pub workloads: Vec<WorkloadKind>,
    /// Both ends on one core, on two, or each in turn: 1, 2 or 1,2 [default: 1,2; in the VM's virtual time: 1]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = placement)]
    pub cores: Vec<Placement>,
    /// Bytes of a request in TCP_RR, TCP_CRR and UDP_RR
    #[arg(long, value_name = "BYTES", default_value_t = 1)]
    pub request_bytes: u32,
    /// Bytes of a response in TCP_RR, TCP_CRR and UDP_RR
    #[arg(long, value_name = "BYTES", default_value_t = 1)]
    pub response_bytes: u32,
    /// Connections driven at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub connections: u16,
    /// Where subjects run
    #[arg(long, value_enum, default_value_t = ExecutorChoice::Auto)]
    pub executor: ExecutorChoice,
    /// What a nanosecond is in the VM
    #[arg(long, value_enum, default_value_t = VmTimeChoice::Virtual)]
    pub vm_time: VmTimeChoice,
    /// Kernels of the VM separated by commas: 6.1, 6.12 [default: 6.12]
    #[arg(long, value_name = "SERIES,…", value_delimiter = ',', value_parser = ["6.1", "6.12"])]
    pub vm_kernel: Vec<String>,
    /// Boots of the VM in virtual time, each with other random numbers of its kernel's, pooled as one run [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub seeds: Option<u32>,
    /// Compare with this baseline and fail on a regression; what is run is taken from the baseline
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "suite", "subjects", "workloads", "cores", "quick", "smoke", "rounds", "executor", "vm_time", "vm_kernel", "seeds"])]
    pub gate: Option<PathBuf>,
    /// Write this run's ratios as the new baseline
    #[arg(long, value_name = "FILE", conflicts_with_all = ["gate", "from", "handicap"])]
    pub update_baseline: Option<PathBuf>,
    /// Slow a subject, to see the gate trip: one with our agent by so many instructions for each packet, another by so
    /// many iptables rules
    #[arg(long, value_name = "SUBJECT=AMOUNT", value_parser = handicap, conflicts_with = "from")]
    pub handicap: Option<Handicap>,
    /// Leave out the comparison of the generator with netperf
    #[arg(long)]
    pub no_netperf: bool,
    /// Render the report of these samples again and measure nothing
    #[arg(long, value_name = "SAMPLES.JSON")]
    pub from: Option<PathBuf>,
    /// Print what this run needs of the machine, one word a line, and stop
    #[arg(long, hide = true)]
    pub print_needs: bool,
}

/// Subjects and workloads that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// New connections to a ClusterIP against the number of services, and what services cost our agent besides
    Services,
}

impl Suite {
    /// Its subjects, and series of them: the direct row by the same agent is one of them.
    fn subjects(self) -> &'static [&'static str] {
        match self {
            Self::Services => &[
                "ciliate-veth",
                "ciliate-service",
                "ciliate-service-packet",
                "kube-proxy-like",
                "kube-proxy-ipvs-like",
            ],
        }
    }

    fn workloads(self) -> &'static [WorkloadKind] {
        match self {
            Self::Services => &[WorkloadKind::TcpCrr],
        }
    }
}

impl Args {
    /// With the subjects of the suite that is asked for, and its workloads where none are named.
    pub fn with_suite(mut self) -> Self {
        let Some(suite) = self.suite else { return self };
        self.subjects = suite.subjects().iter().map(|subject| (*subject).into()).collect();
        if self.workloads.is_empty() {
            self.workloads = suite.workloads().to_vec();
        }
        self
    }
}

/// Where subjects run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExecutorChoice {
    /// On this kernel; in the VM what this kernel cannot run
    Auto,
    /// On this kernel only
    Host,
    /// In the VM only
    Vm,
}

/// What a nanosecond is in the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VmTimeChoice {
    /// One instruction: the same from run to run, blind to caches
    Virtual,
    /// Real time under KVM
    Wall,
}

fn workload(name: &str) -> Result<WorkloadKind, String> {
    WorkloadKind::ALL
        .into_iter()
        .find(|kind| kind.name().eq_ignore_ascii_case(name))
        .ok_or_else(|| "it is one of tcp_rr, tcp_crr, tcp_stream, udp_rr".into())
}

fn placement(cores: &str) -> Result<Placement, String> {
    match cores {
        "1" => Ok(Placement::OneCore),
        "2" => Ok(Placement::TwoCores),
        _ => Err("it is 1 or 2".into()),
    }
}

fn handicap(text: &str) -> Result<Handicap, String> {
    let (subject, amount) = text.split_once('=').ok_or("it is SUBJECT=AMOUNT, for example bridge=20")?;
    match amount.parse() {
        Ok(amount @ 1..=10_000) => Ok(Handicap { subject: subject.into(), amount }),
        _ => Err("AMOUNT is a number from 1 to 10000".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn refused(args: &[&str]) -> String {
        Args::try_parse_from([&["bench"], args].concat()).unwrap_err().to_string()
    }

    #[test]
    fn the_declaration_of_the_arguments_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn workloads_are_named_as_netperf_names_them_in_either_case() {
        let args = Args::try_parse_from(["bench", "--workloads", "tcp_rr,UDP_RR"]).unwrap();
        assert_eq!(args.workloads, [WorkloadKind::TcpRr, WorkloadKind::UdpRr]);
        assert!(refused(&["--workloads", "tcp_rx"]).contains("it is one of tcp_rr"));
    }

    #[test]
    fn a_suite_stands_for_its_subjects_and_for_its_workloads_where_none_are_named() {
        let of = |words: &[&str]| Args::try_parse_from([&["bench"], words].concat()).unwrap().with_suite();
        let services = of(&["--suite", "services"]);
        assert!(services.subjects.contains(&"ciliate-service-packet".to_owned()));
        assert_eq!(services.workloads, [WorkloadKind::TcpCrr]);
        assert_eq!(of(&["--suite", "services", "--workloads", "tcp_rr"]).workloads, [WorkloadKind::TcpRr]);
        assert_eq!(of(&["--quick"]).subjects, [""; 0]);
        let catalogue: Vec<String> =
            netns_lab::subject::catalogue().into_iter().map(|spec| spec.name).collect();
        assert!(crate::suite::subjects(&services.subjects, &catalogue).unwrap().len() > 10);
        assert!(refused(&["--suite", "services", "--subjects", "veth"]).contains("--subjects"));
    }

    #[test]
    fn impossible_options_are_refused_with_the_option_named() {
        assert!(refused(&["--cores", "3"]).contains("--cores"));
        assert!(refused(&["--handicap", "bridge"]).contains("SUBJECT=AMOUNT"));
        assert!(refused(&["--handicap", "bridge=0"]).contains("1 to 10000"));
        assert!(refused(&["--rounds", "0"]).contains("--rounds"));
        assert!(refused(&["--quick", "--smoke"]).contains("--smoke"));
        assert!(refused(&["--gate", "x", "--quick"]).contains("--quick"));
        assert!(refused(&["--vm-kernel", "5.4"]).contains("6.12"));
    }
}
