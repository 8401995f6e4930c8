// SPDX-License-Identifier: Apache-2.0
//! What is accepted as a scenario, and how the rest is refused.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::scenario::{End, Expectation, Kind, Scenario, ScenarioError, Target, TreeError, load, select};

const GOOD: &str = "\
name: A pod reaches another
covers: [reachability/tcp]
topology:
  subjects: [veth, bridge]
listen: {tcp: [7001]}
probes:
  - {kind: tcp, from: client, to: server, port: 7001, expect: allowed}
  - {kind: icmp, from: server, to: 10.0.0.9, count: 3, size: 9, within_ms: 250, expect: dropped}
";

/// The error of the good scenario with one change.
fn refused(from: &str, to: &str) -> ScenarioError {
    assert!(GOOD.contains(from), "{from}");
    match Scenario::parse("dir/x.yaml", &GOOD.replace(from, to)) {
        Ok(scenario) => panic!("accepted: {scenario:?}"),
        Err(error) => error,
    }
}

#[test]
fn a_scenario_is_read_with_its_defaults() {
    let scenario = Scenario::parse("x.yaml", GOOD).expect("a scenario");
    assert_eq!(scenario.subjects, ["veth", "bridge"]);
    let probes: Vec<_> = scenario.probes().collect();
    let [tcp, icmp] = &probes[..] else { panic!("{probes:?}") };
    let end = |name: &str| End(name.into());
    assert_eq!((tcp.kind, &tcp.from, &tcp.to), (Kind::Tcp, &end("client"), &Target::End(end("server"))));
    assert_eq!((tcp.port, tcp.size, tcp.count, tcp.within), (Some(7001), 64, 1, Duration::from_secs(5)));
    assert_eq!((&icmp.from, icmp.expect), (&end("server"), Expectation::Dropped));
    assert_eq!(icmp.to, Target::Address([10, 0, 0, 9].into()));
    assert_eq!((icmp.port, icmp.size, icmp.count, icmp.within), (None, 9, 3, Duration::from_millis(250)));
}

#[test]
fn an_unknown_field_is_refused_with_file_line_and_name() {
    let error = refused("expect: allowed", "expect: allowed, protocol: sctp").to_string();
    assert!(error.starts_with("dir/x.yaml:7:") && error.contains("protocol"), "{error}");
    assert!(!error.contains('\n'), "more than one line: {error}");
    let error = refused("covers:", "cover:").to_string();
    assert!(error.starts_with("dir/x.yaml:2:") && error.contains("cover"), "{error}");
}

#[test]
fn values_that_make_no_sense_are_refused_where_they_stand() {
    for (from, to, line, word) in [
        ("expect: allowed", "expect: accepted", 7, "accepted"),
        ("kind: tcp", "kind: sctp", 7, "sctp"),
        ("port: 7001, expect", "port: 70001, expect", 7, ""),
        ("port: 7001, expect", "port: 0, expect", 7, "port"),
        (", port: 7001, expect", ", expect", 7, "`port` is missing"),
        ("kind: icmp,", "kind: icmp, port: 7,", 8, "ICMP"),
        ("count: 3", "count: 0", 8, "`count`"),
        ("size: 9", "size: 70000", 8, "`size`"),
        ("within_ms: 250", "within_ms: 0", 8, "`within_ms`"),
        ("within_ms: 250, expect: dropped", "within_ms: 2600, expect: refused", 8, "`within_ms`"),
        ("subjects: [veth, bridge]", "subjects: []", 4, "empty"),
        ("subjects: [veth, bridge]", "subjects: [veth, veth]", 4, "twice"),
        ("subjects: [veth, bridge]", "subject: veth\n  subjects: [bridge]", 4, "either"),
        ("[7001]}\n", "[7001, 7001]}\n", 5, "twice"),
    ] {
        let error = refused(from, to);
        let text = error.to_string();
        let ScenarioError::At { line: at, .. } = error else { panic!("no place: {text}") };
        assert!(at == line && text.contains(word), "{to}: {text}");
        assert!(!text.contains('\n'), "more than one line: {text}");
    }
}

#[test]
fn an_end_that_the_topology_does_not_have_is_refused_by_its_name() {
    for (from, to, word) in [
        ("to: server", "to: nobody", "nobody"),
        ("from: client", "from: 10.0.0.1", "10.0.0.1"),
        ("from: client", "from: host", "host"),
    ] {
        let text = refused(from, to).to_string();
        assert!(text.contains(word) && text.contains("client, server"), "{text}");
    }
}

