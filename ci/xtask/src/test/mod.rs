// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask test`: every check and test of this repository, one stage after the other, each with its time.

mod counts;
mod stages;

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::workspace::Workspace;
use counts::Counts;
use stages::{STAGES, Stage};

/// What became of a stage.
struct Outcome {
    stage: &'static Stage,
    /// `None`: not reached, because one before it failed.
    result: Option<Result<Counts>>,
    time: Duration,
}

/// Runs the stages up to the first that fails; then says what ran.
pub fn run(workspace: &Workspace, fast: bool) -> Result<u8> {
    let begin = Instant::now();
    let mut outcomes = Vec::new();
    let mut failed = false;
    for stage in STAGES.iter().filter(|stage| stage.fast || !fast) {
        if failed {
            outcomes.push(Outcome { stage, result: None, time: Duration::ZERO });
            continue;
        }
        println!("==> {}: {}", stage.name, stage.what);
        let start = Instant::now();
        let result = (stage.run)(workspace, fast);
        let time = start.elapsed();
        match &result {
            Ok(_) => println!("==> {}: ok, {:.1} s\n", stage.name, time.as_secs_f64()),
            Err(e) => println!("==> {}: FAILED after {:.1} s: {e:#}\n", stage.name, time.as_secs_f64()),
        }
        failed = result.is_err();
        outcomes.push(Outcome { stage, result: Some(result), time });
    }
    print!("{}", summary(&outcomes, begin.elapsed()));
    if fast {
        println!("(--fast: without {})", names(STAGES.iter().filter(|stage| !stage.fast)));
    }
    Ok(u8::from(failed))
}

fn names<'a>(stages: impl Iterator<Item = &'a Stage>) -> String {
    stages.map(|stage| stage.name).collect::<Vec<_>>().join(", ")
}

/// What ran, then one line in the form that `cargo test` ends with. A stage that counts nothing itself counts as one.
fn summary(outcomes: &[Outcome], time: Duration) -> String {
    let mut text = String::from("What ran:\n");
    let mut total = Counts::default();
    let mut failed = None;
    for Outcome { stage, result, time } in outcomes {
        let said = match result {
            Some(Ok(counts)) => {
                total += *counts;
                format!("ok      {:>6.1} s  {counts}", time.as_secs_f64())
            }
            Some(Err(e)) => {
                failed = Some(stage.name);
                let counts = e.downcast_ref::<counts::Failed>().map_or(Counts::one_failed(), |f| f.0);
                total += counts;
                format!("FAILED  {:>6.1} s  {counts}", time.as_secs_f64())
            }
            None => "not reached".into(),
        };
        text += &format!("  {:<12} {said}\n", stage.name);
    }
    let verdict = failed.map_or("ok".into(), |name| format!("FAILED in stage {name}"));
    text += &format!(
        "\ntest result: {verdict}. {} passed; {} failed; {} ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
        total.passed,
        total.failed,
        total.ignored,
        time.as_secs_f64()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(n: usize, result: Option<Result<Counts>>) -> Outcome {
        Outcome { stage: &STAGES[n], result, time: Duration::from_millis(1500) }
    }

    #[test]
    fn the_summary_ends_as_cargo_test_does_and_adds_up_the_stages() {
        let counts = Counts { passed: 12, failed: 0, ignored: 1 };
        let text = summary(
            &[outcome(0, Some(Ok(Counts::one_passed()))), outcome(1, Some(Ok(counts)))],
            Duration::from_secs(2),
        );
        let last = text.lines().last();
        assert_eq!(
            last,
            Some(
                "test result: ok. 13 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 2.00s"
            )
        );
        assert!(text.contains("ok         1.5 s  12 passed"), "{text}");
    }

    #[test]
    fn a_failure_names_its_stage_and_what_was_not_reached() {
        let failed = counts::Failed(Counts { passed: 3, failed: 2, ignored: 0 }).into();
        let text = summary(&[outcome(0, Some(Err(failed))), outcome(1, None)], Duration::from_secs(2));
        assert!(text.contains(&format!("FAILED in stage {}. 3 passed; 2 failed;", STAGES[0].name)), "{text}");
        assert!(text.contains("not reached"), "{text}");
        let text = summary(&[outcome(0, Some(Err(anyhow::anyhow!("no compiler"))))], Duration::ZERO);
        assert!(text.contains("0 passed; 1 failed;"), "{text}");
    }
}
