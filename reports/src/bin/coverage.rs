// SPDX-License-Identifier: Apache-2.0
//! Writes `reports/coverage.md` from the scenarios' own `covers`, or checks that it is up to date.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use netns_lab::scenario::{Scenario, load};
use netns_lab::subject::catalogue;
use reports::{CoveredScenario, render_coverage};

const USAGE: &str = "usage: coverage [--check] SCENARIOS FILE";

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).map(PathBuf::from).collect()) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("coverage: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Writes or checks; what it has done, in a line.
fn run(mut arguments: Vec<PathBuf>) -> Result<String> {
    let check = arguments.first().is_some_and(|argument| argument == Path::new("--check"));
    if check {
        arguments.remove(0);
    }
    let [scenarios, file] = arguments.as_slice() else { bail!(USAGE) };
    let subjects = catalogue();
    let scenarios = load(scenarios, |name| subjects.iter().any(|subject| subject.name == name))?;
    let page = render_coverage(&scenarios.iter().map(covered).collect::<Vec<_>>());
    let old = match fs::read_to_string(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        old => old.with_context(|| format!("read {}", file.display()))?,
    };
    match (old == page, check) {
        (true, _) => Ok(format!("{} is up to date", file.display())),
        (false, true) => bail!("{} is out of date: run `cargo xtask coverage`", file.display()),
        (false, false) => {
            fs::write(file, page).with_context(|| format!("write {}", file.display()))?;
            Ok(format!("wrote {}", file.display()))
        }
    }
}

fn covered((id, scenario): &(String, Scenario)) -> CoveredScenario {
    let (area, name) = id.split_once('/').unwrap_or(("", id));
    CoveredScenario {
        area: area.into(),
        name: name.into(),
        sentence: scenario.name.clone(),
        covers: scenario.covers.clone(),
        subjects: scenario.subjects.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENARIO: &str = "name: A pod reaches another\ncovers: [reachability/tcp]\ntopology: {subject: veth}\n\
        listen: {tcp: [7001]}\nprobes: [{kind: tcp, from: client, to: server, port: 7001, expect: allowed}]\n";

    /// A directory with one scenario, and the arguments for it.
    fn directory() -> (tempfile::TempDir, Vec<PathBuf>) {
        let directory = tempfile::tempdir().expect("temporary directory");
        let area = directory.path().join("scenarios/reachability");
        fs::create_dir_all(&area).expect("create");
        fs::write(area.join("tcp.yaml"), SCENARIO).expect("write");
        let arguments = vec![directory.path().join("scenarios"), directory.path().join("coverage.md")];
        (directory, arguments)
    }

    #[test]
    fn a_page_that_was_written_is_up_to_date_until_a_scenario_changes() {
        let (directory, arguments) = directory();
        let check = [vec!["--check".into()], arguments.clone()].concat();
        assert!(
            run(check.clone()).expect_err("nothing was written").to_string().contains("cargo xtask coverage")
        );
        run(arguments).expect("written");
        run(check.clone()).expect("up to date");
        let page = fs::read_to_string(directory.path().join("coverage.md")).expect("read");
        assert!(
            page.contains("| reachability/tcp | A pod reaches another | reachability/tcp | veth |"),
            "{page}"
        );
        let changed = SCENARIO.replace("subject: veth", "subject: bridge");
        fs::write(directory.path().join("scenarios/reachability/tcp.yaml"), changed).expect("write");
        assert!(run(check).is_err());
    }

    #[test]
    fn a_scenario_of_a_subject_that_does_not_exist_is_refused_by_its_file() {
        let (directory, arguments) = directory();
        let file = directory.path().join("scenarios/reachability/tcp.yaml");
        fs::write(&file, SCENARIO.replace("subject: veth", "subject: vteh")).expect("write");
        let error = run(arguments).expect_err("accepted").to_string();
        assert!(error.contains("tcp.yaml") && error.contains("vteh"), "{error}");
    }

    #[test]
    fn anything_but_two_paths_is_refused_with_the_usage() {
        for arguments in [vec![], vec!["--check".into()], vec!["a".into(), "b".into(), "c".into()]] {
            assert_eq!(run(arguments).expect_err("accepted").to_string(), USAGE);
        }
    }
}
