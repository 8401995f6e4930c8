// SPDX-License-Identifier: Apache-2.0
//! Estimators against distributions whose answer is known.

mod synthetic;

use netns_lab::plan::{BASELINE, Placement, WorkloadKind};
use netns_lab::record::RunRecord;
use reports::analysis::{Analysis, RunAnalysis};
use reports::latency::percentile;
use reports::pairing::{Place, slice_cost};
use reports::ranking::ranks;
use reports::statistics::{Interval, SplitMix64, Spread, estimate, quantile};
use synthetic::{Machine, normal, record};

const QUIET: Machine = Machine { seed: 3, noise: 0.005, rounds: 40 };

#[test]
fn interval_covers_the_true_median_about_nineteen_times_of_twenty() {
    let mut random = SplitMix64(42);
    let (trials, n) = (200, 80);
    let covered = (0..trials)
        .filter(|_| {
            let series: Vec<f64> = (0..n).map(|_| 1.2 + 0.02 * normal(&mut random)).collect();
            let e = estimate(&series).unwrap();
            e.interval.low <= 1.2 && e.interval.high >= 1.2
        })
        .count();
    let share = covered as f64 / f64::from(trials);
    assert!((0.89..=0.99).contains(&share), "{share}");
}

#[test]
fn interval_of_correlated_noise_is_wider_than_of_independent_noise() {
    let mut random = SplitMix64(9);
    let width = |keep: f64, random: &mut SplitMix64| -> f64 {
        let one = |random: &mut SplitMix64| {
            let mut state = 0.0;
            let series: Vec<f64> = (0..200)
                .map(|_| {
                    state = keep * state + (1.0 - keep * keep).sqrt() * normal(random);
                    1.0 + 0.02 * state
                })
                .collect();
            estimate(&series).unwrap().interval.half_width()
        };
        (0..20).map(|_| one(random)).sum()
    };
    let (independent, correlated) = (width(0.0, &mut random), width(0.7, &mut random));
    assert!(correlated > 1.3 * independent, "{correlated} against {independent}");
}

#[test]
fn interval_narrows_with_the_root_of_the_number_of_slices() {
    let width = |n: usize| {
        let mut random = SplitMix64(5);
        let series: Vec<f64> = (0..n).map(|_| 1.0 + 0.02 * normal(&mut random)).collect();
        estimate(&series).unwrap().interval.half_width()
    };
    let narrowing = width(50) / width(1250);
    assert!((3.0..8.0).contains(&narrowing), "{narrowing}");
}

#[test]
fn estimates_are_the_same_every_time_and_collapse_without_noise() {
    let series = [1.0, 1.1, 0.9, 1.05, 1.2, 0.95, 1.0, 1.3];
    assert_eq!(estimate(&series), estimate(&series));
    let equal = estimate(&[0.8; 30]).unwrap();
    assert_eq!((equal.median, equal.interval), (0.8, Interval { low: 0.8, high: 0.8 }));
    assert_eq!(estimate(&[]), None);
    let few = estimate(&[1.0, 3.0, 2.0]).unwrap();
    assert_eq!((few.median, few.interval, few.pairs), (2.0, Interval { low: 1.0, high: 3.0 }, 3));
}

#[test]
fn median_of_an_even_number_lies_between_its_middle_two() {
    assert_eq!(quantile(&[1.0, 2.0, 4.0, 8.0], 0.5), Some(3.0));
    assert_eq!(quantile(&[], 0.5), None);
    assert_eq!(quantile(&[7.0], 0.9), Some(7.0));
    let spread = Spread::of(&(0..=100).rev().map(f64::from).collect::<Vec<_>>()).unwrap();
    assert_eq!((spread.p10, spread.median, spread.p90), (10.0, 50.0, 90.0));
}

#[test]
fn percentiles_are_upper_bounds_of_their_buckets() {
    let histogram = [(10, 50), (20, 40), (30, 9), (400, 1)];
    assert_eq!(percentile(&histogram, 0.5), Some(10));
    assert_eq!(percentile(&histogram, 0.501), Some(20));
    assert_eq!(percentile(&histogram, 0.9), Some(20));
    assert_eq!(percentile(&histogram, 0.99), Some(30));
    assert_eq!(percentile(&histogram, 0.999), Some(400));
    assert_eq!(percentile(&[], 0.5), None);
    assert_eq!(percentile(&[(5, u64::MAX), (6, u64::MAX)], 1.0), Some(6));
}

#[test]
fn subjects_whose_intervals_overlap_share_a_rank() {
    let interval = |low, high| Interval { low, high };
    let apart = [interval(1.0, 1.1), interval(0.8, 0.9), interval(1.2, 1.3)];
    assert_eq!(ranks(&apart), [2, 1, 3]);
    // The first and the third do not overlap, but both overlap the second.
    let chain = [interval(1.0, 1.1), interval(1.05, 1.2), interval(1.15, 1.3), interval(2.0, 2.1)];
    assert_eq!(ranks(&chain), [1, 1, 1, 4]);
    assert!(ranks(&[]).is_empty());
}

