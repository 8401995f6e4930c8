// SPDX-License-Identifier: Apache-2.0
//! The regression gate trips on what is slower or missing, and on nothing else.

mod synthetic;

use std::fs;
use std::path::Path;

use netns_lab::plan::{Handicap, WorkloadKind};
use netns_lab::record::{NotRun, RunRecord};
use reports::{Baseline, GateError, Verdict, gate, update_baseline};
use synthetic::{Machine, record, virtual_record};

const SUBJECTS: [&str; 4] = ["routed", "routed-again", "veth", "kube-proxy-like-100"];

fn emulated() -> RunRecord {
    virtual_record(&SUBJECTS, &[])
}

fn host(seed: u64) -> RunRecord {
    record(&SUBJECTS, &[], Machine { seed, noise: 0.01, rounds: 60 })
}

fn slowed(mut run: RunRecord, subject: &str, workload: WorkloadKind, factor: f64) -> RunRecord {
    for cell in run.cells.iter_mut().filter(|c| c.subject == subject && c.workload == workload) {
        for slice in &mut cell.slices {
            slice.p50_ns = (slice.p50_ns as f64 * factor) as u64;
            slice.elapsed_ns = (slice.elapsed_ns as f64 * factor) as u64;
        }
    }
    run
}

fn verdicts(run: &RunRecord, baseline: &Baseline, subject: &str, workload: WorkloadKind) -> Vec<Verdict> {
    let outcome = gate(run, baseline).unwrap();
    let rows = outcome.rows.into_iter().filter(|r| r.subject == subject && r.workload == workload);
    rows.map(|r| r.verdict).collect()
}

#[test]
fn an_unchanged_run_passes_and_its_table_names_every_subject() {
    let baseline = Baseline::from_run("vm-6.12-virtual", &emulated()).unwrap();
    let outcome = gate(&emulated(), &baseline).unwrap();
    assert!(outcome.passed() && outcome.warnings.is_empty());
    // Two subjects that are not the A/A pair, one of them for four workloads, one for one, at two placements.
    assert_eq!(outcome.rows.len(), 10);
    assert!(outcome.rows.iter().all(|r| r.verdict == Verdict::Unchanged && r.change == Some(0.0)));
    let table = outcome.to_string();
    assert!(
        table.contains("kube-proxy-like-100") && table.contains("change %") && table.contains("PASSED"),
        "{table}"
    );
}

#[test]
fn virtual_time_trips_on_more_than_its_band_of_each_workload() {
    let baseline = Baseline::from_run("vm-6.12-virtual", &emulated()).unwrap();
    for (workload, band) in [
        (WorkloadKind::TcpRr, 0.005),
        (WorkloadKind::UdpRr, 0.005),
        (WorkloadKind::TcpCrr, 0.02),
        (WorkloadKind::TcpStream, 0.03),
    ] {
        let run = |change: f64| slowed(emulated(), "veth", workload, 1.0 + change);
        let is = |change: f64| verdicts(&run(change), &baseline, "veth", workload);
        assert_eq!(is(band * 1.1), [Verdict::Slower, Verdict::Slower], "{workload}");
        assert_eq!(is(band * 0.9), [Verdict::Unchanged, Verdict::Unchanged], "{workload}");
        assert_eq!(is(-band * 1.1), [Verdict::Faster, Verdict::Faster], "{workload}");
        let outcome = gate(&run(band * 1.1), &baseline).unwrap();
        assert!(!outcome.passed() && outcome.to_string().contains("FAIL: slower"));
        assert!(gate(&run(-band * 1.1), &baseline).unwrap().to_string().contains("faster: update baseline"));
    }
}

#[test]
fn virtual_time_gives_our_agents_subjects_a_band_of_their_own() {
    let ours = "ciliate-veth";
    let run = |change: f64, workload| {
        slowed(virtual_record(&["routed", "routed-again", "veth", ours], &[]), ours, workload, 1.0 + change)
    };
    let baseline = Baseline::from_run("vm-6.12-virtual-ciliate", &run(0.0, WorkloadKind::TcpRr)).unwrap();
    for (workload, band) in [
        (WorkloadKind::TcpRr, 0.02),
        (WorkloadKind::UdpRr, 0.02),
        (WorkloadKind::TcpCrr, 0.03),
        (WorkloadKind::TcpStream, 0.03),
    ] {
        let is = |change: f64| verdicts(&run(change, workload), &baseline, ours, workload);
        assert_eq!(is(band * 1.1), [Verdict::Slower, Verdict::Slower], "{workload}");
        assert_eq!(is(band * 0.9), [Verdict::Unchanged, Verdict::Unchanged], "{workload}");
        // What has no maps in its path keeps its own in the same run.
        let beside = gate(&slowed(run(0.0, workload), "veth", workload, 1.0 + 0.006), &baseline).unwrap();
        assert_eq!(beside.passed(), !matches!(workload, WorkloadKind::TcpRr | WorkloadKind::UdpRr));
    }
}

