// SPDX-License-Identifier: Apache-2.0
//! Cost against size: the ratio of a series of subjects against its number of rules or services.

use super::ChartError;
use super::axis::{self, Axis};
use super::canvas::{Align, Canvas, Dash, GRID, INK, MUTED, PALETTE, Type, cut, svg};
use super::panels::WIDTH;
use crate::statistics::Estimate;

const LEGEND: f64 = 270.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 48.0;
const HEIGHT: f64 = 320.0;
const DASHES: [Dash; 3] = [Dash::Solid, Dash::Dashed, Dash::Dotted];

/// One line: a workload at a placement.
#[derive(Clone, Debug)]
pub struct ScaleLine {
    /// For the legend.
    pub name: String,
    /// Count and ratio, ascending by count.
    pub points: Vec<(u32, Estimate)>,
}

/// Draws the lines of one series. `unit` says what the x axis counts.
///
/// # Errors
/// When the backend refuses an element.
pub fn draw(title: &str, unit: &str, lines: &[ScaleLine]) -> Result<String, ChartError> {
    svg(title, WIDTH, HEIGHT, |canvas| {
        let points = || lines.iter().flat_map(|l| &l.points);
        let positive = || points().map(|(count, _)| *count).filter(|c| *c > 0);
        let (least, most) = (positive().min().unwrap_or(1), positive().max().unwrap_or(1));
        let zero = points().any(|(count, _)| *count == 0);
        // A logarithmic axis has no 0: it stands a decade below the smallest count.
        let leftmost = f64::from(least) / if zero { 10.0 } else { 1.0 };
        let x = Axis::log(leftmost / 1.5, f64::from(most) * 1.5, (LEFT, WIDTH - LEGEND));
        let ends = points().flat_map(|(_, e)| [e.interval.low, e.interval.high]);
        let (low, high) = axis::range(ends.chain([1.0]), 0.08).unwrap_or((0.9, 1.1));
        let y = Axis::linear(low, high, (HEIGHT - BOTTOM, TOP));
        let place = |count: u32| if count == 0 { leftmost } else { f64::from(count) };
        grid(canvas, &x, &y)?;
        counts(canvas, points().map(|(count, _)| *count), |count| x.at(place(count)), y.pixels.0)?;
        labels(canvas, unit, zero, &x, &y)?;
        for (index, line) in lines.iter().enumerate() {
            let (color, dash) = (PALETTE[index % PALETTE.len()], DASHES[index / 4 % DASHES.len()]);
            // Lines of one count stand side by side, so that no error bar hides another.
            let aside = (index as f64 - (lines.len() as f64 - 1.0) / 2.0) * 3.5;
            let at = |count: u32| x.at(place(count)) + aside;
            let path: Vec<(f64, f64)> = line.points.iter().map(|(n, e)| (at(*n), y.at(e.median))).collect();
            canvas.path(&path, color, 1.6, dash)?;
            for (count, e) in &line.points {
                canvas.pole(at(*count), y.at(e.interval.low), y.at(e.interval.high), color)?;
                canvas.dot((at(*count), y.at(e.median)), 3.0, color)?;
            }
            let (left, row) = (WIDTH - LEGEND + 24.0, TOP + 10.0 + index as f64 * 18.0);
            canvas.path(&[(left, row), (left + 30.0, row)], color, 2.0, dash)?;
            canvas.text(&cut(&line.name, 36), (left + 38.0, row), Type::new(11.5, INK, Align::Left))?;
        }
        Ok(())
    })
}

fn grid(canvas: &Canvas<'_>, x: &Axis, y: &Axis) -> Result<(), String> {
    let ticks = y.ticks(7);
    for tick in &ticks {
        let at = y.at(*tick);
        canvas.line((LEFT, at), (x.pixels.1, at), GRID, 1.0)?;
        canvas.text(&axis::label(*tick, &ticks), (LEFT - 8.0, at), Type::new(11.0, MUTED, Align::Right))?;
    }
    canvas.line((LEFT, TOP), (LEFT, y.pixels.0), INK, 1.2)?;
    canvas.line((LEFT, y.pixels.0), (x.pixels.1, y.pixels.0), INK, 1.2)?;
    canvas.path(&[(LEFT, y.at(1.0)), (x.pixels.1, y.at(1.0))], INK, 1.2, Dash::Dashed)
}

/// The measured counts as ticks; one too near to its left neighbour gets no number.
fn counts(
    canvas: &Canvas<'_>,
    counts: impl Iterator<Item = u32>,
    at: impl Fn(u32) -> f64,
    bottom: f64,
) -> Result<(), String> {
    let counts: std::collections::BTreeSet<u32> = counts.collect();
    let mut last = f64::NEG_INFINITY;
    for count in counts {
        let x = at(count);
        canvas.line((x, TOP), (x, bottom), GRID, 1.0)?;
        if x - last >= 44.0 {
            let text = crate::figures::number(f64::from(count)).replace(".00", "").replace(".0", "");
            canvas.text(&text, (x, bottom + 12.0), Type::new(11.0, MUTED, Align::Middle))?;
            last = x;
        }
    }
    Ok(())
}

fn labels(canvas: &Canvas<'_>, unit: &str, zero: bool, x: &Axis, y: &Axis) -> Result<(), String> {
    let label = Type::new(11.5, INK, Align::Middle);
    let scale = if zero { "logarithmic; 0 stands at the left" } else { "logarithmic" };
    let text = format!("{} ({scale})", cut(unit, 40));
    canvas.text(&text, ((LEFT + x.pixels.1) / 2.0, y.pixels.0 + 32.0), label)?;
    canvas.text("ratio to routed, no unit", (16.0, (TOP + y.pixels.0) / 2.0), label.upwards())
}
