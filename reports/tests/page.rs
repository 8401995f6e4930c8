// SPDX-License-Identifier: Apache-2.0
//! The files of a report: whole, closed, complete, the same every time.

mod synthetic;

use std::fs;
use std::sync::LazyLock;

use netns_lab::record::Samples;
use reports::{Error, read_samples, terminal_table, write_report};

/// Where to leave the report of the synthetic samples for a look at it; a temporary directory otherwise.
const KEEP: &str = "REPORTS_TEST_OUT";

/// Rendered once for all tests that only read.
static SAMPLES: LazyLock<Samples> = LazyLock::new(synthetic::samples);
static WRITTEN: LazyLock<(String, String, String)> = LazyLock::new(|| written(&SAMPLES));

/// One workload of a few subjects, for tests that change something.
fn few() -> Samples {
    let mut samples = SAMPLES.clone();
    for run in &mut samples.runs {
        run.plan.phases.truncate(2);
        let phases = run.plan.phases.clone();
        run.cells
            .retain(|c| phases.iter().any(|p| (p.workload.kind, p.placement) == (c.workload, c.placement)));
    }
    samples
}

fn written(samples: &Samples) -> (String, String, String) {
    let temporary = tempfile::tempdir().unwrap();
    let written = write_report(samples, temporary.path()).unwrap();
    let read = |path| fs::read_to_string(path).unwrap();
    (read(written.html), read(written.markdown), read(written.summary))
}

/// Checks that every element is closed in order; returns the elements seen.
fn well_formed(html: &str) -> Vec<String> {
    const VOID: [&str; 3] = ["meta", "!DOCTYPE", "br"];
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    for (at, _) in html.match_indices('<') {
        let tag = &html[at + 1..at + html[at..].find('>').expect("every tag ends")];
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap().to_owned();
        if tag.starts_with('/') {
            assert_eq!(
                open.pop().as_ref(),
                Some(&name),
                "closed at {at}: …{}",
                &html[at.saturating_sub(80)..at]
            );
        } else if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            open.push(name.clone());
        }
        seen.push(name);
    }
    assert!(open.is_empty(), "left open: {open:?}");
    seen
}

#[test]
fn page_is_well_formed_and_names_all_subjects_in_every_chart_of_ratios() {
    let html = &WRITTEN.0;
    if let Some(keep) = std::env::var_os(KEEP) {
        write_report(&SAMPLES, keep.as_ref()).unwrap();
        fs::write(std::path::Path::new(&keep).join("samples.json"), serde_json::to_vec(&*SAMPLES).unwrap())
            .unwrap();
    }
    let seen = well_formed(html);
    assert_eq!(seen.iter().filter(|s| *s == "svg").count() % 2, 0);
    let chart = &html[html.find("aria-label=\"TCP_CRR: latency relative to routed\"").unwrap()..];
    let chart = &chart[..chart.find("</svg>").unwrap()];
    for (name, emulation, ..) in synthetic::SUBJECTS {
        let label = if emulation { format!("\n{name} (emulation)\n") } else { format!("\n{name}\n") };
        assert!(chart.contains(&label), "{name}");
    }
    assert!(chart.contains("not run: kernel lacks CONFIG_IPVLAN"));
    assert!(chart.contains("no unit; below 1 is faster"));
    assert!(!html.contains("<script") && !html.contains("NaN") && !html.contains("inf<"));
}

#[test]
fn page_needs_nothing_from_elsewhere() {
    let html = &WRITTEN.0;
    for word in ["href=\"http", "src=", "url(", "@import"] {
        assert!(!html.contains(word), "{word}");
    }
}

#[test]
fn same_samples_give_the_same_bytes() {
    let (json, temporary) = (serde_json::to_vec(&few()).unwrap(), tempfile::tempdir().unwrap());
    let path = temporary.path().join("samples.json");
    fs::write(&path, json).unwrap();
    assert_eq!(written(&few()), written(&read_samples(&path).unwrap()));
}

