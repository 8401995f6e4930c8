// SPDX-License-Identifier: Apache-2.0
//! How many tests passed: read from what `cargo test` and the scenario runner print, which is shown as it comes.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::ops::AddAssign;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Not run.
    pub ignored: u64,
}

/// A stage that failed, with what it had counted.
#[derive(Debug)]
pub struct Failed(pub Counts);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for Failed {}

impl Counts {
    /// Of a stage that is itself one check.
    pub fn one_passed() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    /// Of a stage that is itself one check.
    pub fn one_failed() -> Self {
        Self { failed: 1, ..Self::default() }
    }

    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …` and `3 passed, 0 failed, 1 not run`.
    fn of_line(line: &str) -> Option<Self> {
        let line = line.trim();
        let numbers = match line.strip_prefix("test result: ") {
            Some(rest) => rest.split_once(". ")?.1,
            None => line,
        };
        let mut counts = Self::default();
        let mut words = numbers.split([';', ',']);
        counts.passed = words.next()?.trim().strip_suffix(" passed")?.parse().ok()?;
        counts.failed = words.next()?.trim().strip_suffix(" failed")?.parse().ok()?;
        if let Some(word) = words.next().map(str::trim) {
            let number = word.strip_suffix(" ignored").or(word.strip_suffix(" not run"));
            counts.ignored = number?.parse().ok()?;
        }
        Some(counts)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed", self.passed)?;
        for (number, word) in [(self.failed, "failed"), (self.ignored, "not run")] {
            if number > 0 {
                write!(f, ", {number} {word}")?;
            }
        }
        Ok(())
    }
}

/// Runs a program of tests, shows its output line by line and adds up its counts.
///
/// # Errors
/// [`Failed`] when it ends with another code than 0, or when it counted nothing: no tests is no success.
pub fn run(command: &mut Command) -> Result<Counts> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| format!("run {name}"))?;
    let mut total = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        while stdout.read_until(b'\n', &mut line).context("read its output")? > 0 {
            let text = String::from_utf8_lossy(&line);
            print!("{text}");
            if let Some(counts) = Counts::of_line(&text) {
                total += counts;
            }
            line.clear();
        }
    }
    let success = child.wait().with_context(|| format!("wait for {name}"))?.success();
    if success && total.failed == 0 && total.passed > 0 {
        return Ok(total);
    }
    // A build that fails, or a test that ends its process, leaves no count behind.
    if total.failed == 0 {
        total.failed = 1;
    }
    Err(Failed(total).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_counts_are_read() {
        let line = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        assert_eq!(Counts::of_line(line), Some(Counts { passed: 3, failed: 1, ignored: 2 }));
        assert_eq!(
            Counts::of_line("14 passed, 0 failed"),
            Some(Counts { passed: 14, failed: 0, ignored: 0 })
        );
        assert_eq!(
            Counts::of_line("1 passed, 0 failed, 2 not run"),
            Some(Counts { passed: 1, failed: 0, ignored: 2 })
        );
        for line in [
            "",
            "passed",
            "x passed, 0 failed",
            "test result: ok",
            "1 passed, 0 failed, what",
            "running 3 tests",
        ] {
            assert_eq!(Counts::of_line(line), None, "{line:?}");
        }
    }

    fn sh(script: &str) -> Result<Counts> {
        run(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn counts_of_several_test_programs_are_added() {
        let counts =
            sh("echo 'test result: ok. 2 passed; 0 failed; 0 ignored; x'; echo '3 passed, 0 failed'");
        assert_eq!(counts.expect("passed"), Counts { passed: 5, failed: 0, ignored: 0 });
    }

    #[test]
    fn a_program_that_ends_badly_or_counts_nothing_has_failed() {
        for script in ["echo '3 passed, 0 failed'; exit 1", "echo '3 passed, 1 failed'", "exit 0"] {
            let error = sh(script).expect_err(script);
            assert_eq!(error.downcast_ref::<Failed>().map(|f| f.0.failed), Some(1), "{script}");
        }
    }
}