#[test]
fn the_committed_baselines_are_readable_and_cover_our_own_datapath_on_both_kernels() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines");
    for kernel in ["6.1", "6.12"] {
        let read = |class: &str| Baseline::read(&directory.join(format!("{class}.json"))).unwrap();
        let (bare, ours) =
            (read(&format!("vm-{kernel}-virtual")), read(&format!("vm-{kernel}-virtual-ciliate")));
        for baseline in [&bare, &ours] {
            assert_eq!((baseline.identity.kernel_series.as_str(), baseline.identity.plan.seeds), (kernel, 1));
        }
        let has = |subject: &str, workload| {
            ours.entries.iter().any(|entry| entry.subject == subject && entry.workload == workload)
        };
        for subject in ["ciliate-veth", "ciliate-veth-policy"] {
            assert!(WorkloadKind::ALL.into_iter().all(|workload| has(subject, workload)), "{subject}");
        }
        for subject in ["ciliate-service-1", "ciliate-service-packet-1"] {
            assert!(has(subject, WorkloadKind::TcpCrr), "{subject}");
        }
    }
}

#[test]
fn a_run_of_other_seeds_is_refused() {
    let baseline = Baseline::from_run("vm-6.12-virtual", &emulated()).unwrap();
    let mut run = emulated();
    run.plan.seeds = 3;
    let error = gate(&run, &baseline).unwrap_err().to_string();
    assert!(error.contains("seeds: baseline `1`, this run `3`"), "{error}");
}

#[test]
fn wall_time_passes_other_noise_and_trips_on_five_percent() {
    let baseline = Baseline::from_run("host", &host(1)).unwrap();
    for seed in 2..7 {
        let outcome = gate(&host(seed), &baseline).unwrap();
        assert!(outcome.passed(), "{outcome}");
        let slow = slowed(host(seed), "veth", WorkloadKind::TcpRr, 1.05);
        assert!(!gate(&slow, &baseline).unwrap().passed());
    }
}

#[test]
fn a_subject_that_is_gone_fails_with_its_reason_and_a_new_one_is_told() {
    let baseline = Baseline::from_run("vm-6.12-virtual", &emulated()).unwrap();
    let mut run = emulated();
    run.cells.retain(|c| c.subject != "veth");
    run.not_run.push(NotRun { subject: "veth".to_owned(), reason: "kernel lacks CONFIG_VETH".to_owned() });
    let outcome = gate(&run, &baseline).unwrap();
    assert!(!outcome.passed());
    let table = outcome.to_string();
    assert!(table.contains("FAIL: missing\n") && table.contains("  kernel lacks CONFIG_VETH\n"), "{table}");
    let mut more = SUBJECTS.to_vec();
    more.push("vxlan");
    let outcome = gate(&virtual_record(&more, &[]), &baseline).unwrap();
    assert!(outcome.passed());
    assert_eq!(outcome.rows.iter().filter(|r| r.verdict == Verdict::New).count(), 8);
}

