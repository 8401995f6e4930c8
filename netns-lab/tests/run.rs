// SPDX-License-Identifier: Apache-2.0
//! The program's `run`, from the plan's file to the record's, with what can go wrong. Needs root.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use netlink::NetNs;
use netns_lab::lab::{Listed, list};
use netns_lab::plan::Plan;
use netns_lab::record::RunRecord;
use netns_lab::run::Event;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_netns-lab"))
}

fn plan_with(rounds: u32) -> serde_json::Value {
    let phase = |kind: &str| {
        serde_json::json!({
            "workload": {"kind": kind, "request_bytes": 1, "response_bytes": 1, "connections": 1,
                         "transactions_per_slice": 20},
            "placement": "one-core", "rounds": rounds, "warmup_rounds": 1,
        })
    };
    serde_json::json!({
        "schema": 1, "subjects": ["loopback", "veth", "routed", "routed-again"],
        "phases": [phase("TCP_RR"), phase("UDP_RR")], "self_check": null, "handicap": null,
    })
}

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new(plan: &serde_json::Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("plan.json"), plan.to_string()).unwrap();
        Self { directory }
    }

    fn plan(&self) -> PathBuf {
        self.directory.path().join("plan.json")
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out.json")
    }

    fn record(&self) -> RunRecord {
        serde_json::from_str(&fs::read_to_string(self.out()).unwrap()).unwrap()
    }

    fn run(&self) -> Output {
        program().arg("run").arg("--plan").arg(self.plan()).arg("--out").arg(self.out()).output().unwrap()
    }
}

/// Fails with a single line that holds `says`, and leaves no record.
fn refused(plan: &serde_json::Value, says: &str) {
    let files = Files::new(plan);
    let output = files.run();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{says}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains(says), "{error}");
    assert!(!files.out().exists());
}

/// The lab that process `pid` has made, and its namespaces.
fn lab_of(pid: u32) -> Option<Listed> {
    list().unwrap().into_iter().find(|lab| lab.state.as_ref().is_some_and(|state| state.owner_pid == pid))
}

#[test]
fn a_plan_becomes_a_record_with_a_cell_for_each_subject_and_phase() {
    let files = Files::new(&plan_with(3));
    let output = files.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record = files.record();
    let plan: Plan = serde_json::from_value(plan_with(3)).unwrap();
    assert_eq!(record.plan, plan);
    assert_eq!(record.not_run, []);
    assert!(!record.interrupted);
    assert_eq!(record.subjects.iter().map(|s| s.name.clone()).collect::<Vec<_>>(), plan.subjects);
    assert_eq!(record.cells.len(), 8);
    assert!(record.cells.iter().all(|cell| cell.slices.len() == 3));
    assert_eq!(record.self_check.not_run.as_deref(), Some("not asked for"));
    assert_eq!(record.environment.offloads.get("gso").map(String::as_str), Some("on"));
    let congestion = record.environment.sysctls.get("net.ipv4.tcp_congestion_control");
    assert_eq!(congestion.map(String::as_str), Some("reno"));
    let host = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap();
    let stated = record.environment.sysctls.get("net.ipv4.tcp_congestion_control (host)");
    assert_eq!(stated.map(String::as_str), Some(host.trim()));
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        serde_json::from_str::<Event>(line).unwrap();
    }
    let left: Vec<_> =
        fs::read_dir(files.directory.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_self_check_without_netperf_says_so_and_the_run_goes_on() {
    let mut plan = plan_with(1);
    let missing = serde_json::json!({"netperf": "/nonexistent/netperf", "netserver": "/nonexistent/netserver", "rounds": 1});
    plan["self_check"] = missing;
    let files = Files::new(&plan);
    assert!(files.run().status.success());
    let record = files.record();
    assert_eq!(record.cells.len(), 8);
    assert!(record.self_check.not_run.unwrap().contains("/nonexistent/netperf"));
}

#[test]
fn ctrl_c_leaves_a_valid_partial_record_and_a_clean_machine() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let files = Files::new(&plan_with(100_000));
        let mut command = program();
        command.arg("run").arg("--plan").arg(files.plan()).arg("--out").arg(files.out());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Until the measurement is under way.
        let under_way = lines.by_ref().any(|line| line.unwrap().contains(r#""round":"#));
        assert!(under_way);
        let lab = lab_of(child.id()).expect("a lab of the run");
        assert!(lab.namespaces.len() >= 4, "{lab:?}");
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        lines.for_each(drop);
        assert!(child.wait().unwrap().success());
        let record = files.record();
        assert!(record.interrupted);
        assert!(!record.cells.is_empty());
        assert!(record.cells.iter().all(|cell| !cell.slices.is_empty() && cell.slices.len() < 100_000));
        let left = NetNs::names().unwrap();
        assert!(lab.namespaces.iter().all(|name| !left.contains(name)), "{left:?}");
        assert!(list().unwrap().iter().all(|other| other.name != lab.name));
    }
}

#[test]
fn bad_plans_are_refused_by_the_name_of_the_field() {
    let changed = |pointer: &str, value: serde_json::Value| {
        let mut plan = plan_with(1);
        *plan.pointer_mut(pointer).unwrap() = value;
        plan
    };
    refused(&changed("/schema", 7.into()), "schema: 7");
    refused(&changed("/subjects/0", "vteh".into()), "vteh");
    refused(&changed("/subjects", serde_json::json!(["veth"])), "routed");
    refused(&changed("/phases/1/workload/request_bytes", 65_508.into()), "phases[1].workload.request_bytes");
    refused(&changed("/phases/0/rounds", 0.into()), "phases[0].rounds");
    refused(&changed("/phases/0/rounds", (-1).into()), "plan.json");
    refused(&changed("/phases/0/placement", "three-cores".into()), "three-cores");
    refused(&serde_json::json!("nonsense"), "plan.json");
    // Real time has none: what was asked for is not left out in silence.
    let mut seeds = plan_with(1);
    seeds["seeds"] = 2.into();
    refused(&seeds, "plan: seeds: ");
}

#[test]
fn an_output_that_cannot_be_is_refused_before_anything_is_measured() {
    let files = Files::new(&plan_with(1));
    for out in [files.directory.path().join("none/out.json"), files.directory.path().to_owned()] {
        let output =
            program().arg("run").arg("--plan").arg(files.plan()).arg("--out").arg(&out).output().unwrap();
        assert!(!output.status.success());
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_full_disk_is_one_line_and_nothing_is_left() {
    let files = Files::new(&plan_with(2));
    let small = files.directory.path().join("small");
    fs::create_dir(&small).unwrap();
    let _mounted = Mounted::tmpfs(&small, "size=4k,nr_inodes=10");
    let output = program()
        .arg("run")
        .arg("--plan")
        .arg(files.plan())
        .arg("--out")
        .arg(small.join("out.json"))
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert_eq!(error.lines().count(), 1, "{error}");
    assert_eq!(error.matches("No space left on device").count(), 1, "{error}");
    assert_eq!(fs::read_dir(&small).unwrap().count(), 0);
}

struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(path: &Path, options: &str) -> Self {
        use nix::mount::{MsFlags, mount};
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        Self(path.into())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.0);
    }
}
