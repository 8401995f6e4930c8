// SPDX-License-Identifier: Apache-2.0
//! Samples that are empty, cut short or contradictory: every output is written, says so, and nothing panics.

mod synthetic;

use std::fs;

use netns_lab::plan::{BASELINE, BASELINE_AGAIN, Handicap};
use netns_lab::record::{RunRecord, Samples, SelfCheckPair};
use reports::{terminal_table, write_report};
use synthetic::{Machine, record};

const SHORT: Machine = Machine { seed: 3, noise: 0.01, rounds: 8 };

fn samples(runs: Vec<RunRecord>) -> Samples {
    Samples { schema: 1, command: "cargo xtask bench".to_owned(), started_unix_s: 0, runs }
}

fn small() -> RunRecord {
    let mut run = record(&["routed", "routed-again", "veth", "vxlan"], &[], SHORT);
    run.plan.phases.truncate(2);
    run.cells.retain(|c| c.workload == run.plan.phases[0].workload.kind);
    run
}

/// Writes all outputs, expects `text` in each that people read.
fn says(run: RunRecord, text: &str) -> String {
    let samples = samples(vec![run]);
    let temporary = tempfile::tempdir().unwrap();
    let written = write_report(&samples, temporary.path()).unwrap();
    let html = fs::read_to_string(written.html).unwrap();
    let markdown = fs::read_to_string(written.markdown).unwrap();
    let plain = html.replace("<code>", "`").replace("</code>", "`");
    for output in [&plain, &markdown, &terminal_table(&samples)] {
        assert!(output.contains(text), "{text} in:\n{}", &output[..output.len().min(6000)]);
        assert!(!output.contains("NaN"));
    }
    fs::read_to_string(written.summary).unwrap()
}

#[test]
fn samples_without_a_run_say_that_there_is_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let written = write_report(&samples(Vec::new()), temporary.path()).unwrap();
    assert!(fs::read_to_string(written.html).unwrap().contains("holds no run"));
    assert_eq!(fs::read_to_string(written.summary).unwrap(), "[]\n");
}

#[test]
fn interrupted_runs_say_partial_and_name_what_is_missing() {
    let mut run = small();
    run.interrupted = true;
    run.cells.truncate(6);
    let summary = says(run, "PARTIAL: the run was interrupted");
    assert!(summary.contains("\"not_run\": \"the run was interrupted before it was measured\""));
    assert!(summary.contains("\"interrupted\": true"));
}

#[test]
fn a_run_that_was_interrupted_before_its_first_cell_is_reported() {
    let mut run = small();
    run.interrupted = true;
    run.cells.clear();
    run.subjects.clear();
    says(run, "PARTIAL");
}

#[test]
fn a_run_without_baseline_has_rates_but_no_ratios() {
    let mut run = small();
    run.cells.retain(|c| c.subject != BASELINE);
    let summary = says(run, "no ratio, because `routed` has no slice in the same rounds");
    let entries: Vec<serde_json::Value> = serde_json::from_str(&summary).unwrap();
    let veth = entries.iter().find(|e| e["subject"] == "veth").unwrap();
    assert!(veth["ratio"].is_null() && veth["rate"].is_number() && veth["not_run"].is_null());
}

#[test]
fn a_run_without_the_second_instance_has_no_noise_floor() {
    let mut run = small();
    run.cells.retain(|c| c.subject != BASELINE_AGAIN);
    says(run, "no noise floor");
}

#[test]
fn slices_that_counted_nothing_are_left_out() {
    let mut run = small();
    let slice = &mut run.cells[2].slices[3];
    (slice.transactions, slice.p50_ns) = (0, 0);
    says(run, "1 of 8 slices counted no transaction");
    let mut run = small();
    run.cells.iter_mut().for_each(|c| c.slices.clear());
    let summary = says(run, "the record holds no samples of it");
    assert!(!summary.contains("\"not_run\": null"));
}

#[test]
fn contradictions_are_named() {
    let mut run = small();
    run.cells.push(run.cells[0].clone());
    says(run, "is there twice: only the first cell is reported");
    let mut run = small();
    run.cells[0].slices[1].round = 0;
    says(run, "a round is there twice");
    let mut run = small();
    run.cells[0].histogram.clear();
    says(run, "its latency histogram is empty");
    let mut run = small();
    run.cells[0].histogram.reverse();
    says(run, "its latency histogram is not ascending");
    let mut run = small();
    run.plan.phases.clear();
    says(run, "the plan has no such phase");
    let mut run = small();
    run.cells.iter_mut().for_each(|c| c.slices.truncate(3));
    says(run, "fewer than 6 rounds");
    let mut run = small();
    run.plan.handicap = Some(Handicap { subject: "veth".to_owned(), amount: 50 });
    says(run, "`veth` was slowed on purpose (--handicap veth=50)");
}

#[test]
fn extreme_numbers_do_not_panic() {
    let mut run = small();
    for cell in &mut run.cells {
        cell.histogram = vec![(0, 1), (u64::MAX, u64::MAX)];
        (cell.context_switches, cell.retransmits, cell.lost) = (u64::MAX, u64::MAX, u64::MAX);
        for slice in &mut cell.slices {
            (slice.transactions, slice.elapsed_ns, slice.cpu_ns) = (u32::MAX, u64::MAX, u64::MAX);
            (slice.min_ns, slice.p10_ns, slice.p50_ns) = (0, u64::MAX, u64::MAX);
        }
    }
    let kind = run.plan.phases[0].workload.kind;
    run.self_check.pairs = [0.0, f64::MAX, -1.0]
        .map(|ns| SelfCheckPair { workload: kind, ours_ns: ns, netperf_ns: 0.0 })
        .to_vec();
    says(run, "routed");
}

#[test]
fn a_subject_without_cells_for_one_workload_is_a_row_with_a_reason() {
    let mut run = small();
    let phase = run.plan.phases[1].clone();
    run.cells.retain(|c| c.subject != "veth" || c.placement != phase.placement);
    let summary = says(run, "veth");
    let entries: Vec<serde_json::Value> = serde_json::from_str(&summary).unwrap();
    let veth: Vec<_> = entries.iter().filter(|e| e["subject"] == "veth").collect();
    assert!(veth[0]["not_run"].is_null());
    assert_eq!(veth[1]["not_run"], "the record holds no samples of it");
}

#[test]
fn too_few_rounds_are_told_once_for_a_run() {
    let mut run = record(&["routed", "routed-again", "veth", "vxlan"], &[], Machine { rounds: 4, ..SHORT });
    says(run.clone(), "fewer than 6 rounds in all workloads: their intervals are ranges");
    let table = terminal_table(&samples(vec![run.clone()]));
    assert_eq!(table.lines().filter(|l| l.contains("fewer than")).count(), 1, "{table}");
    // One subject of one workload lost its last rounds.
    run = record(&["routed", "routed-again", "veth", "vxlan"], &[], SHORT);
    let group = format!("{}/{}", run.cells[0].workload, run.cells[0].placement);
    let cell = run.cells.iter_mut().find(|c| c.subject == "veth").unwrap();
    cell.slices.truncate(3);
    says(run, &format!("fewer than 6 rounds of some subjects in {group}: their intervals are ranges"));
}