#[test]
fn charts_of_the_announcement_are_drawn_where_their_reference_was_measured_and_listed_where_not() {
    let html = &WRITTEN.0;
    let section = &html[html.find("id=\"announcement\"").unwrap()..];
    assert_eq!(section.matches("<svg").count(), 4);
    let listed = &section[section.find("Charts without a measured reference").unwrap()..];
    assert_eq!(listed.matches("<tr><td>").count(), 5);
    assert!(listed.contains("Cilium veth (netfilter) = 1: Cilium IPVLAN L3 0.80"));
    assert_eq!(section.matches("Cilium 1.4 announcement, 2019-02-12").count(), 1);
    assert!(section.contains("not measured: needs ciliate-veth-sockmap"));
    assert!(section.contains("Flannel, no policy → bridge, host;"));
    assert!(section.contains("Calico, no policy → calico-like-0 (emulation), host."));
    // Measured in the VM, whose run has no reference bar: a ratio to the host's would mix two executors.
    assert!(section.contains("ipvlan-l3: no ratio, see caption"));
}

#[test]
fn markdown_states_the_command_the_clock_the_noise_and_what_was_not_run() {
    let markdown = &WRITTEN.1;
    for text in [
        "```\ncargo xtask bench --quick --out bench-out\n```",
        "one executed instruction counts as one nanosecond",
        "must not be compared with wall time",
        "Noise floor: the A/A pair reads",
        "ipvlan-l2 | not run: kernel lacks CONFIG_IPVLAN",
        "| calico-like-0 (emulation) |",
        "Generator against netperf 2.7.0 on loopback, TCP_RR: ours / netperf = ",
        "Generator against netperf: not run: netperf does not run in the guest",
        "Measured 2026-01-01 00:00 UTC.",
    ] {
        assert!(markdown.contains(text), "{text}");
    }
    let tables = markdown.lines().collect::<Vec<_>>();
    for (at, line) in tables.iter().enumerate().filter(|(_, l)| l.starts_with("| rank")) {
        let columns = line.matches('|').count();
        assert_eq!(tables[at + 1].matches('|').count(), columns);
        for row in tables[at + 2..].iter().take_while(|l| !l.is_empty()) {
            assert_eq!(row.replace("\\|", "").matches('|').count(), columns, "{row}");
        }
    }
}

#[test]
fn summary_has_an_entry_for_every_planned_cell_with_figures_or_a_reason() {
    let (samples, summary) = (&*SAMPLES, &WRITTEN.2);
    let entries: Vec<serde_json::Value> = serde_json::from_str(summary).unwrap();
    let planned = samples.runs.iter().flat_map(|run| {
        let kinds = run.plan.phases.iter().map(|phase| phase.workload.kind);
        kinds.flat_map(|kind| run.plan.subjects.iter().filter(move |name| synthetic::takes_part(name, kind)))
    });
    assert_eq!(entries.len(), planned.count());
    for entry in &entries {
        let figures = ["p50_us", "rate", "ratio", "ci_low", "ci_high"];
        let measured = entry["not_run"].is_null();
        assert!(
            figures.iter().all(|f| entry[*f].is_number() == measured && entry[*f].is_null() != measured),
            "{entry}"
        );
        assert_eq!(entry["gbit_s"].is_number(), measured && entry["workload"] == "TCP_STREAM");
    }
    let ipvlan: Vec<_> = entries.iter().filter(|e| e["subject"] == "ipvlan-l3").collect();
    assert!(ipvlan.iter().any(|e| e["executor"] == "host" && e["not_run"] == "kernel lacks CONFIG_IPVLAN"));
    assert!(
        ipvlan.iter().any(|e| e["executor"] == "vm" && e["clock"] == "virtual" && e["not_run"].is_null())
    );
}

#[test]
fn terminal_table_has_a_line_for_every_subject_and_the_noise_floor() {
    let table = terminal_table(&SAMPLES);
    let temporary = tempfile::tempdir().unwrap();
    assert_eq!(write_report(&SAMPLES, temporary.path()).unwrap().table, table);
    for (name, ..) in synthetic::SUBJECTS {
        assert!(table.lines().any(|l| l.trim_start().starts_with(name)), "{name}");
    }
    assert_eq!(table.matches("noise floor").count(), 2);
    assert!(table.contains("not run: kernel lacks CONFIG_NETKIT"));
    assert!(table.contains("  calico-like-0 (emulation) "));
}