#[test]
fn a_scenario_that_cannot_fail_is_refused() {
    let probes = &GOOD[GOOD.find("probes:").expect("it is there")..];
    assert!(refused(probes, "probes: []\n").to_string().contains("cannot fail"));
}

#[test]
fn names_and_items_have_a_form() {
    for (from, to) in [
        ("name: A pod reaches another", "name: ' '"),
        ("name: A pod reaches another", "name: \"two\\nlines\""),
        ("[reachability/tcp]", "[]"),
        ("[reachability/tcp]", "['a | b']"),
    ] {
        refused(from, to);
    }
}

#[test]
fn a_source_is_one_of_the_clients_further_addresses() {
    let source = "source: 10.0.0.7, to: server";
    assert!(refused("to: server", source).to_string().contains("client_addresses"));
    let declared = GOOD
        .replace("to: server", source)
        .replace("subjects: [veth, bridge]", "subject: routed\n  client_addresses: [10.0.0.7]");
    Scenario::parse("x.yaml", &declared).expect("declared");
    let servers = declared.replace("from: client", "from: server");
    assert!(Scenario::parse("x.yaml", &servers).is_err());
}

#[test]
fn whatever_is_no_scenario_is_an_error_and_never_a_panic() {
    let deep = "[".repeat(100_000);
    let bomb = format!("a: &a [{}]\nb: *a\n", "x, ".repeat(10)) + &"c: [*a, *a, *a, *a]\n".repeat(100);
    for text in [
        "",
        "\u{0}",
        "{",
        "- 1",
        "name: [",
        "a: *b",
        "!!binary x",
        "\u{feff}",
        &deep,
        &bomb,
        "---\n---\n",
        "%",
    ] {
        let error = Scenario::parse("x.yaml", text).expect_err(text).to_string();
        assert!(error.starts_with("x.yaml:") && !error.contains('\n'), "{error}");
    }
    for end in 0..GOOD.len() {
        // Cut off anywhere; some cuts are scenarios with fewer probes.
        let _ = Scenario::parse("x.yaml", &GOOD[..end]);
    }
}

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("inside")).expect("create");
        fs::write(path, text).expect("write");
    }
    directory
}

#[test]
fn a_directory_is_read_in_order_and_filtered_by_scenario_and_subject() {
    let directory = tree(&[("b/y.yaml", GOOD), ("a/x.yaml", GOOD)]);
    let scenarios = load(directory.path(), |_| true).expect("scenarios");
    let names = |filters: &[&str]| -> Vec<String> {
        let filters: Vec<_> = filters.iter().map(|f| (*f).to_owned()).collect();
        let selected = select(&scenarios, &filters).expect("selected");
        selected.iter().map(|(id, _, subject)| format!("{id} {subject}")).collect()
    };
    assert_eq!(names(&[]), ["a/x veth", "a/x bridge", "b/y veth", "b/y bridge"]);
    assert_eq!(names(&["b/"]), ["b/y veth", "b/y bridge"]);
    assert_eq!(names(&["veth"]), ["a/x veth", "b/y veth"]);
    assert!(matches!(select(&scenarios, &["nothing".into()]), Err(TreeError::NoMatch(_))));
}

#[test]
fn a_directory_with_anything_else_in_it_is_refused() {
    for path in ["x.yaml", "a/x.yml", "a/README.md", "a/b/x.yaml"] {
        let directory = tree(&[("a/good.yaml", GOOD), (path, GOOD)]);
        assert!(matches!(load(directory.path(), |_| true), Err(TreeError::Stray(_))), "{path}");
    }
    let directory = tree(&[]);
    assert!(matches!(load(directory.path(), |_| true), Err(TreeError::Empty(_))));
    assert!(matches!(load(Path::new("/no/such/directory"), |_| true), Err(TreeError::Io { .. })));
}

#[test]
fn a_subject_that_does_not_exist_is_refused() {
    let directory = tree(&[("a/x.yaml", GOOD)]);
    let error = load(directory.path(), |name| name == "veth").expect_err("accepted");
    assert!(matches!(error, TreeError::Subject { subject, .. } if subject == "bridge"));
}
