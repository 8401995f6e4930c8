// SPDX-License-Identifier: Apache-2.0
//! Medians and ratios, and how they are printed.

use std::fmt;

use serde::Serialize;

use crate::path::PATHS;

/// One path's figures.
#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    median_ns: f64,
    p10_ns: f64,
    /// Median over rounds of this path's figure by the unit's in the same round.
    ratio: f64,
    samples_ns: Vec<f64>,
}

/// What one program costs the verifier.
#[derive(Debug, Serialize)]
struct Work {
    program: String,
    processed: u32,
    instructions: u32,
}

/// A run's outcome.
#[derive(Debug, Serialize)]
pub struct Report {
    kernel: String,
    unit: &'static str,
    paths: Vec<Line>,
    verifier: Vec<Work>,
}

fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    // A position within the samples, of which there is at least one.
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

impl Report {
    /// From the samples of each path, in the order of [`PATHS`].
    pub fn new(samples: Vec<Vec<f64>>, verifier: Vec<(String, [u32; 2])>) -> Self {
        let unit = samples[0].clone();
        let paths = PATHS.iter().zip(samples).map(|(path, samples)| {
            let ratios: Vec<f64> = samples.iter().zip(&unit).map(|(own, unit)| own / unit.max(1.0)).collect();
            Line {
                name: path.name,
                median_ns: quantile(&samples, 0.5),
                p10_ns: quantile(&samples, 0.1),
                ratio: quantile(&ratios, 0.5),
                samples_ns: samples,
            }
        });
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease");
        Self {
            kernel: kernel.map_or_else(|error| format!("unknown: {error}"), |text| text.trim().to_owned()),
            unit: PATHS[0].name,
            paths: paths.collect(),
            verifier: verifier
                .into_iter()
                .map(|(program, [processed, instructions])| Work { program, processed, instructions })
                .collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Linux {}; ratios to \"{}\"\n", self.kernel, self.unit)?;
        writeln!(f, "{:<36} {:>9} {:>9} {:>7}", "path", "median ns", "p10 ns", "ratio")?;
        for line in &self.paths {
            writeln!(
                f,
                "{:<36} {:>9.0} {:>9.0} {:>7.2}",
                line.name, line.median_ns, line.p10_ns, line.ratio
            )?;
        }
        writeln!(f, "\n{:<36} {:>9} {:>12}", "program", "verified", "instructions")?;
        for work in &self.verifier {
            writeln!(f, "{:<36} {:>9} {:>12}", work.program, work.processed, work.instructions)?;
        }
        Ok(())
    }
}