#[test]
fn another_environment_is_refused_with_what_differs() {
    let baseline = Baseline::from_run("vm-6.12-virtual", &emulated()).unwrap();
    let refused = |run: &RunRecord| match gate(run, &baseline) {
        Err(error @ GateError::OtherEnvironment { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused(&host(1)).contains("executor: baseline `vm`, this run `host`"));
    let mut run = emulated();
    run.environment.vm.as_mut().unwrap().kernel_series = "6.1".to_owned();
    assert!(refused(&run).contains("kernel series: baseline `6.12`, this run `6.1`"));
    let mut run = emulated();
    run.plan.phases[0].workload.request_bytes = 64;
    assert!(refused(&run).contains("TCP_RR at 1 core: baseline `1 byte requests"));
    let mut run = emulated();
    run.plan.phases.remove(7);
    assert!(refused(&run).contains("UDP_RR at 2 cores: in the baseline, not in this run"));
    assert!(refused(&run).contains("--update-baseline"));
}

#[test]
fn another_patch_version_warns_and_doubles_the_bands() {
    let baseline = Baseline::from_run("vm-6.12-virtual", &emulated()).unwrap();
    let mut run = slowed(emulated(), "veth", WorkloadKind::TcpRr, 1.008);
    assert!(!gate(&run, &baseline).unwrap().passed());
    run.environment.vm.as_mut().unwrap().qemu = "QEMU emulator version 10.0.2".to_owned();
    run.environment.tools.insert("bridge".to_owned(), "1.4.0".to_owned());
    let outcome = gate(&run, &baseline).unwrap();
    assert!(outcome.passed());
    assert_eq!(outcome.warnings.len(), 2);
    assert!(outcome.to_string().starts_with("WARNING"), "{outcome}");
    let slower = slowed(run, "veth", WorkloadKind::TcpRr, 1.008);
    assert!(!gate(&slower, &baseline).unwrap().passed());
}

#[test]
fn runs_that_cannot_be_a_baseline_are_refused() {
    let mut interrupted = emulated();
    interrupted.interrupted = true;
    assert!(matches!(Baseline::from_run("x", &interrupted), Err(GateError::Interrupted)));
    let baseline = Baseline::from_run("x", &emulated()).unwrap();
    assert!(matches!(gate(&interrupted, &baseline), Err(GateError::Interrupted)));
    let mut slowed = emulated();
    slowed.plan.handicap = Some(Handicap { subject: "veth".to_owned(), amount: 50 });
    assert!(matches!(Baseline::from_run("x", &slowed), Err(GateError::Handicapped { .. })));
    let mut empty = emulated();
    empty.cells.clear();
    assert!(matches!(Baseline::from_run("x", &empty), Err(GateError::NoRatios)));
    assert!(matches!(gate(&empty, &baseline), Err(GateError::NoRatios)));
}

#[test]
fn a_baseline_is_read_as_it_was_written_and_named_after_its_file() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("vm-6.12-virtual.json");
    let written = update_baseline(&host(5), &path).unwrap();
    let read = Baseline::read(&path).unwrap();
    assert_eq!(read, written);
    assert_eq!(read.class, "vm-6.12-virtual");
    assert!(gate(&host(5), &read).unwrap().rows.iter().all(|r| r.change == Some(0.0)));
}

#[test]
fn malformed_baselines_are_refused_with_the_field() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("b.json");
    let good = serde_json::to_value(Baseline::from_run("b", &emulated()).unwrap()).unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = good.clone();
        change(&mut value);
        fs::write(&path, value.to_string()).unwrap();
        Baseline::read(&path).unwrap_err().to_string()
    };
    assert!(refused(&|v| v["entries"][3]["ratio"] = "fast".into()).contains("field `entries[3].ratio`"));
    assert!(
        refused(&|v| v["entries"][2]["ratio"] = (-1.0).into())
            .contains("field `entries[2].ratio`: must be above 0")
    );
    assert!(refused(&|v| v["entries"][1]["ci_low"] = 9.0.into()).contains("field `entries[1].ci_low`"));
    assert!(refused(&|v| v["entries"][1]["ci_high"] = 0.1.into()).contains("field `entries[1].ci_high`"));
    assert!(
        refused(&|v| v["entries"][0]["noise_band"] = 1.0.into()).contains("field `entries[0].noise_band`")
    );
    assert!(refused(&|v| v["entries"][0]["cores"] = 3.into()).contains("field `entries[0].cores`"));
    assert!(
        refused(&|v| v["entries"] = serde_json::json!([])).contains("field `entries`: must not be empty")
    );
    assert!(
        refused(&|v| v["entries"][1] = v["entries"][0].clone())
            .contains("field `entries[1].subject`: is there twice")
    );
    assert!(refused(&|v| v["identity"]["executor"] = "moon".into()).contains("field `identity.executor`"));
    assert!(refused(&|v| v["surprise"] = 1.into()).contains("surprise"));
    assert!(refused(&|v| v["schema"] = 7.into()).contains("schema 7"));
    let missing = Baseline::read(&temporary.path().join("none.json")).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read "));
}

#[test]
fn the_table_fits_a_terminal_of_100_columns() {
    let mut baseline = Baseline::from_run("vm-6.12-virtual", &emulated()).unwrap();
    baseline.entries.retain(|e| e.subject != "veth" || e.workload != WorkloadKind::TcpRr);
    let mut run = slowed(emulated(), "veth", WorkloadKind::UdpRr, 2.0);
    run = slowed(run, "veth", WorkloadKind::TcpStream, 0.5);
    run.cells.retain(|c| c.subject != "kube-proxy-like-100");
    run.not_run.push(NotRun {
        subject: "kube-proxy-like-100".to_owned(),
        reason: "kernel lacks CONFIG_NETFILTER_XT_MATCH_COMMENT".to_owned(),
    });
    let table = gate(&run, &baseline).unwrap().to_string();
    for words in
        ["FAIL: slower", "FAIL: missing", "faster: update baseline", "new: update baseline", "FAILED"]
    {
        assert!(table.contains(words), "{words} in:\n{table}");
    }
    assert!(table.contains("CONFIG_NETFILTER_XT_MATCH_COMMENT"), "the reason is told:\n{table}");
    for line in table.lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }
    println!("{table}");
}