#[test]
fn paired_ratios_find_the_true_ratio_on_a_machine_that_drifts() {
    let machine = Machine { seed: 11, noise: 0.01, rounds: 100 };
    let run = record(&["routed", "routed-again", "vxlan", "veth"], &[], machine);
    let analysis = RunAnalysis::of(&run);
    let group = analysis.group(WorkloadKind::TcpRr, Placement::OneCore).unwrap();
    for (subject, truth) in [("vxlan", 1.38), ("veth", 0.85), ("routed", 1.0)] {
        let figures = group.row(subject).unwrap().figures().unwrap();
        let ratio = figures.ratio.unwrap();
        assert!((ratio.median / truth - 1.0).abs() < 0.01, "{subject} {ratio:?}");
        assert!(ratio.interval.half_width() < 0.01, "{subject} {ratio:?}");
        assert!((figures.ratio_p10.unwrap() / truth - 1.0).abs() < 0.04);
    }
    let noise = group.noise.unwrap();
    assert!(noise.band() > 0.0 && noise.band() < 0.01, "{noise:?}");
    let rank = |subject| group.row(subject).unwrap().figures().unwrap().rank.unwrap();
    assert_eq!([rank("veth"), rank("routed"), rank("routed-again"), rank("vxlan")], [1, 2, 2, 4]);
}

#[test]
fn pairing_uses_equal_rounds_of_one_record_only() {
    let mut run = record(&["routed", "routed-again", "veth"], &[], QUIET);
    fn place(run: &RunRecord) -> Place<'_> {
        Place { run, workload: WorkloadKind::TcpRr, placement: Placement::OneCore }
    }
    let all = place(&run).ratios("veth", BASELINE, slice_cost);
    assert_eq!(all.len(), 40);
    // Rounds that one of the two lacks are no pairs, and order in the file does not matter.
    let veth = run.cells.iter_mut().find(|c| c.subject == "veth").unwrap();
    veth.slices.retain(|s| s.round % 2 == 0);
    veth.slices.reverse();
    let even: Vec<f64> = all.iter().copied().step_by(2).collect();
    assert_eq!(place(&run).ratios("veth", BASELINE, slice_cost), even);
    // A second record with another machine speed changes nothing in the first, and has its own ratios.
    let mut samples = synthetic::samples();
    samples.runs = vec![run.clone(), run.clone()];
    for cell in samples.runs[1].cells.iter_mut().filter(|c| c.subject == BASELINE) {
        cell.slices.iter_mut().for_each(|s| s.p50_ns *= 2);
    }
    let analysis = Analysis::of(&samples);
    let median = |run: usize| {
        let group = analysis.runs[run].group(WorkloadKind::TcpRr, Placement::OneCore).unwrap();
        group.row("veth").unwrap().figures().unwrap().ratio.unwrap().median
    };
    assert!((median(0) - 2.0 * median(1)).abs() < 1e-9);
    // Without its own baseline a record has no ratio, whatever the other one has.
    samples.runs[1].cells.retain(|c| c.subject != BASELINE);
    let analysis = Analysis::of(&samples);
    let group = analysis.runs[1].group(WorkloadKind::TcpRr, Placement::OneCore).unwrap();
    assert_eq!(group.row("veth").unwrap().figures().unwrap().ratio, None);
    assert!(
        analysis.problems.iter().any(|p| p.contains("no ratio, because `routed`")),
        "{:?}",
        analysis.problems
    );
}

#[test]
fn figures_of_a_stream_are_gigabits_and_seconds_per_gibibyte() {
    let mut run = record(&["routed", "routed-again"], &[], QUIET);
    for cell in run.cells.iter_mut().filter(|c| c.workload == WorkloadKind::TcpStream) {
        for slice in &mut cell.slices {
            // 50 blocks of 64 KiB in 26.2144 ms of time and half of that in CPU: 1 Gbit/s.
            (slice.elapsed_ns, slice.cpu_ns) = (26_214_400, 13_107_200);
        }
    }
    let analysis = RunAnalysis::of(&run);
    let group = analysis.group(WorkloadKind::TcpStream, Placement::OneCore).unwrap();
    let figures = group.row(BASELINE).unwrap().figures().unwrap();
    assert!((figures.gbit_s.unwrap().median - 1.0).abs() < 1e-9);
    assert!((figures.cpu_s_per_gib.unwrap().median - 0.0131072 * 16384.0 / 50.0).abs() < 1e-9);
    assert!((figures.rate.median - 50.0 / 0.0262144).abs() < 1e-6);
    assert!((figures.cpu_us.median - 262.144).abs() < 1e-9);
    assert!((figures.context_switches - 2.0).abs() < 1e-9);
}
