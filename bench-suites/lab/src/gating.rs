// SPDX-License-Identifier: Apache-2.0
//! The regression gate at the end of a run.

use std::path::Path;

use anyhow::{Result, bail};
use netns_lab::record::RunRecord;
use reports::Baseline;

/// Compares the run with the baseline, prints the table and says whether it passes.
///
/// # Errors
/// When the two cannot be compared.
pub fn passes(runs: &[RunRecord], baseline: &Baseline) -> Result<bool> {
    let outcome = reports::gate(the_one(runs)?, baseline)?;
    println!("{outcome}");
    Ok(outcome.passed())
}

/// Makes the run the baseline at `path`.
///
/// # Errors
/// When it is not one whole run, or the file cannot be written.
pub fn update(runs: &[RunRecord], path: &Path) -> Result<()> {
    let baseline = reports::update_baseline(the_one(runs)?, path)?;
    println!("baseline: {} ({} ratios)", path.display(), baseline.entries.len());
    Ok(())
}

fn the_one(runs: &[RunRecord]) -> Result<&RunRecord> {
    match runs {
        [run] => Ok(run),
        _ => bail!(
            "a baseline is of one executor and one kernel, this run has {}: use --executor host, or --executor vm with one --vm-kernel",
            runs.len()
        ),
    }
}
