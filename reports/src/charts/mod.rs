// SPDX-License-Identifier: Apache-2.0
//! SVG charts. Each function returns one closed `<svg>` element; the page places them.

pub mod announcement;
pub mod axis;
pub mod canvas;
pub mod panels;
pub mod percentiles;
pub mod scale;

/// A chart that could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw chart `{title}`: {reason}")]
pub struct ChartError {
    /// Which chart.
    pub title: String,
    /// The drawing library's words.
    pub reason: String,
}