#[test]
fn hostile_names_are_escaped_everywhere() {
    let mut samples = few();
    let evil = "<script>alert('x')</script>|\u{1b}[31m\n`";
    samples.command = evil.to_owned();
    samples.runs[0].not_run[0].reason = evil.to_owned();
    samples.runs[0].subjects[0].description = evil.to_owned();
    samples.runs[0].environment.cpu = evil.to_owned();
    samples.runs[0].subjects[9].scale.as_mut().unwrap().unit = evil.to_owned();
    let (html, markdown, _) = written(&samples);
    well_formed(&html);
    assert!(!html.contains("<script"));
    let outside_the_fence = markdown.replacen(evil, "", 1);
    assert!(!outside_the_fence.contains("<script"));
    assert!(!terminal_table(&samples).contains('\u{1b}'));
}

#[test]
fn a_directory_that_is_not_there_is_an_error_with_its_name() {
    let temporary = tempfile::tempdir().unwrap();
    let missing = temporary.path().join("not-there");
    let error = write_report(&few(), &missing).unwrap_err();
    assert!(matches!(error, Error::File(_)));
    assert!(error.to_string().contains("not-there/summary.json"), "{error}");
}

#[test]
fn a_file_that_cannot_be_replaced_is_an_error_and_leaves_no_half_file() {
    // A directory where a file must go cannot be renamed over: the write fails after the contents were written.
    let temporary = tempfile::tempdir().unwrap();
    fs::create_dir(temporary.path().join("report.md")).unwrap();
    let error = write_report(&few(), temporary.path()).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn malformed_samples_are_refused_with_the_field() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("samples.json");
    let refused = |json: &str| {
        fs::write(&path, json).unwrap();
        read_samples(&path).unwrap_err().to_string()
    };
    assert!(refused("").contains("field `.`"));
    assert!(
        refused(r#"{"schema":1,"command":"x","started_unix_s":1,"runs":[{"executor":"moon"}]}"#)
            .contains("field `runs[0].executor`")
    );
    assert!(
        refused(r#"{"schema":1,"command":"x","started_unix_s":-1,"runs":[]}"#)
            .contains("field `started_unix_s`")
    );
    assert!(refused(r#"{"schema":9,"command":"x","started_unix_s":1,"runs":[]}"#).contains("schema 9"));
    assert!(refused(r#"{"schema":1,"command":"x","started_unix_s":1,"runs":[]} {}"#).contains("trailing"));
    let samples = few();
    fs::write(&path, serde_json::to_vec(&samples).unwrap()).unwrap();
    assert_eq!(read_samples(&path).unwrap(), samples);
}

#[test]
fn the_page_begins_with_the_runs_and_the_order_and_ends_sections_with_the_environment() {
    let html = &WRITTEN.0;
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text}"));
    let places = [
        at("noise floor (A/A)"),
        at("<h2>Verdict</h2>"),
        at("rank and ratio to routed"),
        at("How to read this page"),
        at("<h2 id=\"run-0\">"),
        at("<h3>All figures</h3>"),
        at("<h3>Environment</h3>"),
    ];
    assert!(places.is_sorted(), "{places:?}");
    let verdict = &html[places[1]..places[3]];
    let order = &verdict[verdict.find("TCP_CRR, 1 core").unwrap()..];
    let order = &order[..order.find("</tr>").unwrap()];
    for (name, ..) in
        synthetic::SUBJECTS.iter().filter(|s| !s.0.contains("ipvlan") && !s.0.contains("netkit"))
    {
        assert!(order.contains(&format!("{name} ")), "{name} in {order}");
    }
}

#[test]
fn versions_are_in_the_tools_own_words_without_the_name_twice() {
    let mut samples = few();
    let tools = [("CNI bridge", "CNI bridge plugin version unknown"), ("netperf", "Netperf version 2.7.0")];
    let others = [("ipset", "ipset v7.17, protocol version: 7"), ("iptables", "1.8.9"), ("odd", "odd")];
    samples.runs[0].environment.tools =
        tools.into_iter().chain(others).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let wanted = "CNI bridge: version unknown; ipset: v7.17, protocol version: 7; iptables: 1.8.9; netperf: version 2.7.0; odd: odd";
    let (html, markdown, _) = written(&samples);
    assert!(html.contains(wanted) && markdown.contains(wanted));
}
