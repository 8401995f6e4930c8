// SPDX-License-Identifier: Apache-2.0
//! Nanoseconds per packet for each path of the datapath, by `BPF_PROG_TEST_RUN`, and what each program costs the verifier.
//!
//! All paths are measured in turn, round by round, and each round's figure is divided by the same round's figure of the
//! path that is the unit. A hot loop understates what a packet costs between others: compare paths, not machines.

mod path;
mod report;

use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result};
use clap::Parser;

use crate::path::PATHS;
use crate::report::Report;

/// What a packet costs on each path of the datapath.
#[derive(Debug, Parser)]
struct Args {
    /// How many times all paths are measured in turn.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Also write the samples and the verifier's work to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let report = Mutex::new(None);
    bpf_tests::on_node_of_one_mac(|node| {
        let mut samples = vec![Vec::new(); PATHS.len()];
        for path in PATHS {
            (path.prepare)(node);
        }
        for round in 0..args.rounds {
            for (path, samples) in PATHS.iter().zip(&mut samples) {
                samples.push(path.measure(node, round));
            }
        }
        *report.lock().expect("one thread") = Some(Report::new(samples, node.verifier_work()));
    });
    let report = report.into_inner()?.context("the measurement ended without a report")?;
    print!("{report}");
    if let Some(file) = args.json {
        std::fs::write(&file, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}
