// SPDX-License-Identifier: Apache-2.0
//! The files of a report.

use std::path::{Path, PathBuf};

use netns_lab::record::Samples;

use crate::analysis::Analysis;
use crate::charts::ChartError;
use crate::files::{FileError, write_atomically};
use crate::{markdown, page, summary, terminal};

/// The files that were written, and the table for the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The page.
    pub html: PathBuf,
    /// The same for terminals.
    pub markdown: PathBuf,
    /// The figures for programs.
    pub summary: PathBuf,
    /// What [`crate::terminal_table`] gives for the same samples, without computing the statistics again.
    pub table: String,
}

/// A report that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A chart could not be drawn.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// The summary could not be turned into JSON.
    #[error("cannot encode summary.json: {0}")]
    Summary(#[source] serde_json::Error),
}

/// Writes `summary.json`, `report.md` and `report.html` into `dir`, which must exist. Each file is complete or not there; an
/// older one is replaced. Everything is rendered before anything is written.
///
/// # Errors
/// When a chart cannot be drawn or a file not be written.
pub fn write_report(samples: &Samples, dir: &Path) -> Result<Written, Error> {
    let analysis = Analysis::of(samples);
    let mut summary = serde_json::to_vec_pretty(&summary::entries(&analysis)).map_err(Error::Summary)?;
    summary.push(b'\n');
    let markdown = markdown::render(&analysis);
    let html = page::render(&analysis)?;
    let written = Written {
        html: dir.join("report.html"),
        markdown: dir.join("report.md"),
        summary: dir.join("summary.json"),
        table: terminal::render(&analysis),
    };
    write_atomically(&written.summary, &summary)?;
    write_atomically(&written.markdown, markdown.as_bytes())?;
    write_atomically(&written.html, html.as_bytes())?;
    Ok(written)
}
